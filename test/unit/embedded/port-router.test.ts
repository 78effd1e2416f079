// The first bytes of a connection decide who serves it; where there is a secret, not before both
// ends have proved that they know it.
import * as fc from 'fast-check'
import t from 'tap'
import { PortRouter } from '../../../src/embedded/node/port-router.ts'
import {
  authenticationLimits,
  decodeAuthentication,
  encodeProof,
  frameOf,
} from '../../../src/wire/authentication.ts'
import { ClientHandshake, SharedSecret } from '../../../src/wire/handshake.ts'
import { decodeConnectResponse, encodeConnectRequest } from '../../../src/wire/metadata-codec.ts'
import { decodePeerWelcome } from '../../../src/wire/peer-frames.ts'
import { ClientEnd } from '../../support/client-end.ts'
import { ManualTime } from '../../support/manual-time.ts'
import { random, silent } from '../../support/metadata-bench.ts'
import { holds } from '../../support/properties.ts'

interface Port {
  readonly router: PortRouter
  readonly time: ManualTime
  /** Who took a connection, and with which bytes. */
  readonly taken: string[]
  come(): ClientEnd
}

function portWith(secret?: string): Port {
  const time = new ManualTime()
  const taken: string[] = []
  const taker = (name: string) => (_connection: unknown, first: Buffer) => {
    taken.push(`${name}: ${first.toString('hex')}`)
  }
  const router = new PortRouter({
    routes: {
      metadata: taker('metadata'),
      peers: taker('peers'),
      inquiry: taker('inquiry'),
      forward: taker('forward'),
      bookie: taker('bookie'),
    },
    io: { random, timers: time },
    logger: silent,
    secret: secret === undefined ? undefined : new SharedSecret(secret),
  })
  const come = (): ClientEnd => {
    const client = new ClientEnd()
    router.accept(client)
    return client
  }
  return { router, time, taken, come }
}

/** Who took a connection, after how many bytes, and what it was given. */
function route(hex: string): string {
  const port = portWith()
  const client = port.come()
  const bytes = Buffer.from(hex, 'hex')
  let sent = 0
  while (sent < bytes.length && port.taken.length === 0) client.send(bytes.subarray(sent, ++sent))
  return port.taken.map((each) => `${sent} ${each}`).join()
}

const hexOf = (text: string): string => Buffer.from(text).toString('hex')
const qrm1 = Buffer.from(`00000010${hexOf('QRM1')}00`, 'hex')
const qrp1 = Buffer.from(`00000010${hexOf('QRP1')}00`, 'hex')
const v3 = Buffer.from('000000100a', 'hex')

/** What a node said, without the length of its frame. */
const lastWord = (client: ClientEnd): Buffer => client.writes.at(-1)?.subarray(4) ?? Buffer.alloc(0)

/** Goes through the whole exchange. */
function authenticate(client: ClientEnd, secret: string): ClientHandshake {
  const handshake = new ClientHandshake({
    secret: new SharedSecret(secret),
    nonce: random.bytes(32),
  })
  client.send(frameOf(handshake.hello))
  client.send(frameOf(handshake.take(lastWord(client)) ?? Buffer.alloc(0)))
  return handshake
}

t.test('the first byte that tells decides, with all that came before it', (t) => {
  const magic = hexOf('QRM1')
  t.equal(route(`00000010${magic}00`), `8 metadata: 00000010${magic}`)
  t.equal(route(`00000010${hexOf('QRP1')}00`), `8 peers: 00000010${hexOf('QRP1')}`)
  t.equal(route(`00000010${hexOf('QRI1')}00`), `8 inquiry: 00000010${hexOf('QRI1')}`)
  t.equal(route(`00000010${hexOf('QRX1')}00`), `8 forward: 00000010${hexOf('QRX1')}`)
  t.equal(route('000000100a'), '5 bookie: 000000100a', 'V3')
  t.equal(route('0000001002'), '5 bookie: 0000001002', 'V2')
  t.equal(route('00000010515200'), '7 bookie: 00000010515200')
  t.equal(route('000000'), '', 'a length that is not there yet')
  t.equal(route(`00000010${magic.slice(0, 6)}`), '')
  t.end()
})

