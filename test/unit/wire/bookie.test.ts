// The rules of the bookie protocol that vectors do not show, and fuzzers: whatever comes in,
// decoders neither throw nor point outside of the frame.
import { equal, ok } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import t from 'tap'
import { encodeBatchReadResponse, encodeErrorResponse } from '../../../src/wire/bookie-answers.ts'
import {
  type BookieRequest,
  type BookieResponse,
  hugeEntryId,
  operations,
  requestFlags,
  statuses,
} from '../../../src/wire/bookie-messages.ts'
import * as requests from '../../../src/wire/bookie-request.ts'
import * as responses from '../../../src/wire/bookie-response.ts'
import { codeOfStatus, statusOfCode } from '../../../src/wire/bookie-v2.ts'
import { FrameReader } from '../../../src/wire/frame-reader.ts'
import { holds } from '../../support/properties.ts'

const path = new URL('../../vectors/wire.json', import.meta.url)
const { vectors } = JSON.parse(readFileSync(path, 'utf8')) as { vectors: Record<string, string> }
/** The packet of a vector: without its length field. */
const packet = (name: string): Buffer => Buffer.from(vectors[name] ?? '', 'hex').subarray(4)

type Mode = 'v3-first' | 'v2'

function decode(bytes: Buffer, mode: Mode = 'v3-first'): BookieRequest | 'bad' {
  const view = requests.createRequest()
  return requests.decodeRequest(bytes, 0, bytes.length, mode, view) === 'ok' ? view : 'bad'
}

function decodeAnswer(bytes: Buffer, protocol: 2 | 3): BookieResponse | 'bad' {
  const view = responses.createResponse()
  return responses.decodeResponse(bytes, 0, bytes.length, protocol, view) === 'ok' ? view : 'bad'
}

const bytesOf = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex')

t.test('V3 until a packet is none, then V2 for good (1.3)', (t) => {
  t.has(decode(packet('v3.read.req')), { protocol: 3 })
  t.has(decode(packet('v2.read.req')), { protocol: 2 })
  t.equal(decode(packet('v3.read.req'), 'v2'), 'bad', 'opcode 6: the header is 6 bytes long')
  // A header of 7 bytes is read as a batch read of version 10, if it is long enough (pitfall 7).
  const long = decode(bytesOf(`0a07080310011880 01 a20605 08b960 102a${'00'.repeat(60)}`), 'v2')
  t.has(long, { operation: operations.batchRead, version: 10 })
  // A header behind the sub-message is V3 all the same.
  const last = bytesOf('a206 05 08b960 102a 0a06 0803 1001 1807')
  t.has(decode(last), { protocol: 3, operation: operations.read, ledgerLow: 12345, entryId: 42 })
  t.end()
})

t.test('what fails the V3 parse falls to V2, and there ends the connection', (t) => {
  const body = 'a206 05 08b960 102a'
  for (const [what, hex] of Object.entries({
    'unknown operation': `0a06 0803 100d 1807 ${body}`,
    'operation 0': `0a06 0803 1000 1807 ${body}`,
    'unknown version': `0a06 0804 1001 1807 ${body}`,
    'no transaction id': `0a04 0803 1001 ${body}`,
    'no header': body,
    'no entry id': '0a06 0803 1001 1807 a206 03 08b960',
    'no required field of another sub-message': `0a06 0803 1001 1807 ${body} da06 00`,
    'a context pair without value': `0a06 0803 1001 1807 ${body} c20c 03 0a0161`,
    'a length beyond the end': '0a06 0803 1001 1807 a206 06 08b960 102a',
    'a group': `0a06 0803 1001 1807 ${body} f30600`,
    'a cut varint': '0a06 0803 1001 1807 a206 05 08b960 10aa',
  })) {
    t.equal(decode(bytesOf(hex)), 'bad', what)
  }
  t.end()
})

