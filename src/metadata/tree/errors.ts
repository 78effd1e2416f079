// Failures of the tree as errors with sentences.

import { QuireError, messageOf } from '../../errors.ts'
import { dataBytesMax } from './command.ts'
import type { TreeFailure } from './command.ts'
import { pathProblem } from './path.ts'

const sentences: Record<TreeFailure, (path: string) => string> = {
  QUIRE_NO_NODE: (path) => `there is no node ${path}`,
  QUIRE_NODE_EXISTS: (path) => `node ${path} exists already`,
  QUIRE_BAD_VERSION: (path) =>
    `node ${path} has another version than the one named: read it again and decide anew`,
  QUIRE_NOT_EMPTY: (path) => `node ${path} has children: delete them first`,
  QUIRE_NO_CHILDREN_FOR_EPHEMERALS: (path) =>
    `${path} cannot be created: an ephemeral node has no children`,
  QUIRE_BAD_PATH: (path) =>
    `${JSON.stringify(path)} is no path for this: ${pathProblem(path) ?? 'the root stays'}`,
  QUIRE_BAD_OPTION: (path) => `${path}: a TTL node needs ttlMs between 1 and 2^40 - 1`,
  QUIRE_FRAME_TOO_LARGE: (path) => `${path}: a node holds at most ${dataBytesMax} bytes`,
  QUIRE_SESSION_EXPIRED: () =>
    'the metadata session has ended and its ephemerals are gone: open another one',
  QUIRE_METADATA_UNAVAILABLE: (path) =>
    `what became of this change at ${path} is unknown: its result is not remembered any more`,
}

export interface Failure {
  readonly code: TreeFailure
  readonly path: string
  readonly index: number
}

/** `indexed`: the caller gave several operations and wants to know which one failed. */
export function treeError({ code, path, index }: Failure, indexed: boolean = false): QuireError {
  const facts = indexed ? { path, index } : { path }
  return new QuireError(code, sentences[code](path), { facts })
}

export function unavailable(cause: unknown): QuireError {
  const reason = cause === undefined ? '' : ` (${messageOf(cause)})`
  return new QuireError(
    'QUIRE_METADATA_UNAVAILABLE',
    `the metadata store failed${reason}: whether pending changes were made is unknown ` +
      'until the node was started again',
    { cause },
  )
}

export function closedError(): QuireError {
  return new QuireError('QUIRE_CLOSED', 'the metadata tree was closed')
}
