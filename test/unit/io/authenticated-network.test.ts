// Connections that are authenticated before anybody gets them: what ends the exchange, what ends the
// connection around it, and what is recorded and played again to the side that made it.
import t from 'tap'
import { PortRouter } from '../../../src/embedded/node/port-router.ts'
import { withSecret } from '../../../src/io/authenticated-network.ts'
import type { Connection } from '../../../src/io/network.ts'
import type { Logger } from '../../../src/io/log.ts'
import { Peers } from '../../../src/metadata/raft/peers.ts'
import { encodeNonce, encodeProof, frameOf } from '../../../src/wire/authentication.ts'
import { SharedSecret } from '../../../src/wire/handshake.ts'
import { ManualTime, settle } from '../../support/manual-time.ts'
import { MemoryNetwork } from '../../support/memory-network.ts'
import { random, silent } from '../../support/metadata-bench.ts'

const here = { host: 'here', port: 1 }
const hello = Buffer.from('0000001051524d3100', 'hex')
const nothing = (): void => undefined

interface Bench {
  readonly time: ManualTime
  readonly cables: MemoryNetwork
  readonly dial: (secret?: string, signal?: AbortSignal) => Promise<Connection>
}

function benchOf(): Bench {
  const time = new ManualTime()
  const cables = new MemoryNetwork()
  const io = { network: cables, clock: time, timers: time, random }
  const dial = (secret = 's3cret-word', signal?: AbortSignal): Promise<Connection> =>
    withSecret(io, new SharedSecret(secret)).network.connect(here, { timeoutMs: 1000, signal })
  return { time, cables, dial }
}

/** What a node's port is given, once both sides have proved themselves. */
async function listen(
  { cables, time }: Bench,
  secret?: string,
): Promise<{ taken: Connection[]; first: Buffer[] }> {
  const taken: Connection[] = []
  const first: Buffer[] = []
  const metadata = (connection: Connection, chunk: Buffer): void => {
    taken.push(connection)
    first.push(chunk)
  }
  const router = new PortRouter({
    routes: { metadata, bookie: nothing },
    io: { random, timers: time },
    logger: silent,
    secret: secret === undefined ? undefined : new SharedSecret(secret),
  })
  await cables.listen(here, (connection) => router.accept(connection))
  return { taken, first }
}

/** A server that answers whatever it hears with what is given, one after the other. */
async function script(bench: Bench, answers: readonly Buffer[]): Promise<void> {
  await bench.cables.listen(here, (connection) => {
    const left = [...answers]
    const data = (): void => {
      const next = left.shift()
      if (next) connection.write(next)
      else connection.end()
    }
    connection.start({ data, drain: nothing, close: nothing })
  })
}

t.test(
  'a connection is given when both have proved themselves, and carries what it carried',
  async (t) => {
    const bench = benchOf()
    const { taken, first } = await listen(bench, 's3cret-word')
    const connection = await bench.dial()
    t.equal(bench.time.pending, 0)
    const heard: string[] = []
    connection.start({
      data: (chunk) => heard.push(String(chunk)),
      drain: nothing,
      close: () => heard.push('closed'),
    })
    connection.write(hello)
    await settle()
    t.same(first, [hello])
    taken[0]?.write(Buffer.from('answer'))
    await settle()
    t.same(heard, ['answer'])
    taken[0]?.destroy()
    await settle()
    t.same(heard, ['answer', 'closed'])
  },
)

t.test('an end between the exchange and the next handler is told to that one', async (t) => {
  const bench = benchOf()
  await listen(bench, 's3cret-word')
  const connection = await bench.dial()
  bench.cables.breakAll()
  await settle()
  const heard: string[] = []
  connection.start({ data: nothing, drain: nothing, close: (error) => heard.push(String(error)) })
  await settle()
  t.match(heard, [/cut/])
})

t.test('refusals have their code and say why', async (t) => {
  const bench = benchOf()
  await listen(bench, 'another word')
  await t.rejects(bench.dial(), {
    code: 'QUIRE_UNAUTHORIZED',
    message: /here:1 .*give both the same/,
  })
  const open = benchOf()
  await listen(open)
  await t.rejects(open.dial(), { code: 'QUIRE_UNAUTHORIZED', message: /has no secret/ })
  await settle()
  t.equal(bench.cables.open.size + open.cables.open.size, 0, 'nothing is left open')
  t.equal(bench.time.pending + open.time.pending, 0)
})

