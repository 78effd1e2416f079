// What changes a tree. A command carries everything that applying it needs: time, session and
// numbers were put in by whoever proposed it, so that every replica that applies the same commands
// holds the same tree.

import type { ErrorCode } from '../../errors.ts'
import type { MultiOperation, MultiResult } from '../contract.ts'

export type SessionEnd = 'closed' | 'expired'

/**
 * Which session asks. With a `requestId` the result is remembered until the session says that it
 * has the answers up to `answeredUpTo`: the same number again gives the same result and does
 * nothing. Numbers of a session grow.
 */
export interface TreeRequest {
  readonly sessionId: bigint
  readonly requestId?: number | undefined
  readonly answeredUpTo?: number | undefined
}

export type TreeCommand =
  | {
      readonly type: 'open-session'
      readonly sessionId: bigint
      readonly timeoutMs: number
      readonly password: Uint8Array
      readonly timeMs: number
    }
  | {
      readonly type: 'end-session'
      readonly sessionId: bigint
      readonly reason: SessionEnd
      readonly timeMs: number
    }
  | {
      readonly type: 'write'
      readonly request: TreeRequest
      readonly operations: readonly MultiOperation[]
      readonly timeMs: number
    }
  /** Removes those of the container and TTL nodes named that are due. */
  | { readonly type: 'collect'; readonly paths: readonly string[]; readonly timeMs: number }

export type TreeFailure =
  | 'QUIRE_NO_NODE'
  | 'QUIRE_NODE_EXISTS'
  | 'QUIRE_BAD_VERSION'
  | 'QUIRE_NOT_EMPTY'
  | 'QUIRE_NO_CHILDREN_FOR_EPHEMERALS'
  | 'QUIRE_BAD_PATH'
  | 'QUIRE_BAD_OPTION'
  | 'QUIRE_FRAME_TOO_LARGE'
  | 'QUIRE_SESSION_EXPIRED'
  | 'QUIRE_METADATA_UNAVAILABLE'

export type TreeResult =
  | { readonly ok: true; readonly results: readonly MultiResult[] }
  | {
      readonly ok: false
      readonly code: TreeFailure & ErrorCode
      readonly path: string
      /** Which operation failed. */
      readonly index: number
    }

/** As ZooKeeper has it (`jute.maxbuffer`). */
export const dataBytesMax = 1_048_575

/** Answers that a session may have outstanding before its next request is refused. */
export const rememberedMax = 4_096

/** Paths whose rows applying the command will ask for, as far as the command alone tells. */
export function prefetch(
  command: TreeCommand,
  ownedBy: (id: bigint) => Iterable<string>,
): string[] {
  switch (command.type) {
    case 'open-session':
      return []
    case 'end-session':
      return [...ownedBy(command.sessionId)].flatMap((path) => [path, above(path)])
    case 'collect':
      return command.paths.flatMap((path) => [path, above(path)])
    case 'write':
      break
  }
  return command.operations.flatMap((each) =>
    each.type === 'create' || each.type === 'delete' ? [each.path, above(each.path)] : [each.path],
  )
}

function above(path: string): string {
  const at = path.lastIndexOf('/')
  return at <= 0 ? '/' : path.slice(0, at)
}

/** What a command costs in memory while it waits. */
export function commandBytes(command: TreeCommand): number {
  if (command.type !== 'write') return 256
  let bytes = 256
  for (const each of command.operations) {
    bytes += 128 + each.path.length * 2 + ('data' in each ? each.data.length : 0)
  }
  return bytes
}
