// The records that BookKeeper keeps in its metadata: every vector in both directions, what readers
// accept and refuse, and that garbage is never more than QUIRE_BAD_METADATA.
import { deepStrictEqual } from 'node:assert'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import t, { type Test } from 'tap'
import { QuireError } from '../../../src/errors.ts'
import { isValidBookieId } from '../../../src/wire/bookie-id.ts'
import {
  bookieAddress,
  bookieEndpointInfo,
  decodeBookieServiceInfo,
  encodeBookieServiceInfo,
} from '../../../src/wire/bookie-service-info.ts'
import * as cluster from '../../../src/wire/cluster-records.ts'
import {
  cookieDifference,
  decodeCookie,
  encodeCookie,
  encodeDirectories,
} from '../../../src/wire/cookie.ts'
import {
  decodeLedgerMetadata,
  encodeLedgerMetadata,
} from '../../../src/wire/ledger-metadata-codec.ts'
import type { LedgerMetadata } from '../../../src/wire/ledger-metadata.ts'
import * as paths from '../../../src/wire/ledger-path.ts'
import { encodeDelimited, Values } from '../../../src/wire/proto-schema.ts'
import type { ProtoMessage } from '../../../src/wire/proto-schema.ts'
import { parseText } from '../../../src/wire/text-format.ts'
import { root } from '../../support/source.ts'

interface LedgerFields {
  readonly writeQuorumSize: number
  readonly ensembleSize: number
  readonly ackQuorumSize: number
  readonly length: string
  readonly lastEntryId: string
  readonly state: string
  readonly segments: [number, string[]][]
  readonly digestType: string
  readonly password: string
  readonly ctime: string | null
  readonly customMetadata: [string, string][]
  readonly cToken: string
}

interface Vector {
  readonly name: string
  readonly hex: string
  readonly path: string
  readonly fields?: LedgerFields
}

const file = JSON.parse(readFileSync(join(root, 'test/vectors/metadata.json'), 'utf8')) as {
  root: string
  vectors: Vector[]
  paths: Record<string, string>[]
  idgen: { created: string; id: string | null }[]
}

const vector = (name: string): Buffer => {
  const found = file.vectors.find((each) => each.name === name)
  if (!found) throw new Error(`no vector ${name}`)
  return Buffer.from(found.hex, 'hex')
}

const states = { OPEN: 'open', IN_RECOVERY: 'in-recovery', CLOSED: 'closed' } as const
const digests = { CRC32: 'crc32', CRC32C: 'crc32c', HMAC: 'mac', DUMMY: 'dummy' } as const

function expected(fields: LedgerFields, formatVersion: 1 | 2 | 3): LedgerMetadata {
  const old = formatVersion === 1
  const custom = fields.customMetadata.map(([key, hex]) => [key, Buffer.from(hex, 'hex')] as const)
  return {
    formatVersion,
    state: states[fields.state as keyof typeof states],
    ensembleSize: fields.ensembleSize,
    writeQuorumSize: fields.writeQuorumSize,
    ackQuorumSize: old ? fields.writeQuorumSize : fields.ackQuorumSize,
    fragments: fields.segments.map(([firstEntryId, ensemble]) => ({ firstEntryId, ensemble })),
    lastEntryId: Number(fields.lastEntryId),
    lengthBytes: Number(fields.length),
    digest: old ? undefined : digests[fields.digestType as keyof typeof digests],
    password: old ? Buffer.alloc(0) : Buffer.from(fields.password, 'hex'),
    ctimeMs: fields.ctime === null ? undefined : Number(fields.ctime),
    customMetadata: new Map(old ? [] : custom),
    creatorToken: formatVersion === 3 ? BigInt(fields.cToken) : 0n,
  }
}

