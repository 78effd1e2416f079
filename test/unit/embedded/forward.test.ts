// Askers and owners on connections in memory: who is welcome, what is taken, in which order, and
// what becomes of it when either is gone.
import t from 'tap'
import { Asker } from '../../../src/embedded/forward/asker.ts'
import type { ForwardChannel } from '../../../src/embedded/forward/channel.ts'
import { ForwardServer, type Owning } from '../../../src/embedded/forward/server.ts'
import type { OwnWriter } from '../../../src/embedded/forward/conversation.ts'
import { QuireError } from '../../../src/errors.ts'
import { encodeReplicaRecord } from '../../../src/snapshot/commands.ts'
import { conversationSeed, sealFrame } from '../../../src/wire/sealed-frames.ts'
import {
  encodeForwardHello,
  encodeForwardRequest,
  forwardLimits,
  forwardVersion,
} from '../../../src/wire/forward-messages.ts'
import { ClientEnd } from '../../support/client-end.ts'
import { ManualTime, settle } from '../../support/manual-time.ts'
import { silent } from '../../support/memory-logs.ts'
import { MemoryNetwork } from '../../support/memory-network.ts'

const session = '00112233445566778899aabbccddeeff'
const commandOf = (seq: number, body = `${seq}`): Buffer =>
  encodeReplicaRecord({ type: 'command', session, seq, ackedUpTo: 0, body: Buffer.from(body) })

/** A writer whose acknowledgements a test holds back. */
class HeldWriter implements OwnWriter {
  confirmed = { ledgerId: 9n, entryId: 5 }
  readonly epoch: number
  readonly taken: Buffer[] = []
  readonly #acks: (() => void)[] = []
  readonly #end = Promise.withResolvers<Error | undefined>()
  readonly ended = this.#end.promise
  holds = false
  writable = true
  #failure: Error | undefined
  #ready = Promise.withResolvers<void>()

  constructor(epoch: number) {
    this.epoch = epoch
  }

  get nextPosition(): number {
    return this.taken.length
  }