t.test('unknown fields and enum values of optional fields are ignored', (t) => {
  const flag = decode(bytesOf('0a06 0803 1001 1807 a206 08 a00603 08b960 102a'))
  t.has(flag, { operation: operations.read, flags: 0 }, 'ReadRequest.flag = 3')
  const add = 'aa06 0c a00602 0801 1002 1a0161 2200'
  t.has(decode(bytesOf(`0a06 0803 1002 1807 ${add}`)), { operation: operations.add, flags: 0 })
  const other = decode(bytesOf('0a06 0803 1001 1807 a206 05 08b960 102a 1005 7a0162'))
  t.has(other, { operation: operations.read, entryId: 42 })
  // Operations that exist as numbers only are parsed, and answered with EBADREQ.
  for (const raw of [3, 4, 12]) {
    const view = decode(bytesOf(`0a06 0803 10${raw.toString(16).padStart(2, '0')} 1807`))
    t.has(view, { operation: 0, rawOperation: raw, hasBody: false })
  }
  // A missing sub-message is known; what another operation left is not taken for it.
  const missing = decode(bytesOf('0a06 0803 1001 1807 aa06 09 0801 1002 1a0161 2200'))
  t.has(missing, { operation: operations.read, hasBody: false, ledgerLow: 0, keyEnd: 0 })
  t.end()
})

t.test('priority, versions and huge ids of V3', (t) => {
  const head = (rest: string): BookieRequest | 'bad' =>
    decode(bytesOf(`${rest} a206 05 08b960 102a`))
  t.has(head('0a08 0803 1001 1807 2001'), { priority: 1, flags: requestFlags.highPriority })
  t.has(head('0a08 0803 1001 1807 2000'), { priority: 0, flags: 0 })
  // The Java field is a signed int (2.4).
  t.has(head('0a0c 0803 1001 1807 20ffffffff0f'), { priority: 0xffffffff, flags: 0 })
  t.has(head('0a06 0802 1001 1807'), { version: 2, operation: operations.read })
  t.has(head('0a0f 0803 1001 18ffffffffffffffffff01'), { txnHigh: 0xffffffff, txnLow: 0xffffffff })
  const huge = '0a06 0803 1001 1807 a206 0d 08b960 10ffffffffffffffff7f'
  t.has(decode(bytesOf(huge)), { entryId: hugeEntryId })
  const metaId = '0a06 0803 1001 1807 a206 0e 08b960 1080c0ffffffffffffff01'
  t.has(decode(bytesOf(metaId)), { entryId: -8192 }, 'below −1 as sent')
  t.end()
})

t.test('a recovery add is never deferred (2.6)', (t) => {
  const both = '0a06 0803 1002 1807 aa06 0e a00601 0801 1002 1a0161 2200 2801'
  t.has(decode(bytesOf(both)), { flags: requestFlags.recovery })
  t.end()
})

t.test('V2 headers: versions, opcodes, flags (1.5)', (t) => {
  const ids = '0000000000003039 000000000000002a'
  t.has(decode(bytesOf(`00000002 ${ids}`)), { version: 0, operation: operations.read, flags: 0 })
  t.has(decode(bytesOf(`01020004 ${ids}`)), { version: 1, flags: requestFlags.highPriority })
  t.has(decode(bytesOf(`0202fff8 ${ids}`)), { flags: 0 }, 'unknown flag bits are ignored')
  t.has(decode(bytesOf(`03020000 ${ids}`)), { version: 3 }, 'for the bookie to refuse')
  t.has(decode(bytesOf(`ff020001 ${ids}`)), { version: 255 }, 'signed: no key is read')
  for (const opcode of ['00', '04', '05', '06', '08', 'ff']) {
    t.equal(decode(bytesOf(`02${opcode}0000 ${ids}`)), 'bad', `opcode ${opcode}`)
  }
  t.equal(decode(bytesOf('020200')), 'bad')
  t.equal(decode(Buffer.alloc(0)), 'bad')
  t.end()
})

