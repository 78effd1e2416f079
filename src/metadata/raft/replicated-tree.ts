// The tree of a group, as one of its nodes serves it. Changes are taken by the leader alone; reads
// show what this node has applied, linearizable ones what was acknowledged anywhere before.

import { QuireError } from '../../errors.ts'
import type { Clock, Random } from '../../io/time.ts'
import type { ReplicatedTreeStore } from '../../io/tree-store.ts'
import type { MultiResult, NodeStat } from '../contract.ts'
import type { ServedTree } from '../server/served-tree.ts'
import { encodeCommand } from '../tree/command-codec.ts'
import type { SessionEnd, TreeCommand, TreeRequest, TreeResult } from '../tree/command.ts'
import { treeError } from '../tree/errors.ts'
import type { TreeRead, TreeReadResult } from '../tree/reads.ts'
import type { TreeSession } from '../tree/session-table.ts'
import type { TreeReadOptions, TreeWrite } from '../tree/tree.ts'
import type { StandingKind, TreeWatch } from '../tree/watches.ts'
import type { RaftDriver } from './driver.ts'
import type { TreeMachine } from './machine.ts'

export interface ReplicatedTreeParts {
  readonly driver: RaftDriver
  readonly machine: TreeMachine
  readonly store: Pick<ReplicatedTreeStore, 'expirable'>
  readonly clock: Clock
  readonly random: Random
}

export class ReplicatedTree implements ServedTree {
  readonly #parts: ReplicatedTreeParts

  constructor(parts: ReplicatedTreeParts) {
    this.#parts = parts
  }

  get lastZxid(): number {
    return this.#parts.machine.tree.zxid
  }

  async sessions(): Promise<TreeSession[]> {
    return this.#parts.machine.tree.sessions.list()
  }

  /** Undefined when the session has ended or never was. */
  sessionEnded(sessionId: bigint): Promise<SessionEnd> | undefined {
    return this.#parts.machine.tree.sessions.get(sessionId)?.ended
  }

  async openSession(session: { timeoutMs: number; password: Uint8Array }): Promise<bigint> {
    const sessionId = this.#parts.random.bytes(8).readBigUInt64BE() >> 1n
    if (sessionId === 0n) return this.openSession(session)
    await this.#propose({ type: 'open-session', sessionId, ...session, timeMs: this.#now() })
    return sessionId
  }

  async endSession(sessionId: bigint, reason: SessionEnd): Promise<void> {
    await this.#propose({ type: 'end-session', sessionId, reason, timeMs: this.#now() })
  }

  async write(request: TreeRequest, write: TreeWrite): Promise<MultiResult[]> {
    const operations = write.type === 'multi' ? write.operations : [write]
    const command = { type: 'write', request, operations, timeMs: this.#now() } as const
    const result = await this.#propose(command, write.type === 'multi')
    return result.ok ? [...result.results] : []
  }

  async get(path: string, options: TreeReadOptions): Promise<{ data: Uint8Array; stat: NodeStat }> {
    const result = await this.#readOne({ type: 'get', path, watch: options.watch }, options)
    if (result?.type !== 'get') throw readError(result, path)
    return { data: result.data, stat: result.stat }
  }

  async exists(path: string, options: TreeReadOptions): Promise<NodeStat | undefined> {
    const result = await this.#readOne({ type: 'exists', path, watch: options.watch }, options)
    if (result?.type !== 'exists') throw readError(result, path)
    return result.stat
  }

  async children(
    path: string,
    options: TreeReadOptions,
  ): Promise<{ names: string[]; stat: NodeStat }> {
    const result = await this.#readOne({ type: 'children', path, watch: options.watch }, options)
    if (result?.type !== 'children') throw readError(result, path)
    return { names: result.names, stat: result.stat }
  }

  multiRead(reads: readonly TreeRead[]): Promise<TreeReadResult[]> {
    return this.#parts.machine.tree.reads.run(reads)
  }

  async sync(): Promise<void> {
    if (await this.#parts.driver.confirmRead()) return
    throw new QuireError(
      'QUIRE_METADATA_UNAVAILABLE',
      'no leader of the metadata confirmed that this node is up to date: try again',
    )
  }

  /** Proposes the removal of containers and TTL nodes that may go. */
  async collect(): Promise<void> {
    const paths = await this.#parts.store.expirable()
    if (paths.length > 0) await this.#propose({ type: 'collect', paths, timeMs: this.#now() })
  }

  stand(kind: StandingKind, path: string, watch: TreeWatch): void {
    this.#parts.machine.tree.stand(kind, path, watch)
  }

  unwatch(watch: TreeWatch): void {
    this.#parts.machine.tree.watches.remove(watch)
  }

  #now(): number {
    return Math.floor(this.#parts.clock.wallMs())
  }

  async #readOne(read: TreeRead, options: TreeReadOptions): Promise<TreeReadResult | undefined> {
    if (options.linearizable) await this.sync()
    return (await this.multiRead([read]))[0]
  }

  /**
   * Rejects with QUIRE_BACKPRESSURE when nothing was done, with QUIRE_METADATA_UNAVAILABLE when
   * that is not known.
   */
  async #propose(command: TreeCommand, isMulti: boolean = false): Promise<TreeResult> {
    const outcome = await this.#parts.driver.propose(encodeCommand(command))
    if (outcome.type === 'refused') throw refusal(outcome)
    if (outcome.type === 'unknown' || outcome.result === undefined) throw unknown()
    if (!outcome.result.ok) throw treeError(outcome.result, isMulti)
    return outcome.result
  }
}

function unknown(): QuireError {
  return new QuireError(
    'QUIRE_METADATA_UNAVAILABLE',
    'this node leads the metadata no more: the change may have been made or not; read to see',
  )
}

function refusal({ reason, leader }: { reason: string; leader: string | undefined }): QuireError {
  const where = leader === undefined ? 'there is no leader now' : `${leader} leads`
  const text = `the metadata's group took nothing of it (${reason}; ${where}): try again`
  return new QuireError('QUIRE_BACKPRESSURE', text, { facts: { reason, leader } })
}

function readError(result: TreeReadResult | undefined, path: string): QuireError {
  const code = result?.type === 'none' ? result.code : 'QUIRE_NO_NODE'
  return treeError({ code, path, index: 0 })
}
