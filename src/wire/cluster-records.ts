// The small records that describe a cluster: LAYOUT, INSTANCEID, and those of under-replication
// (metadata 2.1, 2.2, 2.7 to 2.12).

import { badMetadata, decodeProto, encodeProto, Values } from './proto-schema.ts'
import type { ProtoField, ProtoMessage } from './proto-schema.ts'
import { parseText, printText } from './text-format.ts'

/** How ledgers are laid out in the tree. `legacyhierarchical` is read, never chosen. */
export type LedgerLayout = 'hierarchical' | 'longhierarchical' | 'flat' | 'legacyhierarchical'

const factories = {
  hierarchical: 'HierarchicalLedgerManagerFactory',
  longhierarchical: 'LongHierarchicalLedgerManagerFactory',
  flat: 'FlatLedgerManagerFactory',
  legacyhierarchical: 'LegacyHierarchicalLedgerManagerFactory',
} as const satisfies Record<LedgerLayout, string>

const factoryPackage = 'org.apache.bookkeeper.meta.'

export function encodeLayout(layout: LedgerLayout): Buffer {
  return Buffer.from(`2\n${factoryPackage}${factories[layout]}:1`, 'utf8')
}

/**
 * Which layout LAYOUT names. Only the class's last name counts, because shaded jars put prefixes
 * before it. Format 1 named a type: its `hierarchical` was the one that is now called legacy.
 */
export function decodeLayout(bytes: Uint8Array): LedgerLayout {
  const text = Buffer.from(bytes).toString('utf8')
  const [format, manager = '', ...more] = text.split('\n')
  const [name = '', version, ...rest] = manager.split(':')
  if (more.length > 0 || rest.length > 0 || version !== '1') throw unknownLayout(text)
  if (format === '1') {
    if (name === 'flat') return 'flat'
    if (name === 'hierarchical') return 'legacyhierarchical'
  } else if (format === '2') {
    const factory = name.slice(name.lastIndexOf('.') + 1)
    const found = Object.entries(factories).find(([, each]) => each === factory)?.[0]
    if (found !== undefined) return found as LedgerLayout
  }
  throw unknownLayout(text)
}

function unknownLayout(text: string): Error {
  const short = JSON.stringify(text.slice(0, 120))
  return badMetadata(`the cluster's LAYOUT is ${short}, which this release does not know`)
}

export function encodeInstanceId(instanceId: string): Buffer {
  return Buffer.from(instanceId, 'utf8')
}

export function decodeInstanceId(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString('utf8')
  if (/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return text
  throw badMetadata(`the cluster's INSTANCEID is ${JSON.stringify(text.slice(0, 80))}, no UUID`)
}

const one = (field: Omit<ProtoField, 'number' | 'label'>): ProtoMessage => ({
  kind: 'message',
  fields: [{ number: 1, label: 'optional', ...field }],
})

const markFormat: ProtoMessage = {
  kind: 'message',
  fields: [
    { number: 1, name: 'replica', label: 'repeated', type: 'string' },
    { number: 2, name: 'ctime', label: 'optional', type: 'int64' },
  ],
}

/** A ledger's mark: bookies believed to miss it, and when it was marked last. */
export interface UnderreplicationMark {
  readonly replicas: readonly string[]
  readonly ctimeMs: number | undefined
}

export function encodeUnderreplicationMark({ replicas, ctimeMs }: UnderreplicationMark): Buffer {
  const ctime = ctimeMs === undefined ? undefined : BigInt(ctimeMs)
  const values = new Values().set('replica', ...replicas).set('ctime', ctime)
  return Buffer.from(printText(markFormat, values), 'utf8')
}

export function decodeUnderreplicationMark(bytes: Uint8Array): UnderreplicationMark {
  const values = parseText(markFormat, bytes)
  const ctime = values.int('ctime')
  return {
    replicas: values.texts('replica'),
    ctimeMs: ctime === undefined ? undefined : Number(ctime),
  }
}

/** A vote of the auditor's election, or the lock of a ledger: who it is, as text. */
export function encodeBookieName(name: string): Buffer {
  return Buffer.from(printText(nameFormat, new Values().set('bookieId', name)), 'utf8')
}

export function decodeBookieName(bytes: Uint8Array): string | undefined {
  return parseText(nameFormat, bytes).text('bookieId')
}

const nameFormat = one({ name: 'bookieId', type: 'string' })

/**
 * The time of an auditor's last check, milliseconds since 1970. Binary, in contrast to the others.
 */
export function encodeCheckTime(timeMs: number): Buffer {
  return encodeProto(checkFormat, new Values().set('time', BigInt(timeMs)))
}

export function decodeCheckTime(bytes: Uint8Array): number | undefined {
  const time = decodeProto(checkFormat, bytes).int('time')
  return time === undefined ? undefined : Number(time)
}

const checkFormat = one({ name: 'time', type: 'int64' })

const underreplicationLayoutFormat: ProtoMessage = {
  kind: 'message',
  fields: [
    { number: 1, name: 'type', label: 'required', type: 'string' },
    { number: 2, name: 'version', label: 'required', type: 'int32' },
  ],
}

export function encodeUnderreplicationLayout(): Buffer {
  const values = new Values().set('type', 'BASIC').set('version', 1n)
  return Buffer.from(printText(underreplicationLayoutFormat, values), 'utf8')
}

/** Fails unless it is the only layout there is. */
export function checkUnderreplicationLayout(bytes: Uint8Array): void {
  const values = parseText(underreplicationLayoutFormat, bytes)
  if (values.text('type') === 'BASIC' && values.int('version') === 1n) return
  throw badMetadata('the layout of under-replication is not BASIC, version 1')
}

/** Seconds as decimal text without a line end: Java parses the whole content. */
export function encodeRecoveryDelay(seconds: number): Buffer {
  return Buffer.from(String(seconds), 'utf8')
}

export function decodeRecoveryDelay(bytes: Uint8Array): number {
  const text = Buffer.from(bytes).toString('utf8')
  if (/^[+-]?[0-9]{1,10}$/.test(text)) return Number(text)
  throw badMetadata(`the recovery delay is ${JSON.stringify(text.slice(0, 40))}, no integer`)
}