t.test('V2 keys: with the fencing flag, from version 2 on', (t) => {
  const ids = '0000000000003039 000000000000002a'
  const key = '11'.repeat(20)
  t.has(decode(bytesOf(`02020001 ${ids} ${key}`)), { flags: 1, keyStart: 20, keyEnd: 40 })
  t.has(decode(bytesOf(`02020000 ${ids} ${key}`)), { flags: 0, keyStart: 0, keyEnd: 0 })
  t.has(decode(bytesOf(`01020001 ${ids} ${key}`)), { flags: 1, keyEnd: 0 }, 'absent: EUA')
  t.equal(decode(bytesOf(`02020001 ${ids} ${key.slice(2)}`)), 'bad')
  t.equal(decode(bytesOf(`02070001 ${ids} ${'00'.repeat(20)}`)), 'bad', 'batch read too')
  t.end()
})

t.test('V2 adds: an entry without ids ends the connection, a short one is refused later', (t) => {
  const head = `02010000${'11'.repeat(20)}`
  t.equal(decode(bytesOf(head + '00'.repeat(15))), 'bad')
  const short = decode(bytesOf(head + '00'.repeat(16)))
  t.has(short, { operation: operations.add, bodyStart: 24, bodyEnd: 40 })
  const huge = decode(bytesOf(`${head}8000000000000001 7fffffffffffffff`))
  t.has(huge, { ledgerHigh: 0x80000000, ledgerLow: 1, entryId: hugeEntryId })
  t.end()
})

t.test('V2 never sends 107, and takes an unknown code for an I/O error (pitfall 12)', (t) => {
  for (const status of Object.values(statuses)) {
    const code = codeOfStatus(status)
    t.ok([0, 1, 2, 100, 101, 102, 103, 104, 105, 106].includes(code), `${status}`)
    const back = status === statuses.unknownLedgerState ? statuses.io : status
    t.equal(statusOfCode(code), back)
  }
  t.equal(statusOfCode(107), statuses.unknownLedgerState, 'a Java bookie sends it')
  for (const code of [-1, 3, 99, 108, 400, 501]) t.equal(statusOfCode(code), statuses.io)
  t.end()
})

t.test('an answer of V2 repeats version and ids of its request (pitfalls 1 and 2)', (t) => {
  const ids = '0000000000003039 ffffffffffffffff'
  for (const [version, header] of [
    ['00000002', '00000002'],
    ['01020001', '01020000'],
    ['02020005', '02020000'],
    ['07020000', '07020000'],
  ] as const) {
    const request = decode(bytesOf(`${version} ${ids} ${'11'.repeat(20)}`))
    if (request === 'bad') throw new Error(version)
    const frame = encodeErrorResponse(request, statuses.noEntry)
    const expected = bytesOf(`00000018 ${header} 00000002 ${ids}`)
    t.equal(frame.toString('hex'), expected.toString('hex'))
  }
  t.end()
})

t.test('V3 responses: unknown statuses cannot be read, both statuses become one', (t) => {
  const head = '0a06 0803 1002 1807'
  const add = (inner: string): string => `aa06 08 08${inner} 10b960 182a`
  t.equal(decodeAnswer(bytesOf(`${head} 10fc03 ${add('f803')}`), 3), 'bad', '508')
  t.equal(decodeAnswer(bytesOf(`${head} 1000 ${add('fc03')}`), 3), 'bad', 'inner 508')
  t.equal(decodeAnswer(bytesOf(`${head} 1001`), 3), 'bad', '1')
  t.equal(decodeAnswer(bytesOf(head), 3), 'bad', 'no status')
  t.equal(decodeAnswer(bytesOf(`1000 ${add('f803')}`), 3), 'bad', 'no header')
  t.has(decodeAnswer(bytesOf(`${head} 1000 ${add('f803')}`), 3), { status: statuses.fenced })
  t.has(decodeAnswer(bytesOf(`${head} 10f603 ${add('f803')}`), 3), {
    status: statuses.unauthorized,
  })
  t.has(
    decodeAnswer(bytesOf(`${head} 1000`), 3),
    { status: statuses.ok },
    'add: nothing is missing',
  )
  for (const operation of ['01', '07', '08', '0b']) {
    const silent = decodeAnswer(bytesOf(`0a06 0803 10${operation} 1807 1000`), 3)
    t.has(silent, { status: statuses.io }, 'OK, but the answer is missing')
  }
  t.equal(decodeAnswer(packet('v2.add.resp.EOK'), 3), 'bad')
  t.equal(decodeAnswer(packet('v3.add.resp.EOK'), 2), 'bad')
  t.end()
})

