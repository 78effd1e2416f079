// Makes a cluster of one from the node of a directory, when the others are lost for good.
//
// I1. The old metadata is copied beside before anything is changed.
// I2. One durable change makes the node's store that of another group, of which the node is the
//     only voter: a crash leaves the old or the new, and a new one that is not fenced yet
//     (fence.ts) does not start before a rescue was run to its end.
// I3. The bookie is not touched: it keeps its id, its disks and its ledgers.
import { surveyBookie } from '../../../bookie/index.ts'
import { QuireError } from '../../../errors.ts'
import type { DirectoryLock, Io, Logger, ReplicatedTreeStore } from '../../../io/index.ts'
import { openMember, type Member } from '../../../metadata/raft/member.ts'
import { bookieOf, rescuedId } from '../../../metadata/raft/founding/member-id.ts'
import {
  identityIn,
  loadStored,
  rescueChange,
  rescueFact,
  rescueIn,
  type Stored,
} from '../../../metadata/raft/stored.ts'
import { TreeMetadataSession } from '../../../metadata/session.ts'
import { fence } from './fence.ts'
import { openStoreOf, readLeft } from './left.ts'
import { reportOf, type RescueReport } from './report.ts'

export interface RescueParts {
  readonly io: Io
  readonly logger: Logger
  /** The node's own directory: nobody runs it. */
  readonly dir: string
  /** Where its journal is. Default: in `dir`. */
  readonly journal?: string | undefined
}

export interface Rescued extends RescueReport {
  /** Of the cluster that it is now. */
  readonly newClusterId: string
  readonly newId: string
  /** Where the old metadata is kept. */
  readonly aside: string
}

const chunkBytes = 262_144
const readBytes = 4_194_304
const sessionMs = 60_000
const pollMs = 20

/**
 * Says what may be lost, and changes nothing. QUIRE_DIRECTORY_IN_USE while the node runs,
 * QUIRE_DIRECTORY_MISSING, QUIRE_BAD_METADATA when what is left is damaged, QUIRE_BAD_OPTION when
 * it is of no cluster with peers.
 */
export function planRescue(parts: RescueParts): Promise<RescueReport> {
  return withStore(parts, (store) => report(parts, store))
}

/** Fails as `planRescue`. What ended in the middle is run again. */
export async function rescue(parts: RescueParts): Promise<Rescued> {
  return locked(parts, async () => {
    const begun = await withOpened(parts, async (store) => {
      const said = await report(parts, store)
      return { said, ...(await begin(parts, store)) }
    })
    await finish(parts)
    const { said, identity, aside } = begun
    return { ...said, newClusterId: identity.clusterId, newId: identity.id, aside }
  })
}

function withStore<T>(
  parts: RescueParts,
  work: (store: ReplicatedTreeStore) => Promise<T>,
): Promise<T> {
  return locked(parts, () => withOpened(parts, work))
}

async function locked<T>({ io, dir }: RescueParts, work: () => Promise<T>): Promise<T> {
  if (!(await io.files.facts(dir))) {
    throw new QuireError('QUIRE_DIRECTORY_MISSING', `${dir} is not there`, {
      facts: { path: dir },
    })
  }
  const lock: DirectoryLock = await io.files.lock(dir)
  try {
    return await work()
  } finally {
    await lock.release()
  }
}

async function withOpened<T>(
  { io, dir }: RescueParts,
  work: (store: ReplicatedTreeStore) => Promise<T>,
): Promise<T> {
  const store = await openStoreOf(io, dir)
  try {
    return await work(store)
  } finally {
    await store.close()
  }
}

async function report(parts: RescueParts, store: ReplicatedTreeStore): Promise<RescueReport> {
  const { io, dir, journal = `${dir}/journal` } = parts
  const left = await readLeft(store, parts)
  try {
    const survey = await surveyBookie(io.files, journal)
    return await reportOf({ ...left, survey })
  } finally {
    await left.close()
  }
}

