// Bytes of the replicated metadata: messages, commands, pieces of a tree.
import * as fc from 'fast-check'
import t from 'tap'
import { QuireError } from '../../../../src/errors.ts'
import type { Message } from '../../../../src/metadata/raft/core/messages.ts'
import { encodeEnd, encodePiece, ImageReader } from '../../../../src/metadata/raft/image.ts'
import {
  decodeMessage,
  encodeMessage,
  entryTypeOf,
} from '../../../../src/metadata/raft/message-codec.ts'
import { decodeCommand, encodeCommand } from '../../../../src/metadata/tree/command-codec.ts'
import type { TreeCommand } from '../../../../src/metadata/tree/command.ts'
import { batchOf, rowOf } from '../../../conformance/replicated-tree-suite.ts'

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record<T>(model, { noNullPrototype: true })
const u53 = fc.nat(Number.MAX_SAFE_INTEGER)
const text = fc.string({ unit: 'grapheme', maxLength: 20 })
const bytes = fc.uint8Array({ maxLength: 60 }).map((each) => Buffer.from(each))
const ids = fc.array(text, { maxLength: 4 })
const common = { from: fc.constant('a'), to: fc.constant('b'), term: u53 }
const entry = record({
  index: u53,
  term: u53,
  type: fc.constantFrom('normal' as const, 'config' as const, 'empty' as const),
  bytes,
})
const snapshot = record({
  id: text,
  index: u53,
  term: u53,
  sizeBytes: u53,
  configuration: record({
    index: u53,
    configuration: record({
      voters: ids,
      outgoing: ids,
      learners: ids,
      learnersNext: ids,
      retired: ids,
    }),
  }),
})

const type = <T extends string>(name: T): fc.Arbitrary<T> => fc.constant(name)
const bool = fc.boolean()

const messages: fc.Arbitrary<Message> = fc.oneof(
  record({
    ...common,
    type: type('vote'),
    preVote: bool,
    transfer: bool,
    round: u53,
    lastIndex: u53,
    lastTerm: u53,
  }),
  record({ ...common, type: type('vote-response'), preVote: bool, round: u53, granted: bool }),
  record({
    ...common,
    type: type('append'),
    prevIndex: u53,
    prevTerm: u53,
    commit: u53,
    entries: fc.array(entry, { maxLength: 5 }),
  }),
  record({
    ...common,
    type: type('append-response'),
    rejected: bool,
    index: u53,
    hintIndex: u53,
    hintTerm: u53,
  }),
  record({ ...common, type: type('heartbeat'), commit: u53, round: u53 }),
  record({ ...common, type: type('heartbeat-response'), round: u53, lastIndex: u53 }),
  record({ ...common, type: type('timeout-now'), lastIndex: u53, round: u53 }),
  record({ ...common, type: type('read'), runId: u53, readId: u53 }),
  record({ ...common, type: type('read-response'), runId: u53, readId: u53, ok: bool, index: u53 }),
  record({ ...common, type: type('snapshot'), snapshot, offset: u53, bytes, last: bool }),
  record({
    ...common,
    type: type('snapshot-response'),
    id: text,
    status: fc.constantFrom('more' as const, 'installed' as const, 'failed' as const),
    offset: u53,
    index: u53,
  }),
  record({ ...common, type: type('retired') }),
)

const onlyBadFrames = (decode: () => unknown, ...others: string[]): void => {
  try {
    decode()
  } catch (error) {
    const isKnown = QuireError.is(error) && ['QUIRE_BAD_FRAME', ...others].includes(error.code)
    if (!isKnown) throw error
  }
}

t.test('messages come back as they were', async (t) => {
  fc.assert(
    fc.property(messages, (message) => {
      t.same(decodeMessage(encodeMessage(message), { from: 'a', to: 'b' }), message)
    }),
    { numRuns: 300 },
  )
})