t.test('a length that no packet may have is not waited behind: the bookie refuses it', (t) => {
  t.equal(route('00000000'), '4 bookie: 00000000')
  t.equal(route('ffffffff'), '4 bookie: ffffffff')
  t.equal(route('004ffffd'), '4 bookie: 004ffffd', 'with the length field above 5 MiB')
  t.equal(route('004ffffc'), '', 'the largest')
  t.end()
})

t.test('who has proved itself is served as before', (t) => {
  const port = portWith('s3cret-word')
  const client = port.come()
  const handshake = authenticate(client, 's3cret-word')
  handshake.take(lastWord(client))
  t.ok(handshake.isDone, 'and so has the node')
  t.same(port.taken, [])
  client.send(qrm1)
  t.same(port.taken, [`metadata: ${qrm1.toString('hex')}`])
  t.equal(port.time.pending, 0, 'no time limit is left behind')
  t.end()
})

t.test('every split of the exchange is the same', (t) => {
  const sizes = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 6 })
  holds(
    t,
    'splits',
    fc.property(sizes, (split) => {
      const port = portWith('s3cret-word')
      const client = port.come()
      const secret = new SharedSecret('s3cret-word')
      const handshake = new ClientHandshake({ secret, nonce: random.bytes(32) })
      client.sendIn(split, frameOf(handshake.hello))
      client.sendIn(split, frameOf(handshake.take(lastWord(client)) ?? Buffer.alloc(0)))
      client.sendIn(split, qrp1)
      return port.taken.length === 1 && (port.taken[0] ?? '').startsWith('peers')
    }),
  )
  t.end()
})

t.test('another secret is told so, and nothing else is served', (t) => {
  const port = portWith('the right one')
  const client = port.come()
  const handshake = authenticate(client, 'a wrong one')
  t.match(decodeAuthentication(lastWord(client)), { type: 'refusal', reason: 'secret' })
  t.throws(() => handshake.take(lastWord(client)), { code: 'QUIRE_UNAUTHORIZED' })
  t.ok(client.ended)
  const said = client.writes.length
  client.send(qrm1, frameOf(handshake.hello))
  t.equal(client.writes.length, said)
  t.same(port.taken, [])
  t.end()
})

t.test('without the exchange each protocol says no in its own words', async (t) => {
  const port = portWith('s3cret-word')
  const metadata = port.come()
  metadata.send(
    encodeConnectRequest({
      version: 0x0100,
      sessionId: 0n,
      password: Buffer.alloc(16),
      timeoutMs: 1000,
      lastZxid: 0,
      instanceId: '',
    }),
  )
  t.match(decodeConnectResponse(lastWord(metadata)), {
    status: 'unauthorized',
    message: /this node has a secret/,
  })
  const peer = port.come()
  peer.send(qrp1)
  t.match(decodePeerWelcome(lastWord(peer)), { status: 'unauthorized', message: /has a secret/ })
  t.ok(metadata.ended && peer.ended)
  t.same(port.taken, [])
  const bookie = port.come()
  bookie.send(v3)
  t.same(port.taken, [`bookie: ${v3.toString('hex')}`], 'the bookie asks for itself')
  await port.time.advance(authenticationLimits.withinMs)
  t.ok(metadata.destroyed && peer.destroyed, 'who stays all the same is not waited for')
  t.equal(bookie.destroyed, undefined)
})

t.test('a node without a secret says so', (t) => {
  const port = portWith()
  const client = port.come()
  const secret = new SharedSecret('s3cret-word')
  const handshake = new ClientHandshake({ secret, nonce: random.bytes(32) })
  client.send(frameOf(handshake.hello))
  const said = lastWord(client)
  t.throws(() => handshake.take(said), { code: 'QUIRE_UNAUTHORIZED', message: /has no secret/ })
  t.ok(client.ended)
  t.same(port.taken, [])
  t.end()
})

