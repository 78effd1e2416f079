// One member of a group that replicates the metadata, put together: its store, its core, its peers.

import { QuireError } from '../../errors.ts'
import type { Connection, Network } from '../../io/network.ts'
import type { Logger } from '../../io/log.ts'
import type { Clock, Random, Timers } from '../../io/time.ts'
import type { ReplicatedTreeStore } from '../../io/tree-store.ts'
import type { SoftState } from './core/effects.ts'
import type { ConfigurationAt, Configuration, NodeId, RaftOptions } from './core/types.ts'
import { RaftDriver } from './driver.ts'
import { TreeMachine } from './machine.ts'
import { Peers } from './peers.ts'
import type { Addresses } from './peers.ts'
import { ReplicatedTree } from './replicated-tree.ts'
import { StoreLane } from './store-lane.ts'
import { foundStore, identityChange, loadStored } from './stored.ts'
import type { Identity, Stored } from './stored.ts'

/** What an empty store becomes. A joiner has no voters: the group tells it who there is. */
export interface Founding {
  readonly clusterId: string
  readonly id: NodeId
  readonly configuration: Configuration
}

export interface MemberOptions {
  /** Belongs to the member from then on. */
  readonly store: ReplicatedTreeStore
  /** Asked for when the store is empty. */
  readonly founding: () => Promise<Founding>
  readonly addresses: Addresses
  /** Told who leads, and whether it is this node, whenever that changes. */
  readonly changed?: ((softState: SoftState) => void) | undefined
  readonly network: Network
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly logger: Logger
  /** After which a write of the store counts as hung. Default 30,000. */
  readonly writeTimeoutMs?: number | undefined
  readonly tickMs?: number | undefined
  readonly raft?: Partial<RaftOptions> | undefined
  readonly keepEntries?: number | undefined
  readonly keepBytes?: number | undefined
}

const writeTimeoutMsDefault = 30_000

/** Rejects with QUIRE_BAD_METADATA when the store lost something that this node may have told. */
export async function openMember(options: MemberOptions): Promise<Member> {
  const { store, timers, logger } = options
  const hold: { driver?: RaftDriver } = {}
  const lane = new StoreLane({
    timers,
    timeoutMs: options.writeTimeoutMs ?? writeTimeoutMsDefault,
    full: (isFull) => hold.driver?.input({ type: 'storage-state', writable: !isFull }),
  })
  const stored = await started(options)
  const threw = (error: unknown): void =>
    logger.error({ err: error }, 'what watches the metadata threw')
  const machine = await TreeMachine.open({ store, lane, threw })
  const peers = new Peers({
    ...options,
    identity: stored.identity,
    receive: (message) => hold.driver?.input({ type: 'message', message }),
  })
  const driver = new RaftDriver({
    ...options,
    lane,
    machine,
    stored,
    send: (message) => peers.send(message),
    members: (configuration) => peers.members(idsOf(configuration)),
  })
  hold.driver = driver
  const last = stored.state.configurations.at(-1)
  if (last) peers.members(idsOf(last))
  return new Member({ options, stored, driver, machine, peers })
}

/** The store as it was left, with this start counted; or an empty one as it begins. */
async function started({ store, founding }: MemberOptions): Promise<Stored> {
  const found = await loadStored(store)
  if (found) {
    const identity = { ...found.identity, incarnation: found.identity.incarnation + 1 }
    await store.append(identityChange(identity))
    return { ...found, identity }
  }
  const { clusterId, id, configuration } = await founding()
  await foundStore(store, { clusterId, id, incarnation: 1 }, configuration)
  const stored = await loadStored(store)
  if (stored) return stored
  throw new QuireError('QUIRE_BAD_METADATA', 'the store of the metadata kept nothing')
}

const idsOf = ({ configuration }: ConfigurationAt): Set<NodeId> => {
  const { voters, outgoing, learners, learnersNext } = configuration
  return new Set([...voters, ...outgoing, ...learners, ...learnersNext])
}

interface MemberParts {
  readonly options: MemberOptions
  readonly stored: Stored
  readonly driver: RaftDriver
  readonly machine: TreeMachine
  readonly peers: Peers
}

export class Member {
  readonly identity: Identity
  /** Who founded the group; empty in one that joined. */
  readonly founders: readonly NodeId[]
  /** The groups that this one was rescued from. */
  readonly formerly: readonly string[]
  readonly driver: RaftDriver
  readonly tree: ReplicatedTree
  /** Resolves when it can go on no more: to why. */
  readonly failed: Promise<Error>
  readonly #parts: MemberParts
  #closing: Promise<void> | undefined

  constructor(parts: MemberParts) {
    const { driver, machine, options, stored } = parts
    this.#parts = parts
    this.identity = stored.identity
    this.founders = stored.founders
    this.formerly = stored.rescue?.formerly ?? []
    this.driver = driver
    this.failed = driver.failed
    this.tree = new ReplicatedTree({ ...options, driver, machine })
  }

  /** Takes over a connection of a peer. */
  accept(connection: Connection, firstChunk: Buffer): void {
    this.#parts.peers.accept(connection, firstChunk)
  }

  /**
   * Hands leadership to a voter that has everything, so that nobody has to wait for an election.
   * Resolves when this node does not lead, or after `timeoutMs`.
   */
  async resign(timeoutMs: number): Promise<void> {
    const { timers } = this.#parts.options
    const stepMs = 10
    for (let leftMs = timeoutMs; leftMs > 0; leftMs -= stepMs) {
      const { role, members, configuration } = this.driver.status
      if (role !== 'leader') return
      const able = members.filter(({ id, inTouch }) => inTouch && configuration.voters.includes(id))
      const best = able.sort((one, other) => other.match - one.match)[0]
      if (!best) return
      if (leftMs === timeoutMs) this.driver.transfer(best.id)
      await new Promise<void>((resolve) => timers.after(stepMs, resolve))
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { driver, machine, peers, options } = this.#parts
    peers.close()
    await driver.close()
    machine.tree.watches.end()
    await options.store.close()
  }
}
