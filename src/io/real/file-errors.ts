// Errors of the operating system about files, as Quire's: the code says what kind, the sentence
// what to do.

import { QuireError, messageOf, type ErrorCode } from '../../errors.ts'

const codes = new Map<string, ErrorCode>([
  ['ENOENT', 'QUIRE_DIRECTORY_MISSING'],
  ['ENOTDIR', 'QUIRE_DIRECTORY_MISSING'],
  ['EACCES', 'QUIRE_DIRECTORY_DENIED'],
  ['EPERM', 'QUIRE_DIRECTORY_DENIED'],
  ['EROFS', 'QUIRE_DIRECTORY_DENIED'],
  ['ENOSPC', 'QUIRE_DISK_FULL'],
  ['EDQUOT', 'QUIRE_DISK_FULL'],
])

const advice: Partial<Record<ErrorCode, string>> = {
  QUIRE_DIRECTORY_MISSING: 'create it, or mount the disk it is on',
  QUIRE_DIRECTORY_DENIED: 'give it to the user that runs this process, writable',
  QUIRE_DISK_FULL: 'free space on its disk; what was acknowledged before is safe',
  QUIRE_FSYNC_FAILED:
    'what the disk holds is unknown until it is read again: ' +
    'end this process, check the disk, start anew',
}

/** The system's code of an error (`ENOENT`), or an empty text. */
export function systemCode(error: unknown): string {
  if (typeof error !== 'object' || error === null || !('code' in error)) return ''
  return typeof error.code === 'string' ? error.code : ''
}

/**
 * The Quire error of a failed operation on `path`; `doing` completes the sentence "could not …".
 */
export function fileError(error: unknown, path: string, doing: string): QuireError {
  if (QuireError.is(error)) return error
  return sentence(codes.get(systemCode(error)) ?? 'QUIRE_IO', { error, path, doing })
}

/** Any failure of a sync, whatever the system called it. */
export function syncError(error: unknown, path: string): QuireError {
  return sentence('QUIRE_FSYNC_FAILED', { error, path, doing: 'sync' })
}

function sentence(code: ErrorCode, about: { error: unknown; path: string; doing: string }) {
  const { error, path, doing } = about
  const next = advice[code]
  const what = `could not ${doing} ${path}: ${messageOf(error)}`
  return new QuireError(code, next === undefined ? what : `${what}; ${next}`, {
    cause: error,
    facts: { path },
  })
}
