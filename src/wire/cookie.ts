// A bookie's cookie: at cookies/ID in the metadata and in the file VERSION of its directories
// (metadata 2.5, 4.6).

import { badMetadata, Values } from './proto-schema.ts'
import type { ProtoMessage } from './proto-schema.ts'
import { parseText, printText } from './text-format.ts'

export interface Cookie {
  readonly bookieId: string
  readonly journalDirectories: string
  /** As `encodeDirectories` makes it: count, then the directories, between tabs. */
  readonly ledgerDirectories: string
  readonly instanceId: string | undefined
  /** Undefined: the same as the ledger directories. */
  readonly indexDirectories: string | undefined
}

const layoutVersion = 5

const format: ProtoMessage = {
  kind: 'message',
  fields: [
    { number: 1, name: 'bookieHost', label: 'required', type: 'string' },
    { number: 2, name: 'journalDir', label: 'required', type: 'string' },
    { number: 3, name: 'ledgerDirs', label: 'required', type: 'string' },
    { number: 4, name: 'instanceId', label: 'optional', type: 'string' },
    { number: 5, name: 'indexDirs', label: 'optional', type: 'string' },
  ],
}

export function encodeDirectories(directories: readonly string[]): string {
  return [directories.length, ...directories].join('\t')
}

export function encodeCookie(cookie: Cookie): Buffer {
  const values = new Values()
    .set('bookieHost', cookie.bookieId)
    .set('journalDir', cookie.journalDirectories)
    .set('ledgerDirs', cookie.ledgerDirectories)
    .set('instanceId', cookie.instanceId)
    .set('indexDirs', cookie.indexDirectories)
  return Buffer.from(`${layoutVersion}\n${printText(format, values)}`, 'utf8')
}

/**
 * Reads layout 3 (lines) and later ones (text). Older ones carry nothing that could be compared.
 */
export function decodeCookie(bytes: Uint8Array): Cookie {
  const at = bytes.indexOf(0x0a)
  const first = Buffer.from(bytes.subarray(0, Math.max(at, 0))).toString('utf8')
  if (at < 0 || !/^\s*[0-9]{1,9}\s*$/.test(first)) throw badMetadata('this is no cookie')
  const version = Number(first)
  const rest = bytes.subarray(at + 1)
  if (version < 3) throw badMetadata(`a cookie of layout ${version} is too old to be compared`)
  if (version === 3) return cookieOfLines(rest)
  const values = parseText(format, rest)
  return {
    bookieId: values.text('bookieHost') ?? '',
    journalDirectories: values.text('journalDir') ?? '',
    ledgerDirectories: values.text('ledgerDirs') ?? '',
    instanceId: values.text('instanceId') || undefined,
    indexDirectories: values.text('indexDirs') || undefined,
  }
}

function cookieOfLines(bytes: Uint8Array): Cookie {
  const [bookieId, journalDirectories, ledgerDirectories] = Buffer.from(bytes)
    .toString('utf8')
    .split(/\r\n|\n|\r/)
  if (bookieId === undefined || !journalDirectories || !ledgerDirectories) {
    throw badMetadata('a cookie of layout 3 has three lines')
  }
  return {
    bookieId,
    journalDirectories,
    ledgerDirectories,
    instanceId: undefined,
    indexDirectories: undefined,
  }
}

/**
 * What differs between the cookie that a bookie ought to have and another one; undefined when they
 * agree.
 */
export function cookieDifference(master: Cookie, other: Cookie): string | undefined {
  const indexOf = (cookie: Cookie): string => cookie.indexDirectories ?? cookie.ledgerDirectories
  const rows: readonly [string, string | undefined, string | undefined][] = [
    ['bookie id', master.bookieId, other.bookieId],
    ['journal directory', master.journalDirectories, other.journalDirectories],
    ['ledger directories', master.ledgerDirectories, other.ledgerDirectories],
    ['index directories', indexOf(master), indexOf(other)],
    ['instance id', master.instanceId, other.instanceId],
  ]
  const row = rows.find(([, mine, theirs]) => mine !== theirs)
  return row && `${row[0]}: ${JSON.stringify(row[1])} here, ${JSON.stringify(row[2])} there`
}