/** How each vector that is no ledger is read and written again. */
const rewrite: Record<string, (bytes: Buffer) => Buffer> = {
  'layout.hierarchical': (bytes) => cluster.encodeLayout(cluster.decodeLayout(bytes)),
  'layout.longhierarchical': (bytes) => cluster.encodeLayout(cluster.decodeLayout(bytes)),
  'layout.flat': (bytes) => cluster.encodeLayout(cluster.decodeLayout(bytes)),
  instanceid: (bytes) => cluster.encodeInstanceId(cluster.decodeInstanceId(bytes)),
  'underreplication.layout': (bytes) => {
    cluster.checkUnderreplicationLayout(bytes)
    return cluster.encodeUnderreplicationLayout()
  },
  'underreplication.lock': (bytes) =>
    cluster.encodeBookieName(cluster.decodeBookieName(bytes) ?? ''),
  'auditor.vote': (bytes) => cluster.encodeBookieName(cluster.decodeBookieName(bytes) ?? ''),
  lostBookieRecoveryDelay: (bytes) =>
    cluster.encodeRecoveryDelay(cluster.decodeRecoveryDelay(bytes)),
}

const rewriteByFamily: [RegExp, (bytes: Buffer) => Buffer][] = [
  [/^ledger\./, (bytes) => encodeLedgerMetadata(decodeLedgerMetadata(bytes))],
  [/^cookie\./, (bytes) => encodeCookie(decodeCookie(bytes))],
  [/^service_info\./, (bytes) => encodeBookieServiceInfo(decodeBookieServiceInfo(bytes))],
  [
    /^underreplication\.ledger/,
    (bytes) => cluster.encodeUnderreplicationMark(cluster.decodeUnderreplicationMark(bytes)),
  ],
  [/^ctime\./, (bytes) => cluster.encodeCheckTime(cluster.decodeCheckTime(bytes) ?? -1)],
]

t.test('every vector, read and written again, is the same bytes', (t) => {
  let count = 0
  for (const { name, hex } of file.vectors) {
    const bytes = Buffer.from(hex, 'hex')
    const again = rewrite[name] ?? rewriteByFamily.find(([family]) => family.test(name))?.[1]
    if (!again) {
      t.match(name, /^empty$|^layout\.v1\.hierarchical$/, 'the only ones that nobody writes')
      continue
    }
    t.equal(again(bytes).toString('hex'), hex, name)
    count++
  }
  t.equal(count, file.vectors.length - 2)
  t.equal(cluster.decodeLayout(vector('layout.v1.hierarchical')), 'legacyhierarchical')
  t.end()
})

t.test('ledger vectors have the fields that Java reads in them', (t) => {
  for (const { name, hex, fields } of file.vectors) {
    if (!fields) continue
    const version = Number(/\.v([123])\./.exec(name)?.[1]) as 1 | 2 | 3
    const wanted = expected(fields, version)
    t.same(decodeLedgerMetadata(Buffer.from(hex, 'hex')), wanted, name)
    t.equal(encodeLedgerMetadata(wanted).toString('hex'), hex, name)
  }
  t.end()
})

t.test('the other records have their fields', (t) => {
  t.same(decodeCookie(vector('cookie.full')), {
    bookieId: 'bk1.example.org:3181',
    journalDirectories: '/data/j0,/data/j1',
    ledgerDirectories: encodeDirectories(['/data/l0', '/data/l1']),
    instanceId: '0f3c1a52-6d1e-4f0b-9a55-2f6f0b0c7d11',
    indexDirectories: encodeDirectories(['/data/i0']),
  })
  const info = decodeBookieServiceInfo(vector('service_info.tls_http_props'))
  t.same(info.endpoints[0]?.extensions, ['tls'])
  t.same(info.endpoints[1], {
    id: 'httpserver',
    port: 8080,
    host: '0.0.0.0',
    protocol: 'http',
    auth: [],
    extensions: [],
  })
  t.same([...info.properties], [['zone', 'a']])
  t.same(
    encodeBookieServiceInfo(bookieEndpointInfo('bk1.example.org', 3181)),
    vector('service_info.rpc_only'),
  )
  t.same(bookieAddress('bookie_three', vector('service_info.custom_id')).port, 3181)
  t.same(bookieAddress('10.0.0.2:3181', Buffer.alloc(0)), { host: '10.0.0.2', port: 3181 })
  t.same(cluster.decodeUnderreplicationMark(vector('underreplication.ledger')), {
    replicas: ['10.0.0.2:3181', '10.0.0.4:3181'],
    ctimeMs: 1_700_000_000_000,
  })
  t.same(cluster.decodeUnderreplicationMark(Buffer.alloc(0)), { replicas: [], ctimeMs: undefined })
  t.equal(cluster.decodeCheckTime(vector('ctime.checkAllLedgers')), 1_700_000_000_000)
  t.equal(cluster.decodeCheckTime(Buffer.alloc(0)), undefined, 'never')
  t.equal(cluster.decodeRecoveryDelay(vector('lostBookieRecoveryDelay')), 1800)
  t.equal(cluster.decodeBookieName(vector('underreplication.lock')), 'bk1.example.org')
  t.end()
})

