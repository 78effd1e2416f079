// The bytes of a command, as a replicated log keeps them: docs/format/tree.md. A log is read by
// later releases too: fields are added at the end, and what is not known is refused, never guessed.

import { QuireError } from '../../errors.ts'
import { ByteReader, ByteWriter } from '../../wire/bytes.ts'
import { decodeOperations, encodeOperations } from '../../wire/metadata-codec.ts'
import type { SessionEnd, TreeCommand, TreeRequest } from './command.ts'

const formatVersion = 1
const kinds = { 'open-session': 1, 'end-session': 2, write: 3, collect: 4 } as const
const reasons: readonly SessionEnd[] = ['closed', 'expired']
/** In place of a request's number where it has none. */
const noNumber = -1

const bad = (what: string): QuireError =>
  new QuireError('QUIRE_BAD_FRAME', `malformed command of the metadata: ${what}`)

export function encodeCommand(command: TreeCommand): Buffer {
  const to = new ByteWriter(128).u8(formatVersion).u8(kinds[command.type])
  to.safeInteger(command.timeMs)
  switch (command.type) {
    case 'open-session':
      to.i64(command.sessionId).u32(command.timeoutMs).bytes(command.password)
      break
    case 'end-session':
      to.i64(command.sessionId).u8(reasons.indexOf(command.reason))
      break
    case 'write': {
      const { sessionId, requestId = noNumber, answeredUpTo = noNumber } = command.request
      to.i64(sessionId).safeInteger(requestId).safeInteger(answeredUpTo)
      const operations = command.operations.map((each) =>
        each.type === 'create'
          ? { ...each, mode: each.mode ?? 'persistent', ttlMs: each.ttlMs ?? 0 }
          : each,
      )
      to.bytes(encodeOperations(operations))
      break
    }
    case 'collect':
      to.u32(command.paths.length)
      for (const path of command.paths) to.utf8(path)
      break
  }
  return to.finish()
}

export function decodeCommand(bytes: Uint8Array): TreeCommand {
  const from = new ByteReader(bytes)
  const version = from.u8()
  if (version !== formatVersion) {
    throw new QuireError(
      'QUIRE_UNSUPPORTED',
      `the metadata's log holds a command of format ${version}, which this release does not ` +
        'know: start the newer release',
      { facts: { version } },
    )
  }
  const kind = from.u8()
  const timeMs = from.safeInteger()
  switch (kind) {
    case kinds['open-session']: {
      const [sessionId, timeoutMs] = [from.i64(), from.u32()]
      return { type: 'open-session', sessionId, timeoutMs, password: copy(from.bytes()), timeMs }
    }
    case kinds['end-session']: {
      const [sessionId, reason] = [from.i64(), reasons[from.u8()]]
      if (!reason) throw bad('why a session ends')
      return { type: 'end-session', sessionId, reason, timeMs }
    }
    case kinds.write: {
      const request = takeRequest(from)
      return { type: 'write', request, operations: decodeOperations(from.bytes()), timeMs }
    }
    case kinds.collect: {
      const count = from.u32()
      if (count * 4 > from.remaining) throw bad('more paths than there is room for')
      return { type: 'collect', paths: Array.from({ length: count }, () => from.utf8()), timeMs }
    }
    default:
      throw bad(`${kind} is no kind of command`)
  }
}

function takeRequest(from: ByteReader): TreeRequest {
  const sessionId = from.i64()
  const [requestId, answeredUpTo] = [from.safeInteger(), from.safeInteger()]
  return {
    sessionId,
    ...(requestId !== noNumber && { requestId }),
    ...(answeredUpTo !== noNumber && { answeredUpTo }),
  }
}

const copy = (bytes: Uint8Array): Buffer => Buffer.from(bytes)