/** I1, I2. */
async function begin(
  parts: RescueParts,
  store: ReplicatedTreeStore,
): Promise<{ identity: Stored['identity']; aside: string }> {
  const stored = await loadStored(store)
  if (!stored) throw nothing(parts.dir)
  const asideOf = (clusterId: string): string => `${parts.dir}/metadata/before-${clusterId}.sqlite`
  if (stored.rescue?.done === false) {
    return { identity: stored.identity, aside: asideOf(stored.identity.clusterId) }
  }
  const clusterId = parts.io.random.bytes(16).toString('hex')
  const id = rescuedId(stored.identity.id)
  const formerly = [stored.identity.clusterId, ...(stored.rescue?.formerly ?? [])]
  await copy(parts, store, asideOf(clusterId))
  await store.append(rescueChange(stored, { clusterId, id, formerly }))
  const identity = await identityIn(store)
  if (!identity) throw nothing(parts.dir)
  parts.logger.info({ ...identity, formerly }, 'the node is a cluster of its own')
  return { identity, aside: asideOf(clusterId) }
}

async function copy({ io }: RescueParts, from: ReplicatedTreeStore, path: string): Promise<void> {
  const to = await io.trees.open(path)
  try {
    for await (const piece of from.image(chunkBytes)) await to.commit(piece)
    const range = await from.logRange()
    for (let next = range?.first ?? 1; next <= (range?.last ?? 0);) {
      const to_ = range?.last ?? 0
      const entries = await from.entries({ from: next, to: to_, bytesMax: readBytes })
      await to.append({ entries, facts: new Map() })
      next += entries.length
    }
    await to.append({ entries: [], facts: await from.logFacts() })
  } finally {
    await to.close()
  }
}

/** Fences the old cluster in the tree, as the only member of the new one. */
async function finish(parts: RescueParts): Promise<void> {
  const { io, logger, dir } = parts
  const member = await openMember({
    ...io,
    store: await openStoreOf(io, dir),
    founding: async () => Promise.reject(nothing(dir)),
    addresses: { own: undefined, of: () => undefined, heard() {}, missed() {} },
    logger,
  })
  try {
    await leads(io, member)
    const { tree, identity } = member
    const password = Buffer.alloc(16)
    const sessionId = await tree.openSession({ timeoutMs: sessionMs, password })
    const session = new TreeMetadataSession(sessionTree(member), sessionId)
    const bookieId = bookieOf(identity.id)
    await fence({ io, tree, session, bookieId, clusterId: identity.clusterId })
    await session.close()
  } finally {
    await member.close()
  }
  await withOpened(parts, async (store) => {
    const found = await rescueIn(store)
    const { formerly = [] } = found ?? {}
    await store.append({ entries: [], facts: new Map([rescueFact({ formerly, done: true })]) })
  })
}

/** Resolves once everything that is left is applied. */
async function leads({ timers }: Io, member: Member): Promise<void> {
  const failed: { error?: Error } = {}
  void member.failed.then((error) => (failed.error = error))
  while (!(member.driver.status.ready && (await member.driver.confirmRead()))) {
    if (failed.error) throw failed.error
    await new Promise<void>((resolve) => timers.after(pollMs, resolve))
  }
}

function sessionTree({
  tree,
  failed,
}: Member): ConstructorParameters<typeof TreeMetadataSession>[0] {
  return {
    failed,
    sessionEnded: (id) => tree.sessionEnded(id),
    endSession: (id, reason) => tree.endSession(id, reason),
    write: (asked, write) => tree.write(asked, write),
    get: (path, options) => tree.get(path, options ?? {}),
    exists: (path, options) => tree.exists(path, options ?? {}),
    children: (path, options) => tree.children(path, options ?? {}),
    multiRead: (reads) => tree.multiRead(reads),
    stand: (kind, path, watch) => tree.stand(kind, path, watch),
    unwatch: (watch) => tree.unwatch(watch),
  }
}

function nothing(dir: string): QuireError {
  return new QuireError('QUIRE_BAD_METADATA', `${dir} holds nothing that could be rescued`, {
    facts: { path: dir },
  })
}