t.test('a recorded exchange, byte for byte, opens nothing', (t) => {
  const port = portWith('s3cret-word')
  const first = port.come()
  const recorded: Buffer[] = []
  const send = first.send.bind(first)
  first.send = (...frames) => {
    recorded.push(...frames)
    send(...frames)
  }
  authenticate(first, 's3cret-word')
  first.send(qrm1)
  t.equal(port.taken.length, 1)
  const again = port.come()
  for (const bytes of recorded) if (!again.ended) again.send(bytes)
  t.match(decodeAuthentication(lastWord(again)), { type: 'refusal', reason: 'secret' })
  t.equal(port.taken.length, 1)
  t.end()
})

t.test('what is said too early, too often or at random ends the connection', (t) => {
  const hello = (): Buffer => {
    const secret = new SharedSecret('s3cret-word')
    return frameOf(new ClientHandshake({ secret, nonce: random.bytes(32) }).hello)
  }
  const proof = frameOf(encodeProof('proof', random.bytes(32)))
  const endless = Buffer.from(`000fffff${hexOf('QRA1')}`, 'hex')
  const cases = {
    'two hellos': [hello(), hello()],
    'a proof first': [proof],
    'a long one': [endless],
  }
  for (const [name, said] of Object.entries(cases)) {
    const port = portWith('s3cret-word')
    const client = port.come()
    for (const bytes of said) client.send(bytes)
    t.ok(client.destroyed, name)
    t.same(port.taken, [])
  }
  const early = portWith('s3cret-word')
  const client = early.come()
  const secret = new SharedSecret('s3cret-word')
  const handshake = new ClientHandshake({ secret, nonce: random.bytes(32) })
  client.send(frameOf(handshake.hello))
  client.send(frameOf(handshake.take(lastWord(client)) ?? Buffer.alloc(0)), qrm1)
  t.ok(client.destroyed, 'a request before the welcome')
  t.same(early.taken, [])
  const twice = portWith('s3cret-word')
  const known = twice.come()
  authenticate(known, 's3cret-word')
  known.send(hello())
  t.ok(known.destroyed, 'a second exchange')
  holds(
    t,
    'nothing of our own is served to what comes at random',
    fc.property(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 90 }), { maxLength: 5 }),
      (said) => {
        const port = portWith('s3cret-word')
        const stranger = port.come()
        for (const bytes of said) {
          const frame = frameOf(Buffer.concat([Buffer.from('QRA1'), bytes]))
          if (stranger.destroyed === undefined && !stranger.ended) stranger.send(frame)
        }
        return port.taken.length === 0
      },
    ),
  )
  t.end()
})

t.test('who says nothing is not waited for, and many of them keep nobody out', async (t) => {
  const port = portWith('s3cret-word')
  const first = port.come()
  const hesitant = port.come()
  hesitant.send(Buffer.from(`00000027${hexOf('QRA1')}`, 'hex'))
  const crowd = Array.from({ length: 1023 }, () => port.come())
  t.ok(first.destroyed, 'the oldest made room')
  t.notOk(hesitant.destroyed)
  const late = port.come()
  authenticate(late, 's3cret-word')
  late.send(qrm1)
  t.equal(port.taken.length, 1)
  await port.time.advance(authenticationLimits.withinMs)
  t.ok(hesitant.destroyed)
  t.ok(crowd.every(({ destroyed }) => destroyed))
  t.equal(late.destroyed, undefined)
  const open = portWith()
  const idle = open.come()
  await open.time.advance(authenticationLimits.withinMs)
  t.equal(idle.destroyed, undefined, 'without a secret a Java client may be idle at first')
  open.router.close()
  t.ok(idle.destroyed)
})
