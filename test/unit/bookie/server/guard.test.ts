// A bookie with a secret: what a client gets that has not shown that it knows it (wire 3.3), in both
// protocols, and that nothing else comes of its requests.
import * as fc from 'fast-check'
import t from 'tap'
import { authenticationLimits, authenticationPlugin } from '../../../../src/wire/authentication.ts'
import { operations, statuses } from '../../../../src/wire/bookie-messages.ts'
import {
  encodeAuthRequest,
  encodeBookieInfoRequest,
  encodeForceRequest,
  encodeListEntriesRequest,
  encodeReadLacRequest,
  encodeStartTlsRequest,
} from '../../../../src/wire/bookie-request.ts'
import { ClientHandshake, SharedSecret } from '../../../../src/wire/handshake.ts'
import { type BookieBench, bookieBench } from '../../../support/bookie-bench.ts'
import {
  addFrame,
  addFrameOf,
  batchFrame,
  ids,
  readFrame,
  writeLacFrame,
} from '../../../support/bookie-frames.ts'
import type { ClientEnd } from '../../../support/client-end.ts'
import { holds } from '../../../support/properties.ts'

const secret = new SharedSecret('s3cret-word')
const guarded = (): BookieBench => bookieBench({ secret })
const handshakeWith = (text = 's3cret-word', fill = 77): ClientHandshake =>
  new ClientHandshake({ secret: new SharedSecret(text), nonce: Buffer.alloc(32, fill) })

type Protocol = 2 | 3
const protocols: readonly Protocol[] = [2, 3]

function authFrame(protocol: Protocol, payload: Uint8Array, plugin = authenticationPlugin): Buffer {
  return encodeAuthRequest({ ...ids({ txn: 99 }), protocol, plugin, payload })
}

/** The client's first two messages; the frames it sent. */
function authenticate(
  client: ClientEnd,
  protocol: Protocol,
  handshake = handshakeWith(),
): Buffer[] {
  const hello = authFrame(protocol, handshake.hello)
  client.send(hello)
  const [challenge] = client.answers(protocol)
  const proof = authFrame(
    protocol,
    handshake.take(
      challenge?.frame.subarray(challenge.bodyStart, challenge.bodyEnd) ?? Buffer.alloc(0),
    ) ?? Buffer.alloc(0),
  )
  client.send(proof)
  return [hello, proof]
}

t.test('who proves itself is served, and the bookie has proved itself too', (t) => {
  for (const protocol of protocols) {
    const { connect, journal, timers } = guarded()
    const client = connect()
    const handshake = handshakeWith()
    authenticate(client, protocol, handshake)
    const [welcome] = client.answers(protocol)
    t.match(welcome, {
      operation: operations.auth,
      status: statuses.ok,
      authPlugin: authenticationPlugin,
    })
    handshake.take(welcome?.frame.subarray(welcome.bodyStart, welcome.bodyEnd) ?? Buffer.alloc(0))
    t.ok(handshake.isDone, `V${protocol}`)
    client.send(addFrame({ entry: 0 }, { protocol, txn: 5 }))
    journal.commit()
    t.match(client.answers(protocol), [{ operation: operations.add, status: statuses.ok }])
    const large = Buffer.concat([Buffer.alloc(300_000)])
    client.send(addFrameOf(Buffer.concat([addBody(1), large]), { protocol, entryId: 1 }))
    journal.commit()
    t.match(client.answers(protocol), [{ status: statuses.ok }], 'and frames of any size')
    t.equal(timers(), 0, 'no time limit is left behind')
  }
  t.end()
})

/** An entry's header. */
function addBody(entry: number): Buffer {
  const header = Buffer.alloc(36)
  header.writeBigInt64BE(1n, 0)
  header.writeBigInt64BE(BigInt(entry), 8)
  header.writeBigInt64BE(-1n, 16)
  return header
}

t.test('V3 without it: a copy of the header, EUA, and nothing else', (t) => {
  const { connect, bookie } = guarded()
  const client = connect()
  const all = [
    addFrame({}, { txn: 1 }),
    readFrame(0, { txn: 2 }),
    readFrame(-1, { txn: 3, previousLac: 1, timeoutMs: 10 }),
    writeLacFrame(0, { txn: 4 }),
    encodeReadLacRequest(ids({ txn: 5 })),
    encodeForceRequest(ids({ txn: 6 })),
    encodeListEntriesRequest(ids({ txn: 7 })),
    encodeBookieInfoRequest(ids({ txn: 8 })),
    authFrame(3, Buffer.alloc(0), 'sasl'),
  ]
  client.send(...all)
  const answers = client.answers()
  t.same(
    answers.map(({ txnLow }) => txnLow),
    [1, 2, 3, 4, 5, 6, 7, 8, 99],
  )
  for (const { status, hasMessage } of answers)
    t.same([status, hasMessage], [statuses.unauthorized, false])
  t.equal(answers[0]?.frame.toString('hex'), '0a0608031002180110f603', 'its bytes')
  client.send(encodeStartTlsRequest(ids({ txn: 9 })))
  t.match(client.answers(), [{ status: statuses.badRequest }], 'TLS is not there, told as before')
  t.notOk(client.ended, 'and the connection stays')
  t.match(bookie.stats(), { ledgers: 0, entries: 0, sequence: 0 })
  t.end()
})