t.test('paths and ids', (t) => {
  for (const row of file.paths) {
    const id = BigInt(row['id'] ?? '')
    for (const layout of ['hierarchical', 'longhierarchical', 'flat'] as const) {
      const path = row[layout] ?? ''
      t.equal(paths.ledgerPath(file.root, layout, id), path)
      t.equal(paths.ledgerIdOfPath(file.root, layout, path), id, path)
    }
    if (row['legacyhierarchical']) {
      t.equal(paths.ledgerPath(file.root, 'legacyhierarchical', id), row['legacyhierarchical'])
    }
    t.equal(paths.underreplicationPath(file.root, id), row['underreplicated'])
    t.equal(paths.underreplicationLockPath(file.root, id), row['lock'])
  }
  for (const { created, id } of file.idgen) {
    const low = paths.sequenceOf(created) ?? -1
    const high = BigInt(/HOB-(\d+)/.exec(created)?.[1] ?? 0)
    const valid = low >= 0 && low < 2_147_483_647
    t.equal(valid ? String((high << 32n) | BigInt(low)) : null, id, created)
  }
  for (const names of [
    ['L0000'],
    ['00', '0000'],
    ['00', '000', 'L0000'],
    ['00', '0000', 'Lx000'],
  ]) {
    t.throws(() => paths.ledgerIdOfNames('hierarchical', names), { code: 'QUIRE_BAD_METADATA' })
  }
  t.throws(() => paths.ledgerPath('/l', 'hierarchical', -1n), { code: 'QUIRE_BAD_METADATA' })
  t.throws(() => paths.ledgerPath('/l', 'flat', 1n << 63n), { code: 'QUIRE_BAD_METADATA' })
  t.throws(() => paths.ledgerIdOfPath('/l', 'flat', '/m/L0000000001'), {
    code: 'QUIRE_BAD_METADATA',
  })
  t.equal(isValidBookieId('10.0.0.1:3181'), true)
  t.equal(isValidBookieId('a@[b]\\c'), true, 'the accidental range of the pattern')
  for (const bad of ['', 'a b', 'a/b', 'ReadOnly', 'ä']) t.equal(isValidBookieId(bad), false, bad)
  t.end()
})

const bad = (t: Test, bytes: Buffer | string, name: string): void => {
  const input = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes
  t.throws(() => decodeLedgerMetadata(input), { code: 'QUIRE_BAD_METADATA' }, name)
}

const textOf = (name: string): string => vector(name).toString('latin1')

t.test('what no Java reader would take', (t) => {
  const text = textOf('ledger.v2.closed')
  const drop = (line: RegExp): string => text.replace(line, '')
  const rows: [string, string][] = [
    ['no state, though it has a default', drop(/state: .*\n/)],
    ['no quorum', drop(/quorumSize: .*\n/)],
    ['no ensemble size', drop(/ensembleSize: .*\n/)],
    ['no length', drop(/length: .*\n/)],
    ['closed without a last entry', drop(/lastEntryId: .*\n/)],
    ['a password without a digest', drop(/digestType: .*\n/)],
    ['no segment', text.replace(/segment \{[^}]*\}\n/g, '')],
    ['segments not ascending', text.replace('firstEntryId: 1000', 'firstEntryId: 0')],
    ['a first segment that is not the first', text.replace('firstEntryId: 0', 'firstEntryId: 1')],
    ['a bookie too few', text.replace(/ {2}ensembleMember: "bookie_three"\n/, '')],
    ['a bad bookie id', text.replace('bookie_three', 'bookie three')],
    ['a write quorum above the ensemble', text.replace('quorumSize: 3', 'quorumSize: 4')],
    ['an ack quorum above the write quorum', text.replace('ackQuorumSize: 2', 'ackQuorumSize: 4')],
    ['an unknown state', text.replace('CLOSED', 'ENDED')],
    ['a length above 2^53', text.replace('length: 3000000', 'length: 9007199254740992')],
    [
      'an entry id above 2^53',
      text.replace('firstEntryId: 1000', 'firstEntryId: 9007199254740992'),
    ],
    ['a version that is unknown', text.replace('\t2\n', '\t4\n')],
    ['a carriage return in the header', text.replace('\t2\n', '\t2\r\n')],
    ['a version of many digits', text.replace('\t2\n', '\t00000000002\n')],
    ['no header', text.slice(1)],
    ['a string without an end', text.replace('password: "pw"', 'password: "pw')],
    ['a number that is none', text.replace('length: 3000000', 'length: 30x')],
    ['an octal number with an 8', text.replace('length: 3000000', 'length: 08')],
    ['an int32 that is none', text.replace('ensembleSize: 3', 'ensembleSize: 4294967299')],
    ['nested without end', `${text}${'x { '.repeat(10_000)}`],
  ]
  for (const [name, changed] of rows) {
    t.not(changed, text, name)
    bad(t, changed, name)
  }
  const v3 = vector('ledger.v3.closed')
  for (let end = 0; end < v3.length; end++) bad(t, v3.subarray(0, end), `cut at ${end}`)
  bad(t, textOf('ledger.v1.closed').replace('2999', '29.9'), 'version 1, no number')
  t.throws(
    () => encodeLedgerMetadata({ ...decodeLedgerMetadata(v3), fragments: [] }),
    { code: 'QUIRE_BAD_METADATA' },
    'nor is it written',
  )
  t.end()
})