t.test('whoever does not know the exchange is told apart from a refusal', async (t) => {
  const bench = benchOf()
  await bench.cables.listen(here, (connection) => {
    connection.start({ data: () => connection.destroy(), drain: nothing, close: nothing })
  })
  await t.rejects(bench.dial(), { code: 'QUIRE_CONNECTION_LOST', message: /node of this version/ })
  const garbled = benchOf()
  await script(garbled, [Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')])
  await t.rejects(garbled.dial(), { code: /QUIRE_BAD_FRAME|QUIRE_FRAME_TOO_LARGE/ })
  const silentOne = benchOf()
  await silentOne.cables.listen(here, nothing)
  const waiting = t.rejects(silentOne.dial(), { code: 'QUIRE_TIMEOUT' })
  await silentOne.time.advance(1000)
  await waiting
  const aborted = benchOf()
  await aborted.cables.listen(here, nothing)
  const aborter = new AbortController()
  const dialled = t.rejects(aborted.dial('s3cret-word', aborter.signal), { code: 'QUIRE_ABORTED' })
  await settle()
  aborter.abort()
  await dialled
})

t.test('a recorded exchange, byte for byte, does not satisfy a client', async (t) => {
  const bench = benchOf()
  const recorded: Buffer[] = []
  bench.cables.tap = (end, bytes) => {
    if (end.side === 'server') recorded.push(bytes)
    return 'pass'
  }
  await listen(bench, 's3cret-word')
  await bench.dial()
  t.equal(recorded.length, 2)
  bench.cables.tap = () => 'pass'
  await script(bench, recorded)
  await t.rejects(bench.dial(), { code: 'QUIRE_UNAUTHORIZED' })
})

t.test('nor does what it said itself, or more than it should have got', async (t) => {
  const bench = benchOf()
  await bench.cables.listen(here, (connection) => {
    connection.start({ data: (chunk) => connection.write(chunk), drain: nothing, close: nothing })
  })
  await t.rejects(bench.dial(), { code: 'QUIRE_BAD_FRAME' }, 'an echo')
  const early = benchOf()
  const welcome = frameOf(encodeProof('welcome', random.bytes(32)))
  await script(early, [welcome])
  await t.rejects(early.dial(), { code: 'QUIRE_BAD_FRAME' }, 'a welcome first')
  const spoken = benchOf()
  spoken.cables.tap = (end, bytes) => {
    // The welcome, and a byte of somebody who does not wait to be asked.
    if (end.side === 'server' && bytes.readUInt8(10) === 4) bytes.writeUInt32BE(38, 0)
    return 'pass'
  }
  await listen(spoken, 's3cret-word')
  await t.rejects(spoken.dial(), { code: 'QUIRE_BAD_FRAME' })
  const challenge = frameOf(encodeNonce('challenge', random.bytes(32)))
  const again = benchOf()
  await script(again, [challenge, challenge])
  await t.rejects(again.dial(), { code: 'QUIRE_BAD_FRAME' }, 'two challenges')
})

t.test('a peer with another secret is not asked again and again', async (t) => {
  const bench = benchOf()
  await listen(bench, 'another word')
  const lines: string[] = []
  const logger: Logger = { ...silent, warn: (_facts, message) => lines.push(message) }
  const io = { network: bench.cables, clock: bench.time, timers: bench.time, random }
  const peers = new Peers({
    ...withSecret(io, new SharedSecret('s3cret-word')),
    identity: { clusterId: 'c', id: 'a', incarnation: 1 },
    logger,
    addresses: { own: undefined, of: () => here, heard() {}, missed() {} },
    receive: nothing,
  })
  peers.members(['a', 'b'])
  await bench.time.advance(20_000)
  t.ok(bench.cables.dialled <= 5, `${bench.cables.dialled} attempts in 20 s`)
  t.match(lines[0], /give both the same one/)
  peers.close()
})