t.test('V2 without it: EUA to adds and reads, an end to everything else', (t) => {
  const { connect, bookie } = guarded()
  const client = connect()
  client.send(addFrame({ entry: 3 }, { protocol: 2 }), readFrame(4, { protocol: 2 }))
  t.match(client.answers(2), [
    { operation: operations.add, status: statuses.unauthorized, entryId: 3, version: 2 },
    { operation: operations.read, status: statuses.unauthorized, entryId: 4, version: 2 },
  ])
  t.notOk(client.ended)
  client.send(batchFrame(0))
  t.ok(client.ended)
  t.same(client.answers(2), [])
  const other = connect()
  other.send(authFrame(2, Buffer.alloc(0), 'sasl'))
  t.ok(other.ended)
  t.same(other.writes, [])
  t.match(bookie.stats(), { ledgers: 0, entries: 0, sequence: 0 })
  t.end()
})

t.test('another secret: EUA and the end in V3, the end in V2', (t) => {
  const { connect, lines } = guarded()
  const three = connect()
  authenticate(three, 3, handshakeWith('another word'))
  t.match(three.answers(), [
    { operation: operations.auth, status: statuses.unauthorized, hasMessage: false },
  ])
  t.ok(three.ended)
  const two = connect()
  authenticate(two, 2, handshakeWith('another word'))
  t.same(two.answers(2), [])
  t.ok(two.ended)
  t.equal(lines.length, 2)
  t.notMatch(JSON.stringify(lines), /s3cret|another word/)
  t.end()
})

t.test('a recorded exchange, byte for byte, opens nothing; nor does a second try', (t) => {
  for (const protocol of protocols) {
    const { connect } = guarded()
    const recorded = authenticate(connect(), protocol)
    const again = connect()
    for (const frame of recorded) again.send(frame)
    t.ok(again.ended, `V${protocol}`)
    const answers = again.answers(protocol)
    t.same(
      answers.map(({ status }) => status),
      protocol === 3 ? [0, statuses.unauthorized] : [0],
    )
    const twice = connect()
    twice.send(recorded[0] ?? Buffer.alloc(0), recorded[0] ?? Buffer.alloc(0))
    t.ok(twice.ended)
  }
  t.end()
})

t.test('a bookie without a secret is as BookKeeper has it', (t) => {
  for (const protocol of protocols) {
    const { connect, journal, timers } = bookieBench()
    const client = connect()
    client.send(authFrame(protocol, handshakeWith().hello))
    t.match(client.answers(protocol), [
      { operation: operations.auth, status: 0, authPlugin: 'AuthDisabledPlugin' },
    ])
    client.send(addFrame({}, { protocol }))
    journal.commit()
    t.match(client.answers(protocol), [{ operation: operations.add, status: 0 }])
    t.equal(timers(), 0)
  }
  t.end()
})

t.test('what strangers hold is bounded: in time, in bytes, in number', (t) => {
  const { connect, pass } = guarded()
  const slow = connect()
  pass(authenticationLimits.withinMs)
  t.ok(slow.ended)
  const large = connect()
  const length = Buffer.alloc(4)
  length.writeUInt32BE(64 * 1024 - 3)
  large.send(length)
  t.ok(large.destroyed, 'a frame above 64 KiB')
  const first = connect()
  const others = Array.from({ length: 255 }, connect)
  t.notOk(first.ended)
  const known = connect()
  t.ok(first.ended, 'the oldest makes room')
  authenticate(known, 3)
  const more = Array.from({ length: 256 }, connect)
  t.ok(others.every(({ ended }) => ended))
  t.notOk(known.ended, 'who has proved itself stays')
  t.notOk(more.some(({ ended }) => ended))
  t.end()
})

t.test('nothing at random is ever served', (t) => {
  const frame = fc.oneof(
    fc.uint8Array({ maxLength: 90 }).map((bytes) => authFrame(3, bytes)),
    fc.uint8Array({ maxLength: 90 }).map((bytes) => authFrame(2, bytes)),
    fc.constant(addFrame()),
    fc.constant(addFrame({}, { protocol: 2 })),
    fc.uint8Array({ minLength: 1, maxLength: 60 }).map((bytes) => {
      const framed = Buffer.concat([Buffer.alloc(4), bytes])
      framed.writeUInt32BE(bytes.length)
      return framed
    }),
  )
  holds(
    t,
    'strangers',
    fc.property(fc.array(frame, { maxLength: 8 }), (frames) => {
      const { connect, bookie } = guarded()
      const client = connect()
      for (const bytes of frames)
        if (!client.ended && client.destroyed === undefined) client.send(bytes)
      const { entries, sequence } = bookie.stats()
      return entries === 0 && sequence === 0
    }),
    200,
  )
  t.end()
})