t.test('what readers accept beyond what is printed', (t) => {
  const text = textOf('ledger.v2.closed')
  const wanted = decodeLedgerMetadata(vector('ledger.v2.closed'))
  const rows: [string, string][] = [
    ['comments and blanks', text.replace(/\n/g, ' # why\n\t\r\n').replace(' # why\n\t\r\n', '\n')],
    ['a colon before a message', text.replaceAll('segment {', 'segment: {')],
    ['angle brackets', text.replace(/segment \{([^}]*)\}/g, 'segment <$1>')],
    [
      'separators',
      text.replace('"pw"\n', '"pw";\n').replace('length: 3000000', 'length: 3000000,'),
    ],
    ['single quotes', text.replace('"pw"', "'pw'")],
    ['strings in parts', text.replace('"pw"', '"p" \n "w"')],
    ['escapes', text.replace('"pw"', '"\\x70\\167"')],
    ['unicode escapes', text.replace('"pw"', '"\\u0070\\U00000077"')],
    ['hexadecimal', text.replace('length: 3000000', 'length: 0x2dC6c0')],
    ['octal', text.replace('lastEntryId: 2999', 'lastEntryId: 05667')],
    ['unknown fields', `${text}later: -1.5e3 more { a: [1, "x", {}] b <c: D> } [x.y]: 'z'\n`],
    [
      'a list',
      text.replace(/ {2}ensembleMember: "(b[^"]*|1[^"]*)"\n/g, '  ensembleMember: ["$1"]\n'),
    ],
  ]
  for (const [name, changed] of rows) {
    t.not(changed, text, name)
    t.same(decodeLedgerMetadata(Buffer.from(changed, 'latin1')), wanted, name)
  }
  const [head = '', ...lines] = text.split(/(?<=\n)(?! )(?!\})/)
  const turned = head + lines.reverse().join('')
  const other = decodeLedgerMetadata(
    Buffer.from(turned.replace(/(segment[^]*?\n\})\n(segment[^]*?\n\})\n/, '$2\n$1\n'), 'latin1'),
  )
  t.same(other, wanted, 'any order of fields')
  const v3 = vector('ledger.v3.open')
  const more = Buffer.concat([v3, Buffer.from('whatever')])
  t.same(decodeLedgerMetadata(more), decodeLedgerMetadata(v3), 'bytes behind version 3')
  t.end()
})