t.test('a message of a newer release is nothing; damaged ones are bad frames', async (t) => {
  const newer = encodeMessage({ from: 'a', to: 'b', term: 1, type: 'retired' })
  newer.writeUInt8(200, 0)
  t.equal(decodeMessage(newer, { from: 'a', to: 'b' }), undefined)
  const place = fc.nat(200)
  fc.assert(
    fc.property(messages, place, fc.nat(255), (message, at, value) => {
      const damaged = encodeMessage(message)
      damaged.writeUInt8(value, at % damaged.length)
      onlyBadFrames(() => decodeMessage(damaged, { from: 'a', to: 'b' }), 'QUIRE_UNSUPPORTED')
      const short = damaged.subarray(0, at % damaged.length)
      onlyBadFrames(() => decodeMessage(short, { from: 'a', to: 'b' }), 'QUIRE_UNSUPPORTED')
    }),
    { numRuns: 500 },
  )
  t.throws(() => entryTypeOf(9), { code: 'QUIRE_UNSUPPORTED' }, 'an unknown entry stops the node')
})

const session = fc.bigInt(0n, 2n ** 63n - 1n)
const path = text.map((name) => `/${name}`)
const version = fc.integer({ min: -1, max: 0x7fff_ffff })
const operation = fc.oneof(
  record({
    type: type('create'),
    path,
    data: bytes,
    mode: fc.constantFrom('persistent' as const, 'ephemeral' as const, 'ttl' as const),
    ttlMs: u53,
  }),
  record({ type: type('set'), path, data: bytes, version }),
  record({ type: type('delete'), path, version }),
  record({ type: type('check'), path, version }),
)
const commands: fc.Arbitrary<TreeCommand> = fc.oneof(
  record({
    type: type('open-session'),
    sessionId: session,
    timeoutMs: fc.nat(),
    password: bytes,
    timeMs: u53,
  }),
  record({
    type: type('end-session'),
    sessionId: session,
    reason: fc.constantFrom('closed' as const, 'expired' as const),
    timeMs: u53,
  }),
  record({
    type: type('write'),
    request: fc.oneof(
      record({ sessionId: session }),
      record({ sessionId: session, requestId: u53, answeredUpTo: u53 }),
    ),
    operations: fc.array(operation, { maxLength: 4 }),
    timeMs: u53,
  }),
  record({ type: type('collect'), paths: fc.array(path, { maxLength: 4 }), timeMs: u53 }),
)

t.test('commands come back as they were; garbage is a bad frame', async (t) => {
  fc.assert(
    fc.property(commands, (command) => t.same(decodeCommand(encodeCommand(command)), command)),
    { numRuns: 300 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (garbage) => {
      onlyBadFrames(() => decodeCommand(garbage), 'QUIRE_UNSUPPORTED')
      const own = Uint8Array.from(garbage)
      own[0] = 1
      onlyBadFrames(() => decodeCommand(own), 'QUIRE_UNSUPPORTED')
    }),
    { numRuns: 500 },
  )
})

t.test('a tree comes back from its stream, in whatever pieces it came', async (t) => {
  const pieces = [
    batchOf({ facts: new Map([['a', Buffer.from('1')]]), put: [rowOf('/a')] }),
    batchOf({ put: [rowOf('/b', { owner: (1n << 63n) - 1n, kind: 'ephemeral' }), rowOf('/c')] }),
  ]
  const stream = Buffer.concat([...pieces.map(encodePiece), encodeEnd(pieces.length)])
  for (const size of [1, 7, 100, stream.length]) {
    const reader = new ImageReader()
    const found = []
    for (let at = 0; at < stream.length; at += size) {
      t.equal(reader.ended, false)
      found.push(...reader.push(stream.subarray(at, at + size)))
    }
    t.same(found, pieces)
    t.equal(reader.ended, true)
  }
  for (let at = 0; at < stream.length; at++) {
    const damaged = Buffer.from(stream)
    damaged.writeUInt8(damaged.readUInt8(at) ^ 0x40, at)
    const reader = new ImageReader()
    try {
      reader.push(damaged)
      t.equal(reader.ended, false, `a change at ${at} is not taken for a whole stream`)
    } catch (error) {
      t.ok(QuireError.is(error, 'QUIRE_SNAPSHOT_CORRUPT'), `a change at ${at} is told`)
    }
  }
  const missing = new ImageReader()
  const without = Buffer.concat([encodePiece(pieces[0] ?? batchOf({})), encodeEnd(2)])
  t.throws(() => missing.push(without), { code: 'QUIRE_SNAPSHOT_CORRUPT' })
})
