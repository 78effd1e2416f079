// The bytes of a ledger's metadata, versions 1 to 3 (metadata 2.3). The reader enforces what Java's
// readers enforce, so that nothing is taken that a Java process could not read; the writer of an
// update keeps the version that was read.

import { isValidBookieId } from './bookie-id.ts'
import type { LedgerFragment, LedgerMetadata, LedgerState } from './ledger-metadata.ts'
import { badMetadata, decodeDelimited, encodeDelimited, Values } from './proto-schema.ts'
import type { ProtoMessage } from './proto-schema.ts'
import { parseText, printText } from './text-format.ts'

const header = 'BookieMetadataFormatVersion\t'
/** Bytes of the version number that Java reads at most. */
const versionDigitsMax = 10

const segment: ProtoMessage = {
  kind: 'message',
  fields: [
    { number: 1, name: 'ensembleMember', label: 'repeated', type: 'string' },
    { number: 2, name: 'firstEntryId', label: 'required', type: 'int64' },
  ],
}
const customEntry: ProtoMessage = {
  kind: 'message',
  fields: [
    { number: 1, name: 'key', label: 'optional', type: 'string' },
    { number: 2, name: 'value', label: 'optional', type: 'bytes' },
  ],
}
const stateEnum = { kind: 'enum', values: { OPEN: 1, IN_RECOVERY: 2, CLOSED: 3 } } as const
const digestEnum = { kind: 'enum', values: { CRC32: 1, HMAC: 2, CRC32C: 3, DUMMY: 4 } } as const

const ledgerFormat: ProtoMessage = {
  kind: 'message',
  fields: [
    { number: 1, name: 'quorumSize', label: 'required', type: 'int32' },
    { number: 2, name: 'ensembleSize', label: 'required', type: 'int32' },
    { number: 3, name: 'length', label: 'required', type: 'int64' },
    { number: 4, name: 'lastEntryId', label: 'optional', type: 'int64' },
    { number: 5, name: 'state', label: 'required', type: stateEnum },
    { number: 6, name: 'segment', label: 'repeated', type: segment },
    { number: 7, name: 'digestType', label: 'optional', type: digestEnum },
    { number: 8, name: 'password', label: 'optional', type: 'bytes' },
    { number: 9, name: 'ackQuorumSize', label: 'optional', type: 'int32' },
    { number: 10, name: 'ctime', label: 'optional', type: 'int64' },
    { number: 11, name: 'customMetadata', label: 'repeated', type: customEntry },
    { number: 12, name: 'cToken', label: 'optional', type: 'int64' },
  ],
}

const states = { open: 'OPEN', 'in-recovery': 'IN_RECOVERY', closed: 'CLOSED' } as const
const digests = { crc32: 'CRC32', crc32c: 'CRC32C', mac: 'HMAC', dummy: 'DUMMY' } as const

/**
 * The metadata as bytes, in its own format version. QUIRE_BAD_METADATA when a reader would refuse
 * them.
 */
export function encodeLedgerMetadata(metadata: LedgerMetadata): Buffer {
  check(metadata)
  const { formatVersion } = metadata
  const head = `${header}${formatVersion}\n`
  if (formatVersion === 1) return Buffer.from(head + printLines(metadata), 'utf8')
  const values = valuesOf(metadata)
  if (formatVersion === 2) return Buffer.from(head + printText(ledgerFormat, values), 'utf8')
  return Buffer.concat([Buffer.from(head), encodeDelimited(ledgerFormat, values)])
}

/** Reads any version. Whatever is wrong is QUIRE_BAD_METADATA. */
export function decodeLedgerMetadata(bytes: Uint8Array): LedgerMetadata {
  const { version, bodyStart } = readHeader(bytes)
  if (version === 1) return check(parseLines(bytes.subarray(bodyStart)))
  const values =
    version === 2
      ? parseText(ledgerFormat, bytes.subarray(bodyStart))
      : decodeDelimited(ledgerFormat, bytes, bodyStart)
  return check(metadataOf(values, version))
}

