// Where a node's metadata is: in a tree of its own, which it serves to others, or on another node.
import type { LiveLedgers } from '../../bookie/index.ts'
import { QuireError } from '../../errors.ts'
import type { Io, Logger } from '../../io/index.ts'
import type { ClusterOptions } from '../../metadata/cluster.ts'
import type { MetadataSession, MetadataStore } from '../../metadata/contract.ts'
import { createMetadataServer, type MetadataServer } from '../../metadata/server/index.ts'
import { TreeMetadata } from '../../metadata/tree-metadata.ts'
import { openTree, type Tree } from '../../metadata/tree/tree.ts'
import { identityIn } from '../../metadata/raft/stored.ts'
import { parseAddress } from '../address.ts'
import {
  connectPlace,
  parseMetadataUri,
  quirePlace,
  type MetadataPlace,
} from '../metadata-place.ts'
import {
  initializeCluster,
  instanceIdOf,
  ledgerExists,
  openManagers,
  type Managers,
} from '../managers.ts'
import type { NodeSettings } from '../options.ts'
import type { NodeGroup } from './group.ts'
import { RenewedSession } from '../renewed-session.ts'

export interface NodeMetadata {
  /** Present when the tree is this node's own: to be served on its port. */
  readonly server: MetadataServer | undefined
  readonly managers: Managers
  /** What the managers stand on. */
  readonly session: MetadataSession
  readonly instanceId: string
  readonly liveLedgers: LiveLedgers
  /** A session for what must vanish with this node. */
  openSession(): Promise<MetadataSession>
  close(): Promise<void>
}

export interface NodeMetadataParts {
  readonly io: Io
  readonly logger: Logger
  readonly settings: NodeSettings
  readonly failed: (error: Error) => void
  /** Where this node is one of those that replicate the metadata. */
  readonly group?: NodeGroup | undefined
  /** Ends every call to metadata elsewhere, those under way too. */
  readonly signal?: AbortSignal | undefined
}

export async function openNodeMetadata(parts: NodeMetadataParts): Promise<NodeMetadata> {
  const { metadata, peers } = parts.settings
  if (peers !== undefined) return openRemote(parts, quirePlace(peers.map(parseAddress)))
  return metadata === undefined ? openOwn(parts) : openRemote(parts, parseMetadataUri(metadata))
}

/** The password of sessions that live in this process: none of them outlives it. */
const inProcess = Buffer.alloc(16)

async function openOwn(parts: NodeMetadataParts): Promise<NodeMetadata> {
  const { io, settings, failed } = parts
  const logger = parts.logger.child({ part: 'metadata' })
  await io.files.makeDirectory(`${settings.dir}/metadata`)
  const store = await io.trees.open(`${settings.dir}/metadata/tree.sqlite`)
  if (await identityIn(store)) {
    await store.close()
    throw new QuireError(
      'QUIRE_IDENTITY_MISMATCH',
      `${settings.dir} is of a node that keeps its metadata with others: start it with its peers`,
    )
  }
  const tree = await openTree({ ...io, store, logger })
  void tree.failed.then(failed)
  try {
    await endEarlierSessions(tree)
    const local = new TreeMetadata(tree)
    const session = await local.session()
    const instanceId = await initializeCluster(session, { random: io.random })
    const server = await createMetadataServer({ ...io, tree, logger, instanceId })
    return await assemble({ parts, store: local, session, server, cluster: {} })
  } catch (error) {
    await tree.close()
    throw error
  }
}

/**
 * Sessions of this process's earlier lives: their registration must not stand in the way of the new
 * one.
 */
async function endEarlierSessions(tree: Tree): Promise<void> {
  for (const { sessionId, password } of await tree.sessions()) {
    if (inProcess.equals(password)) await tree.endSession(sessionId, 'expired')
  }
}

async function openRemote(parts: NodeMetadataParts, place: MetadataPlace): Promise<NodeMetadata> {
  const { io, logger, settings, signal, group } = parts
  const timeoutMs = settings.sessionTimeoutMs
  // An address of the list may belong to another cluster by now: one that was rescued.
  const instanceId = group?.clusterId
  const store = connectPlace(place, { io, logger, timeoutMs, instanceId })
  signal?.addEventListener('abort', () => void store.close(), { once: true })
  try {
    const session = await openSession(parts, store)
    const { cluster } = place
    const mayMake = place.type === 'quire' || settings.init
    if (mayMake) await initializeCluster(session, { ...cluster, random: io.random })
    return await assemble({ parts, store, session, server: undefined, cluster })
  } catch (error) {
    await store.close()
    throw error
  }
}

/** A node of a group waits as long as it takes for a leader: it may be the first that starts. */
async function openSession(
  { settings, logger, signal, group }: NodeMetadataParts,
  store: MetadataStore,
): Promise<RenewedSession> {
  for (;;) {
    try {
      return await RenewedSession.open(store, { timeoutMs: settings.sessionTimeoutMs, signal })
    } catch (error) {
      if (!group || !QuireError.is(error, 'QUIRE_METADATA_UNAVAILABLE')) throw error
      logger.warn({ error: error.message }, `waiting for the cluster: ${group.waitsFor}`)
    }
  }
}

async function assemble(from: {
  parts: NodeMetadataParts
  store: MetadataStore
  session: MetadataSession
  server: MetadataServer | undefined
  cluster: Pick<ClusterOptions, 'root' | 'layout'>
}): Promise<NodeMetadata> {
  const { store, session, server, cluster } = from
  const { io, settings } = from.parts
  const managers = await openManagers(session, { io, ...cluster })
  const { root, instanceId } = managers
  return {
    server,
    managers,
    session,
    instanceId,
    liveLedgers: {
      isOurs: async (signal) => (await instanceIdOf(session, { root, signal })) === instanceId,
      list: (signal) => managers.ledgers.list({ signal }),
      exists: (ledgerId, signal) => ledgerExists(managers.ledgers, ledgerId, { signal }),
    },
    openSession: () => store.session({ timeoutMs: settings.sessionTimeoutMs }),
    async close() {
      await server?.close()
      await session.close()
      await store.close()
    },
  }
}