t.test('fields that are optional, and what is ignored', (t) => {
  const format: ProtoMessage = {
    kind: 'message',
    fields: [
      { number: 1, name: 'quorumSize', label: 'required', type: 'int32' },
      { number: 2, name: 'ensembleSize', label: 'required', type: 'int32' },
      { number: 3, name: 'length', label: 'required', type: 'int64' },
      { number: 4, name: 'last', label: 'optional', type: 'int64' },
      { number: 5, name: 'state', label: 'required', type: 'int32' },
      { number: 6, name: 'segment', label: 'required', type: 'bytes' },
      { number: 99, name: 'later', label: 'optional', type: 'string' },
    ],
  }
  const segment = Buffer.concat([Buffer.from([0x0a, 1]), Buffer.from('a'), Buffer.from([0x10, 0])])
  const values = new Values()
    .set('quorumSize', 1n)
    .set('ensembleSize', 1n)
    .set('length', 77n)
    .set('last', 5n)
    .set('state', 2n)
    .set('segment', segment)
    .set('later', 'unknown')
  const head = Buffer.from('BookieMetadataFormatVersion\t3\n')
  const read = decodeLedgerMetadata(Buffer.concat([head, encodeDelimited(format, values)]))
  t.match(read, { state: 'in-recovery', ackQuorumSize: 1, digest: undefined, lastEntryId: -1 })
  t.equal(read.lengthBytes, 0, 'only a closed ledger has a length')
  t.equal(read.password.length, 0)
  const token = (1n << 63n) - 2n
  const own = { ...decodeLedgerMetadata(vector('ledger.v3.open')), creatorToken: token }
  t.equal(decodeLedgerMetadata(encodeLedgerMetadata(own)).creatorToken, token, '63 bits of a token')
  t.end()
})

t.test('cookies', (t) => {
  const cookie = decodeCookie(vector('cookie.no_index'))
  t.equal(cookie.indexDirectories, undefined)
  t.equal(cookieDifference(cookie, cookie), undefined)
  const index = { ...cookie, indexDirectories: cookie.ledgerDirectories }
  t.equal(cookieDifference(cookie, index), undefined, 'none means the ledger directories')
  for (const [field, name] of [
    ['bookieId', 'bookie id'],
    ['journalDirectories', 'journal directory'],
    ['ledgerDirectories', 'ledger directories'],
    ['instanceId', 'instance id'],
    ['indexDirectories', 'index directories'],
  ] as const) {
    t.match(cookieDifference(cookie, { ...cookie, [field]: 'x' }), new RegExp(`^${name}`))
  }
  t.same(decodeCookie(Buffer.from('3\nh:1\n/j\n1\t/l\n')), {
    bookieId: 'h:1',
    journalDirectories: '/j',
    ledgerDirectories: '1\t/l',
    instanceId: undefined,
    indexDirectories: undefined,
  })
  for (const text of ['', '5', 'x\n', '2\nh\n', '5\nbookieHost: "a"\n', '3\nh\n']) {
    t.throws(() => decodeCookie(Buffer.from(text)), { code: 'QUIRE_BAD_METADATA' }, text)
  }
  t.end()
})

t.test('records of a cluster that cannot be used are refused', (t) => {
  const shaded = 'dlshade.org.apache.bookkeeper.meta.FlatLedgerManagerFactory'
  t.equal(cluster.decodeLayout(Buffer.from(`2\n${shaded}:1`)), 'flat')
  for (const text of [
    '',
    '2\norg.apache.bookkeeper.meta.MSLedgerManagerFactory:1',
    '2\norg.apache.bookkeeper.meta.FlatLedgerManagerFactory:2',
    '2\norg.apache.bookkeeper.meta.FlatLedgerManagerFactory',
    '3\nflat:1',
    '1\nms:1',
    '2\nflat:1:1',
  ]) {
    t.throws(() => cluster.decodeLayout(Buffer.from(text)), { code: 'QUIRE_BAD_METADATA' }, text)
  }
  t.throws(() => cluster.decodeInstanceId(Buffer.from('x')), { code: 'QUIRE_BAD_METADATA' })
  t.throws(() => cluster.decodeRecoveryDelay(Buffer.from('1800\n')), { code: 'QUIRE_BAD_METADATA' })
  t.throws(() => cluster.checkUnderreplicationLayout(Buffer.from('type: "X" version: 1')), {
    code: 'QUIRE_BAD_METADATA',
  })
  t.throws(() => bookieAddress('bookie_three', Buffer.alloc(0)), { code: 'QUIRE_BAD_METADATA' })
  const http = { ...bookieEndpointInfo('h', 1), endpoints: [] }
  t.throws(
    () =>
      bookieAddress('h:1', Buffer.concat([encodeBookieServiceInfo(http), Buffer.from([0x40, 1])])),
    {
      code: 'QUIRE_BAD_METADATA',
    },
  )
  t.end()
})