function readHeader(bytes: Uint8Array): { version: 1 | 2 | 3; bodyStart: number } {
  const text = Buffer.from(bytes.subarray(0, header.length + versionDigitsMax + 1)).toString(
    'latin1',
  )
  if (!text.startsWith(header)) throw badMetadata('this is no ledger metadata')
  const end = text.indexOf('\n', header.length)
  const digits = end < 0 ? '' : text.slice(header.length, end)
  const version = [1, 2, 3].find((each) => /^[0-9]+$/.test(digits) && Number(digits) === each)
  if (version === undefined) {
    throw badMetadata(
      `ledger metadata of version ${JSON.stringify(digits)} is unknown: 1 to 3 are known`,
    )
  }
  return { version: version as 1 | 2 | 3, bodyStart: end + 1 }
}

function valuesOf(metadata: LedgerMetadata): Values {
  const closed = metadata.state === 'closed'
  const { digest, formatVersion } = metadata
  return new Values()
    .set('quorumSize', BigInt(metadata.writeQuorumSize))
    .set('ensembleSize', BigInt(metadata.ensembleSize))
    .set('length', BigInt(closed ? metadata.lengthBytes : 0))
    .set('lastEntryId', BigInt(closed ? metadata.lastEntryId : -1))
    .set('state', states[metadata.state])
    .set('segment', ...metadata.fragments.map(segmentOf))
    .set('digestType', digest && digests[digest])
    .set('password', digest && metadata.password)
    .set('ackQuorumSize', BigInt(metadata.ackQuorumSize))
    .set('ctime', metadata.ctimeMs === undefined ? undefined : BigInt(metadata.ctimeMs))
    .set('customMetadata', ...[...metadata.customMetadata].map(customOf))
    .set('cToken', formatVersion === 3 ? metadata.creatorToken : undefined)
}

const segmentOf = ({ firstEntryId, ensemble }: LedgerFragment): Values =>
  new Values().set('ensembleMember', ...ensemble).set('firstEntryId', BigInt(firstEntryId))

const customOf = ([key, value]: readonly [string, Uint8Array]): Values =>
  new Values().set('key', key).set('value', value)

function metadataOf(values: Values, formatVersion: 2 | 3): LedgerMetadata {
  const state = keyOf(states, values.text('state'))
  const writeQuorumSize = safe(values.int('quorumSize'), 'quorumSize')
  const password = values.bytes('password')
  const digest = keyOf(digests, values.text('digestType'))
  if (password && !digest) throw badMetadata('there is a password, but no digest type')
  const ack = values.int('ackQuorumSize')
  const ctime = values.int('ctime')
  return {
    formatVersion,
    state: state ?? 'open',
    ensembleSize: safe(values.int('ensembleSize'), 'ensembleSize'),
    writeQuorumSize,
    ackQuorumSize: ack === undefined ? writeQuorumSize : safe(ack, 'ackQuorumSize'),
    fragments: values.messages('segment').map((each) => ({
      firstEntryId: safe(each.int('firstEntryId'), 'firstEntryId'),
      ensemble: each.texts('ensembleMember'),
    })),
    ...endOf(values, state),
    // Java looks at the digest type only beside a password.
    digest: password && digest,
    password: password ?? Buffer.alloc(0),
    ctimeMs: ctime === undefined ? undefined : safe(ctime, 'ctime'),
    customMetadata: new Map(
      values
        .messages('customMetadata')
        .map((each) => [each.text('key') ?? '', each.bytes('value') ?? Buffer.alloc(0)]),
    ),
    creatorToken: values.int('cToken') ?? 0n,
  }
}

/** What an open ledger's record says of its end is ignored. */
function endOf(
  values: Values,
  state: LedgerState | undefined,
): { lastEntryId: number; lengthBytes: number } {
  if (state !== 'closed') return { lastEntryId: -1, lengthBytes: 0 }
  const lastEntryId = values.int('lastEntryId')
  if (lastEntryId === undefined) throw badMetadata('a closed ledger does not say its last entry')
  return {
    lastEntryId: safe(lastEntryId, 'lastEntryId'),
    lengthBytes: safe(values.int('length'), 'length'),
  }
}