  append(record: Uint8Array): Promise<number> {
    if (record.length > 10_000) return Promise.reject(new QuireError('QUIRE_ENTRY_TOO_LARGE', ''))
    const position = this.taken.push(Buffer.from(record)) - 1
    if (this.#failure) return Promise.reject(this.#failure)
    if (!this.holds) return Promise.resolve(position)
    const { promise, resolve } = Promise.withResolvers<number>()
    this.#acks.push(() => resolve(position))
    return promise
  }

  ready(): Promise<void> {
    return this.#ready.promise
  }

  open(): void {
    this.writable = true
    this.#ready.resolve()
    this.#ready = Promise.withResolvers<void>()
  }

  acknowledge(): void {
    for (const ack of this.#acks.splice(0)) ack()
  }

  fail(): void {
    this.#failure = new QuireError('QUIRE_NOT_OWNER', 'fenced')
    this.#end.resolve(this.#failure)
  }
}

interface World {
  readonly time: ManualTime
  readonly network: MemoryNetwork
  readonly server: ForwardServer
  readonly owning: { owned: HeldWriter | undefined; acquiring: boolean }
  readonly asker: (more?: { instanceId?: string; self?: string }) => Asker
}

function world(self = 'quire-b/2'): World {
  const time = new ManualTime()
  const network = new MemoryNetwork()
  const shared = { timers: time, clock: time, logger: silent, instanceId: 'cluster' }
  const server = new ForwardServer({ ...shared, self })
  void network.listen({ host: 'b', port: 1 }, (connection) => {
    connection.start({
      data: (chunk) => server.accept(connection, chunk),
      drain() {},
      close() {},
    })
  })
  const owning: World['owning'] & Owning = { owned: new HeldWriter(7), acquiring: false }
  server.serve('bank', owning)
  const addressOf = async (id: string) => (id === 'quire-b' ? { host: 'b', port: 1 } : undefined)
  const asker = (more = {}): Asker =>
    new Asker({ ...shared, network, self: 'quire-a/1', addressOf, ...more })
  return { time, network, server, owning, asker }
}

const told: object[] = []
const confirmed = (entry: object): void => void told.push(entry)
const question = { log: 'bank', ownerId: 'quire-b/2', epoch: 7, confirmed }

async function channelOf(asker: Asker): Promise<ForwardChannel> {
  const asked = await asker.ask(question)
  if (asked.type !== 'serves') throw new Error(`the owner answered ${asked.type}`)
  return asked.channel
}

t.test('records arrive in order, and positions come back when they are durable', async (t) => {
  const { owning, asker } = world()
  const writer = owning.owned
  if (!writer) throw new Error('no writer')
  await writer.append(commandOf(0))
  writer.holds = true
  const channel = await channelOf(asker())
  t.equal(channel.nextPosition, 1, 'behind all that is there')
  const places: number[] = []
  const sent = [1, 2, 3].map((seq) => channel.append(commandOf(seq)).then((at) => places.push(at)))
  await settle()
  t.same(writer.taken.slice(1), [commandOf(1), commandOf(2), commandOf(3)])
  t.same([...places, ...told], [], 'nothing is told before it is durable')
  t.equal(channel.inFlight, 3)
  writer.acknowledge()
  await Promise.all(sent)
  t.same(places, [1, 2, 3])
  t.same(told.at(-1), { ledgerId: 9n, entryId: 5 }, 'and how far the log is')
  await channel.close()
})

t.test('who is not the owner says what it is', async (t) => {
  const { owning, asker, network } = world()
  const ask = async (more: object, of = asker()): Promise<string> =>
    (await of.ask({ ...question, ...more })).type
  t.equal(await ask({}), 'serves')
  t.equal(await ask({ epoch: 6 }), 'notOwner', 'of another epoch')
  t.equal(await ask({ log: 'other' }), 'notOwner', 'of another log')
  owning.acquiring = true
  t.equal(await ask({ epoch: 8 }), 'acquiring')
  owning.owned = undefined
  t.equal(await ask({}), 'acquiring')
  owning.acquiring = false
  t.equal(await ask({}), 'notOwner')
  t.equal(await ask({ ownerId: 'quire-b/1' }), 'gone', 'its node was started again since')
  t.equal(await ask({ ownerId: 'quire-b/3' }), 'silent', 'a later life than this one')
  t.equal(await ask({ ownerId: 'quire-c/1' }), 'silent', 'nobody knows where it is')
  t.equal(await ask({ ownerId: 'client-1/0' }), 'silent')
  t.equal(await ask({}, asker({ instanceId: 'other' })), 'silent', 'another cluster')
  network.breakAll()
  const closed = asker()
  closed.close()
  t.equal(await ask({}, closed), 'silent')
})

t.test('nobody answers in time', async (t) => {
  const { time, network, asker } = world()
  network.tap = (end) => (end.side === 'server' ? 'swallow' : 'pass')
  const asked = asker().ask(question)
  await time.advance(1000)
  t.equal((await asked).type, 'silent')
  const abort = new AbortController()
  const aborted = asker().ask({ ...question, signal: abort.signal })
  abort.abort()
  await t.rejects(aborted, { code: 'QUIRE_ABORTED' })
  const refused = new Asker({
    network,
    timers: time,
    clock: time,
    logger: silent,
    instanceId: 'cluster',
    self: 'quire-a/1',
    addressOf: () => Promise.reject(new QuireError('QUIRE_METADATA_UNAVAILABLE', 'away')),
  })
  t.equal((await refused.ask(question)).type, 'silent', 'the metadata do not answer')
})

t.test('an owner that falls silent is given up, one that answers pings is not', async (t) => {
  const { time, network, owning, asker } = world()
  const writer = owning.owned
  if (!writer) throw new Error('no writer')
  writer.holds = true
  const channel = await channelOf(asker())
  const append = channel.append(commandOf(1))
  append.catch(() => undefined)
  await time.advance(60_000)
  t.equal(channel.inFlight, 1, 'it is slow, and there')
  network.tap = (end) => (end.side === 'server' ? 'swallow' : 'pass')
  await time.advance(5000)
  await t.rejects(append, { code: 'QUIRE_CONNECTION_LOST' })
  t.ok(QuireError.is(await channel.ended, 'QUIRE_CONNECTION_LOST'))
  await t.rejects(channel.append(commandOf(2)), { code: 'QUIRE_CONNECTION_LOST' })
  await t.rejects(channel.ready(), { code: 'QUIRE_CONNECTION_LOST' })
})

t.test('an owner that is fenced ends its channels; what was sent is unknown', async (t) => {
  const { owning, asker } = world()
  const writer = owning.owned
  if (!writer) throw new Error('no writer')
  writer.holds = true
  const channel = await channelOf(asker())
  const append = channel.append(commandOf(1))
  await settle()
  writer.fail()
  await t.rejects(append, { code: 'QUIRE_CONNECTION_LOST' })
  t.equal(writer.taken.length, 1)
})

t.test('records that no replica could apply are not appended, and the rest is', async (t) => {
  const { owning, asker } = world()
  const channel = await channelOf(asker())
  const bad = [
    Buffer.from('no record'),
    encodeReplicaRecord({ type: 'check', position: 1, fingerprint: 1 }),
    encodeReplicaRecord({
      type: 'command',
      session,
      seq: 2,
      body: Buffer.alloc(0),
      ackedUpTo: 2,
    }),
  ]
  for (const record of bad) {
    await t.rejects(channel.append(record), { code: 'QUIRE_UNSUPPORTED' })
  }
  await t.rejects(channel.append(commandOf(1, 'x'.repeat(20_000))), {
    code: 'QUIRE_ENTRY_TOO_LARGE',
  })
  const { frameBytes } = forwardLimits
  await t.rejects(channel.append(Buffer.alloc(frameBytes)), { code: 'QUIRE_ENTRY_TOO_LARGE' })
  t.equal(await channel.append(commandOf(1)), 0)
  t.equal(owning.owned?.taken.length, 1)
})

t.test('a window is kept: the asker pushes back, and goes on when there is room', async (t) => {
  const { owning, asker } = world()
  const writer = owning.owned
  if (!writer) throw new Error('no writer')
  writer.writable = false
  const channel = await channelOf(asker())
  const sent: Promise<number>[] = []
  for (let seq = 1; channel.writable; seq++) sent.push(channel.append(commandOf(seq)))
  t.equal(sent.length, forwardLimits.records)
  await t.rejects(channel.append(commandOf(9999)), { code: 'QUIRE_BACKPRESSURE' })
  const ready = channel.ready()
  await settle()
  t.equal(writer.taken.length, 0, 'the owner holds them')
  writer.open()
  await ready
  t.equal((await Promise.all(sent)).at(-1), forwardLimits.records - 1)
})

t.test('what an earlier connection still holds is dropped when a new one comes (V2)', async (t) => {
  const { owning, asker } = world()
  const writer = owning.owned
  if (!writer) throw new Error('no writer')
  writer.writable = false
  const first = await channelOf(asker())
  const lost = [1, 2].map((seq) => first.append(commandOf(seq)))
  for (const each of lost) each.catch(() => undefined)
  await settle()
  // The same process, over another connection.
  const second = await channelOf(asker())
  t.equal(second.nextPosition, 0)
  writer.open()
  t.equal(await second.append(commandOf(1)), 0)
  await settle(50)
  t.same(writer.taken, [commandOf(1)], 'once')
  for (const each of lost) await t.rejects(each, { code: 'QUIRE_CONNECTION_LOST' })
})

t.test('a channel that is opened again takes the place of the one before', async (t) => {
  const { owning, asker } = world()
  const writer = owning.owned
  if (!writer) throw new Error('no writer')
  writer.writable = false
  const from = asker()
  const first = await channelOf(from)
  first.append(commandOf(1)).catch(() => undefined)
  const second = await channelOf(from)
  writer.open()
  t.equal(await second.append(commandOf(1)), 0)
  await settle(50)
  t.equal(writer.taken.length, 1)
  await second.close()
  await second.close()
  await t.rejects(second.append(commandOf(2)), { code: 'QUIRE_CLOSED' })
})

t.test('whoever breaks the rules is not listened to', async (t) => {
  const hello = encodeForwardHello({
    version: forwardVersion,
    instanceId: 'cluster',
    from: 'quire-a/1',
    to: 'quire-b/2',
  })
  const seed = conversationSeed(hello.subarray(4))
  const frame = (request: Parameters<typeof encodeForwardRequest>[0]): Buffer =>
    sealFrame(encodeForwardRequest(request), seed)
  const open = frame({ type: 'open', channel: 1, log: 'bank', epoch: 7 })
  const append = (number: number): Buffer =>
    frame({ type: 'append', channel: 1, number, record: commandOf(1) })
  const tooMany = Array.from({ length: 2 * forwardLimits.records + 1 }, (_, at) => append(at + 1))
  const sins: Record<string, Buffer[]> = {
    'a length of 4 GiB': [Buffer.from('ffffffff51525831', 'hex')],
    'a hello that is too long': [Buffer.from('0000ffff51525831', 'hex'), Buffer.alloc(2000)],
    'a hello with a wrong checksum': [Buffer.concat([hello.subarray(0, -1), Buffer.of(1)])],
    'two hellos': [Buffer.concat([hello, hello])],
    'a frame of another conversation': [hello, sealFrame(Buffer.of(3, 0, 0, 0, 1), seed + 1)],
    'a frame of no bytes': [hello, Buffer.alloc(4)],
    'a message that is cut off': [hello, sealFrame(Buffer.of(1, 0, 0), seed)],
    'a number out of turn': [hello, open, append(2)],
    'a channel twice': [hello, open, frame({ type: 'open', channel: 1, log: 'other', epoch: 7 })],
    'more records than the window': [hello, open, ...tooMany],
  }
  for (const [name, bytes] of Object.entries(sins)) {
    const { server, owning } = world()
    if (owning.owned) owning.owned.writable = false
    const end = new ClientEnd()
    const [first = Buffer.alloc(0), ...rest] = bytes
    server.accept(end, first)
    for (const each of rest) if (end.destroyed === undefined) end.send(each)
    await settle(3)
    t.ok(end.destroyed !== undefined || end.ended, name)
    t.equal(owning.owned?.taken.length, 0)
    server.close()
  }
})

t.test('a connection that says nothing is ended', async (t) => {
  const { time, server } = world()
  const end = new ClientEnd()
  server.accept(end, Buffer.from('00000030', 'hex'))
  await time.advance(10_001)
  t.ok(end.destroyed)
  const late = new ClientEnd()
  server.close()
  server.accept(late, Buffer.from('00000030', 'hex'))
  t.ok(late.destroyed)
})