t.test('V2 responses: sizes, bodies only with OK, lists that fill the frame', (t) => {
  const ids = '0000000000003039 000000000000002a'
  t.equal(decodeAnswer(bytesOf(`02010000 00000000 ${ids}`).subarray(0, 23), 2), 'bad')
  t.equal(decodeAnswer(bytesOf(`02040000 00000000 ${ids}`), 2), 'bad', 'an unknown opcode')
  t.has(decodeAnswer(bytesOf(`02020000 00000002 ${ids} 1234`), 2), { hasBody: false, bodyEnd: 0 })
  const head = `02070000 00000000 ${ids} 0000000000000007`
  t.has(decodeAnswer(bytesOf(`${head} 00000001 61 00000000`), 2), { txnLow: 7, hasBody: true })
  for (const list of ['00', '00000002 61', 'ffffffff 61', '00000001 61 000000']) {
    t.equal(decodeAnswer(bytesOf(`${head} ${list}`), 2), 'bad', list)
  }
  const answer = { version: 2, txnHigh: 0, txnLow: 7, ledgerHigh: 0, ledgerLow: 1, entryId: 0 }
  const empty = { ...answer, status: statuses.ok }
  t.throws(() => encodeBatchReadResponse(empty, []), { code: 'QUIRE_INVARIANT' }, 'pitfall 30')
  t.end()
})

t.test('many acknowledgements in one segment, split anywhere (pitfall 41)', (t) => {
  const fields = { txnHigh: 0, ledgerHigh: 0, ledgerLow: 9, status: statuses.ok }
  for (const protocol of [2, 3] as const) {
    const target = Buffer.alloc(100 * responses.addResponseBytesMax)
    let end = 0
    for (let id = 0; id < 100; id++) {
      const each = { ...fields, protocol, version: protocol, txnLow: id, entryId: id }
      end = responses.writeAddResponse(target, end, each)
    }
    if (protocol === 2) t.equal(end, 2800)
    const seen: number[] = []
    const view = responses.createResponse()
    const reader = new FrameReader()
    for (let at = 0; at < end; at += 37) {
      reader.push(target.subarray(at, Math.min(at + 37, end)), (bytes, from, to) => {
        responses.decodeResponse(bytes, from, to, protocol, view)
        seen.push(view.entryId)
      })
    }
    t.same(
      seen,
      Array.from({ length: 100 }, (_, id) => id),
    )
  }
  t.end()
})

const isFrame = (name: string): boolean => /^v[23]\./.test(name)
const frames = Object.keys(vectors).filter(isFrame).map(packet)
const noise = fc.uint8Array({ maxLength: 200, size: 'max' }).map((bytes) => Buffer.from(bytes))
/** A valid packet with some bytes changed, and cut or grown. */
const mutated = fc
  .tuple(
    fc.constantFrom(...frames),
    fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
    fc.option(fc.nat(), { nil: undefined }),
    fc.uint8Array({ maxLength: 6 }),
  )
  .map(([frame, changes, cut, tail]) => {
    const bytes = Buffer.concat([frame, tail])
    for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value
    return bytes.subarray(0, cut === undefined ? bytes.length : cut % (bytes.length + 1))
  })