function keyOf<K extends string>(
  table: Readonly<Record<K, string>>,
  value: string | undefined,
): K | undefined {
  return (Object.keys(table) as K[]).find((key) => table[key] === value)
}

function safe(value: bigint | undefined, name: string): number {
  const number = Number(value)
  if (Number.isSafeInteger(number)) return number
  throw badMetadata(`${name} is ${value}: numbers of 2^53 and more are not supported`)
}

const closedTag = 'CLOSED'
const inRecoveryEntryId = '-102'

function printLines(metadata: LedgerMetadata): string {
  const { state, writeQuorumSize, ensembleSize, lastEntryId } = metadata
  const length = state === 'closed' ? metadata.lengthBytes : 0
  let text = `${writeQuorumSize}\n${ensembleSize}\n${length}\n`
  for (const { firstEntryId, ensemble } of metadata.fragments) {
    text += `${[firstEntryId, ...ensemble].join('\t')}\n`
  }
  if (state === 'open') return text
  return `${text}${state === 'closed' ? lastEntryId : inRecoveryEntryId}\t${closedTag}`
}

function parseLines(body: Uint8Array): LedgerMetadata {
  const lines = Buffer.from(body)
    .toString('utf8')
    .split(/\r\n|\n|\r/)
  const [quorum, ensembleSize, length, ...rest] = lines
  const fragments: LedgerFragment[] = []
  let end: string | undefined
  for (const [index, line] of rest.entries()) {
    if (line === '' && index === rest.length - 1) break
    const [first = '', ...ensemble] = line.split('\t')
    if (ensemble[0] === closedTag) {
      end = first
      break
    }
    fragments.push({ firstEntryId: decimal(first), ensemble })
  }
  const writeQuorumSize = decimal(quorum)
  const lengthBytes = decimal(length)
  const closed = end !== undefined && end !== inRecoveryEntryId
  return {
    formatVersion: 1,
    state: closed ? 'closed' : end === undefined ? 'open' : 'in-recovery',
    ensembleSize: decimal(ensembleSize),
    writeQuorumSize,
    ackQuorumSize: writeQuorumSize,
    fragments,
    lastEntryId: closed ? decimal(end) : -1,
    lengthBytes: closed ? lengthBytes : 0,
    digest: undefined,
    password: Buffer.alloc(0),
    ctimeMs: undefined,
    customMetadata: new Map(),
    creatorToken: 0n,
  }
}

function decimal(text: string | undefined): number {
  if (text === undefined || !/^[+-]?[0-9]+$/.test(text)) {
    throw badMetadata(`${JSON.stringify(text)} is no number`)
  }
  return safe(BigInt(text.replace('+', '')), 'a number')
}

/**
 * The rules that every Java reader holds (metadata 2.3), and that lengths and positions are not
 * negative.
 */
function check(metadata: LedgerMetadata): LedgerMetadata {
  const { ensembleSize, writeQuorumSize, ackQuorumSize, fragments } = metadata
  if (!(ensembleSize >= writeQuorumSize && writeQuorumSize >= ackQuorumSize)) {
    throw badMetadata(
      `quorums do not fit: ensemble ${ensembleSize}, write ${writeQuorumSize}, ` +
        `ack ${ackQuorumSize}`,
    )
  }
  if (ackQuorumSize < 1) throw badMetadata('the ack quorum is empty')
  if (fragments[0]?.firstEntryId !== 0) throw badMetadata('the first fragment does not begin at 0')
  let previous = -1
  for (const { firstEntryId, ensemble } of fragments) {
    if (firstEntryId <= previous) throw badMetadata('the fragments are not in order')
    previous = firstEntryId
    if (ensemble.length !== ensembleSize) {
      throw badMetadata(`a fragment has ${ensemble.length} bookies in place of ${ensembleSize}`)
    }
    const bad = ensemble.find((bookieId) => !isValidBookieId(bookieId))
    if (bad !== undefined) throw badMetadata(`${JSON.stringify(bad)} is no bookie id`)
  }
  if (metadata.lastEntryId < -1 || metadata.lengthBytes < 0) {
    throw badMetadata('the end of the ledger is negative')
  }
  return metadata
}