t.test('garbage is QUIRE_BAD_METADATA and nothing else', (t) => {
  const readers: ((bytes: Buffer) => unknown)[] = [
    decodeLedgerMetadata,
    decodeCookie,
    decodeBookieServiceInfo,
    cluster.decodeLayout,
    cluster.decodeInstanceId,
    cluster.decodeUnderreplicationMark,
    cluster.decodeBookieName,
    cluster.decodeCheckTime,
    cluster.decodeRecoveryDelay,
    (bytes) => bookieAddress('h:1', bytes),
    (bytes) => parseText({ kind: 'message', fields: [] }, bytes),
  ]
  const samples = file.vectors.map(({ hex }) => Buffer.from(hex, 'hex'))
  const mutated = fc
    .tuple(
      fc.constantFrom(...samples),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 }),
      fc.nat(400),
    )
    .map(([sample, changes, cut]) => {
      const bytes = Buffer.from(
        sample.subarray(0, Math.max(sample.length - cut, sample.length % 7)),
      )
      for (const [at, byte] of changes) if (bytes.length > 0) bytes[at % bytes.length] = byte
      return bytes
    })
  const garbage = fc.oneof(
    mutated,
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  )
  fc.assert(
    fc.property(garbage, (bytes) => {
      for (const read of readers) {
        try {
          read(bytes)
        } catch (error) {
          if (!QuireError.is(error, 'QUIRE_BAD_METADATA')) throw error
        }
      }
    }),
    { numRuns: 1_500 },
  )
  t.pass('all of it')
  t.end()
})

t.test('whatever metadata is written is read as it was', (t) => {
  const id = fc.stringMatching(/^[A-Za-z0-9._:-]{1,20}$/).filter(isValidBookieId)
  const number = fc.nat(2 ** 31)
  const metadata = fc
    .record({
      formatVersion: fc.constantFrom(2 as const, 3 as const),
      sizes: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 3, maxLength: 3 }),
      firsts: fc.uniqueArray(fc.integer({ min: 1, max: 2 ** 52 }), { maxLength: 4 }),
      bookies: fc.array(id, { minLength: 25, maxLength: 25 }),
      state: fc.constantFrom('open' as const, 'in-recovery' as const, 'closed' as const),
      end: fc.tuple(number, number),
      digest: fc.constantFrom(
        'crc32' as const,
        'mac' as const,
        'crc32c' as const,
        'dummy' as const,
      ),
      password: fc.uint8Array({ maxLength: 20 }),
      ctimeMs: fc.option(number, { nil: undefined }),
      custom: fc.uniqueArray(
        fc.tuple(fc.string({ unit: 'grapheme' }), fc.uint8Array({ maxLength: 20 })),
        { selector: ([key]) => key, maxLength: 4 },
      ),
      token: fc.bigInt({ min: 0n, max: (1n << 63n) - 2n }),
    })
    .map((each): LedgerMetadata => {
      const [ack = 1, write = 1, ensemble = 1] = [...each.sizes].sort((a, b) => a - b)
      const closed = each.state === 'closed'
      return {
        formatVersion: each.formatVersion,
        state: each.state,
        ensembleSize: ensemble,
        writeQuorumSize: write,
        ackQuorumSize: ack,
        fragments: [0, ...each.firsts.sort((a, b) => a - b)].map((firstEntryId, index) => ({
          firstEntryId,
          ensemble: each.bookies.slice(index * 5, index * 5 + ensemble),
        })),
        lastEntryId: closed ? each.end[0] - 1 : -1,
        lengthBytes: closed ? each.end[1] : 0,
        digest: each.digest,
        password: Buffer.from(each.password),
        ctimeMs: each.ctimeMs,
        customMetadata: new Map(each.custom.map(([key, value]) => [key, Buffer.from(value)])),
        creatorToken: each.formatVersion === 3 ? each.token : 0n,
      }
    })
  fc.assert(
    fc.property(metadata, (each) => {
      deepStrictEqual(decodeLedgerMetadata(encodeLedgerMetadata(each)), each)
    }),
    { numRuns: 100 },
  )
  t.pass('all of them')
  t.end()
})
