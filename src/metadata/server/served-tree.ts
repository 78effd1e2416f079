// What the server asks of the tree that it serves: `Tree` is one.

import type { MultiResult, NodeStat } from '../contract.ts'
import type { SessionEnd, TreeRequest } from '../tree/command.ts'
import type { TreeRead, TreeReadResult } from '../tree/reads.ts'
import type { TreeSession } from '../tree/session-table.ts'
import type { TreeReadOptions, TreeWrite } from '../tree/tree.ts'
import type { StandingKind, TreeWatch } from '../tree/watches.ts'

export interface ServedTree {
  readonly lastZxid: number
  /** The sessions that are alive, also from before the start. */
  sessions(): Promise<TreeSession[]>
  openSession(session: { timeoutMs: number; password: Uint8Array }): Promise<bigint>
  /** Removes the session with its ephemerals. One that is gone already is no error. */
  endSession(sessionId: bigint, reason: SessionEnd): Promise<void>
  /** In the order of the calls. Rejects with the codes of the contract. */
  write(request: TreeRequest, write: TreeWrite): Promise<MultiResult[]>
  get(path: string, options: TreeReadOptions): Promise<{ data: Uint8Array; stat: NodeStat }>
  exists(path: string, options: TreeReadOptions): Promise<NodeStat | undefined>
  children(path: string, options: TreeReadOptions): Promise<{ names: string[]; stat: NodeStat }>
  /** Several reads of the same state. */
  multiRead(reads: readonly TreeRead[]): Promise<TreeReadResult[]>
  sync(): Promise<void>
  /** Lays a watch that is called for every change from now on. Throws QUIRE_BAD_PATH. */
  stand(kind: StandingKind, path: string, watch: TreeWatch): void
  /** Takes a watch back that was not called yet, or a standing one. */
  unwatch(watch: TreeWatch): void
}
