// What a client and a node ask of the metadata, on one session.
import type { Io } from '../io/index.ts'
import { ensureCluster, joinCluster, readCluster } from '../metadata/cluster.ts'
import type { ClusterOptions } from '../metadata/cluster.ts'
import type { CallOptions, MetadataSession } from '../metadata/contract.ts'
import { createCookieManager, type CookieManager } from '../metadata/cookies.ts'
import { createLedgerManager } from '../metadata/ledgers.ts'
import { createLogRecordManager, type LogRecordManager } from '../metadata/logs.ts'
import type { LedgerManager, RegistrationManager } from '../metadata/managers.ts'
import { createRegistrationManager } from '../metadata/registration.ts'
import { QuireError } from '../errors.ts'

export interface Managers {
  /** Of the cluster in the tree. */
  readonly root: string
  readonly instanceId: string
  readonly ledgers: LedgerManager
  readonly registration: RegistrationManager
  readonly cookies: CookieManager
  readonly records: LogRecordManager
}

/** The managers of the cluster that is there, as its LAYOUT says. Fails as `joinCluster`. */
export async function openManagers(
  session: MetadataSession,
  { io, ...cluster }: ClusterOptions & { io: Pick<Io, 'random' | 'timers'> },
): Promise<Managers> {
  const { root, layout, instanceId = noInstanceId } = await joinCluster(session, cluster)
  return {
    root,
    instanceId,
    ledgers: createLedgerManager({ session, random: io.random, root, layout }),
    registration: createRegistrationManager({ session, timers: io.timers, root }),
    cookies: createCookieManager(session, { root }),
    records: createLogRecordManager(session, { root }),
  }
}

/** The cluster's instance id; the cluster is made if there was none. */
export async function initializeCluster(
  session: MetadataSession,
  options: ClusterOptions & { random: Io['random'] },
): Promise<string> {
  const { instanceId } = await ensureCluster(session, options)
  return instanceId ?? noInstanceId
}

/** The instance id of the cluster that is there now, undefined when there is none. Linearizable. */
export async function instanceIdOf(
  session: MetadataSession,
  options: ClusterOptions = {},
): Promise<string | undefined> {
  const cluster = await readCluster(session, options)
  return cluster && (cluster.instanceId ?? noInstanceId)
}

/** Clusters of very old releases have none; a name of theirs that no random id can have. */
const noInstanceId = 'no-instance-id'

/** What a cookie says of it. */
export function instanceIdInCookie(instanceId: string): string | undefined {
  return instanceId === noInstanceId ? undefined : instanceId
}

/** Whether a ledger exists, told by a linearizable read: false only on positive evidence. */
export async function ledgerExists(
  ledgers: LedgerManager,
  ledgerId: bigint,
  options: CallOptions = {},
): Promise<boolean> {
  try {
    await ledgers.read(ledgerId, options)
    return true
  } catch (error) {
    if (QuireError.is(error, 'QUIRE_LEDGER_MISSING')) return false
    throw error
  }
}
