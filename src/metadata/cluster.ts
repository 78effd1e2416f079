// What makes a tree a cluster: its root with LAYOUT and INSTANCEID (metadata 1.2, 4.7).

import { QuireError } from '../errors.ts'
import type { Random } from '../io/time.ts'
import {
  decodeInstanceId,
  decodeLayout,
  encodeInstanceId,
  encodeLayout,
} from '../wire/cluster-records.ts'
import type { LedgerLayout } from '../wire/cluster-records.ts'
import type { CallOptions, MetadataSession } from './contract.ts'
import { empty, ensure, readIfThere } from './nodes.ts'
import { parentOf } from './tree/path.ts'

export interface Cluster {
  readonly root: string
  readonly layout: LedgerLayout
  /** Absent in clusters that very old releases made. */
  readonly instanceId: string | undefined
}

export interface ClusterOptions extends CallOptions {
  /** Default `/ledgers`. */
  readonly root?: string | undefined
  /** For a cluster that is made. Default `hierarchical`. */
  readonly layout?: LedgerLayout | undefined
}

/**
 * Where Quire keeps what BookKeeper has no place for: beside the cluster's root and never below it,
 * where BookKeeper takes names for ledgers'.
 */
export function quireDirectory(root: string = '/ledgers'): string {
  return root === '/ledgers' ? '/quire' : `${root}-quire`
}

/**
 * Makes a cluster, all of it or nothing. QUIRE_NODE_EXISTS when the root is there. Linearizable.
 */
export async function createCluster(
  session: MetadataSession,
  options: ClusterOptions & { random: Random },
): Promise<Cluster> {
  const { root = '/ledgers', layout = 'hierarchical', random, signal } = options
  const instanceId = random.uuid()
  await ensure(session, parentOf(root), { signal })
  const operations = [
    { path: root, data: empty },
    { path: `${root}/available`, data: empty },
    { path: `${root}/available/readonly`, data: empty },
    { path: `${root}/INSTANCEID`, data: encodeInstanceId(instanceId) },
    { path: `${root}/LAYOUT`, data: encodeLayout(layout) },
  ]
  const creates = operations.map((each) => ({ type: 'create', ...each }) as const)
  await session.multi(creates, { signal })
  return { root, layout, instanceId }
}

/**
 * The cluster at the root, undefined when there is none. QUIRE_BAD_METADATA when it is of a kind
 * that we do not know.
 */
export async function readCluster(
  session: MetadataSession,
  options: ClusterOptions = {},
): Promise<Cluster | undefined> {
  const { root = '/ledgers', signal } = options
  const layout = await readIfThere(session, `${root}/LAYOUT`, { signal })
  if (!layout) return undefined
  const instance = await readIfThere(session, `${root}/INSTANCEID`, { signal })
  return {
    root,
    layout: decodeLayout(layout.data),
    instanceId: instance && decodeInstanceId(instance.data),
  }
}

/**
 * The cluster at the root, made if there was none, whoever makes it. A root of Java's
 * `initnewcluster` that has no LAYOUT yet is given one, as Java's clients would.
 */
export async function ensureCluster(
  session: MetadataSession,
  options: ClusterOptions & { random: Random },
): Promise<Cluster> {
  for (;;) {
    const found = await readCluster(session, options)
    if (found) return found
    try {
      return await createCluster(session, options)
    } catch (error) {
      if (!QuireError.is(error, 'QUIRE_NODE_EXISTS')) throw error
    }
    await ensureLayout(session, options)
  }
}

/**
 * The cluster at the root, for who joins it. QUIRE_NO_NODE when there is none, QUIRE_BAD_OPTION
 * when a layout is named and it has another one. A root without LAYOUT is given one, as
 * `ensureCluster` does.
 */
export async function joinCluster(
  session: MetadataSession,
  options: ClusterOptions = {},
): Promise<Cluster> {
  const { root = '/ledgers', layout, signal } = options
  let found = await readCluster(session, options)
  if (!found && (await session.exists(root, { signal, linearizable: true }))) {
    await ensureLayout(session, options)
    found = await readCluster(session, options)
  }
  if (!found) {
    throw new QuireError(
      'QUIRE_NO_NODE',
      `the metadata holds no cluster at ${root}: start a node on it first, with open() or ` +
        'quire start; on an empty ZooKeeper with --init',
      { facts: { path: root } },
    )
  }
  if (layout === undefined || found.layout === layout) return found
  throw new QuireError(
    'QUIRE_BAD_OPTION',
    `the cluster at ${root} has layout ${found.layout}, not ${layout}: name that one, or none`,
    { facts: { path: root, layout: found.layout } },
  )
}

async function ensureLayout(session: MetadataSession, options: ClusterOptions): Promise<void> {
  const { root = '/ledgers', layout = 'hierarchical', signal } = options
  try {
    await session.create(`${root}/LAYOUT`, encodeLayout(layout), { signal })
  } catch (error) {
    if (!QuireError.is(error, 'QUIRE_NODE_EXISTS')) throw error
  }
}