/** Protobuf tags and lengths in random order: deeper into the V3 decoders than noise gets. */
const taglike = fc
  .array(
    fc
      .constantFrom(
        '0a',
        '08',
        '03',
        '10',
        '01',
        '02',
        '18',
        '07',
        'a206',
        'aa06',
        '1a',
        '22',
        '28',
      )
      .chain((hex) => fc.tuple(fc.constant(hex), fc.nat(12))),
    { maxLength: 40 },
  )
  .map((parts) => bytesOf(parts.map(([hex, n]) => hex + n.toString(16).padStart(2, '0')).join('')))
const hostile = fc.oneof(noise, mutated, mutated, taglike)

const inside = (view: object, names: readonly string[], start: number, end: number): void => {
  const values = names.map((name) => Number((view as Record<string, unknown>)[name]))
  for (let index = 0; index < values.length; index += 2) {
    const from = values[index] ?? NaN
    const to = values[index + 1] ?? NaN
    // Nothing there is 0, 0.
    if (from === 0 && to === 0) continue
    ok(from >= start && from <= to && to <= end, `${names[index]}: ${from} to ${to}`)
  }
}

t.test('fuzz: requests', (t) => {
  const view = requests.createRequest()
  const property = fc.property(hostile, fc.nat(9), fc.nat(9), (bytes, before, after) => {
    const chunk = Buffer.concat([Buffer.alloc(before, 0xff), bytes, Buffer.alloc(after, 0x01)])
    const end = before + bytes.length
    for (const mode of ['v3-first', 'v2'] as const) {
      if (requests.decodeRequest(chunk, before, end, mode, view) === 'bad') continue
      inside(view, ['keyStart', 'keyEnd', 'bodyStart', 'bodyEnd'], before, end)
      equal(view.bytes, chunk)
      equal(Number.isNaN(view.entryId + view.previousLac + view.timeoutMs), false)
      // The same bytes alone mean the same: nothing was read beside the range.
      const alone = decode(Buffer.from(bytes), mode)
      ok(alone !== 'bad')
      equal(alone.bodyEnd - alone.bodyStart, view.bodyEnd - view.bodyStart)
      equal(alone.entryId, view.entryId)
      equal(alone.rawOperation, view.rawOperation)
    }
  })
  holds(t, 'never a throw, never a range outside', property, 3000)
  t.end()
})

t.test('fuzz: responses', (t) => {
  const view = responses.createResponse()
  const property = fc.property(hostile, fc.nat(9), fc.nat(9), (bytes, before, after) => {
    const chunk = Buffer.concat([Buffer.alloc(before, 0xff), bytes, Buffer.alloc(after, 0x01)])
    const end = before + bytes.length
    for (const protocol of [2, 3] as const) {
      if (responses.decodeResponse(chunk, before, end, protocol, view) === 'bad') continue
      inside(view, ['bodyStart', 'bodyEnd', 'secondStart', 'secondEnd'], before, end)
      ok(Object.values(statuses).includes(view.status))
      const alone = decodeAnswer(Buffer.from(bytes), protocol)
      ok(alone !== 'bad')
      equal(alone.status, view.status)
      equal(alone.bodyEnd - alone.bodyStart, view.bodyEnd - view.bodyStart)
    }
  })
  holds(t, 'never a throw, never a range outside', property, 3000)
  t.end()
})

t.test('fuzz: no random V2 add is taken for V3 (1.3)', (t) => {
  const adds = fc.uint8Array({ minLength: 40, maxLength: 120, size: 'max' })
  const property = fc.property(adds, (tail) => {
    const bytes = Buffer.concat([bytesOf('02010000'), tail])
    const view = decode(bytes)
    ok(view !== 'bad' && view.protocol === 2 && view.operation === operations.add)
  })
  holds(t, 'version bytes 0 to 2 are no tag', property, 500)
  t.end()
})
