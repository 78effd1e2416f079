// What a node that is stopped has of its group's metadata: its tree with everything that is in its
// log, put together in memory. Nothing on the disk is changed.
//
// Also what is not known to be committed counts: the leader may have told it as done, with this
// node and itself for a majority, and the word of it may not have arrived here.
import { QuireError } from '../../../errors.ts'
import type { Io, Logger, ReplicatedTreeStore } from '../../../io/index.ts'
import { MemoryTreeStore } from '../../../metadata/memory/tree-store.ts'
import { loadStored, entryFrom, type Stored } from '../../../metadata/raft/stored.ts'
import { TreeMetadata } from '../../../metadata/tree-metadata.ts'
import { decodeCommand } from '../../../metadata/tree/command-codec.ts'
import { openTree, type Tree } from '../../../metadata/tree/tree.ts'
import { openManagers, type Managers } from '../../managers.ts'

const chunkBytes = 262_144
const readBytes = 4_194_304

export interface Left {
  readonly stored: Stored
  readonly managers: Managers
  close(): Promise<void>
}

/** The store of a directory's node. QUIRE_DIRECTORY_MISSING when there is none. */
export async function openStoreOf(io: Io, dir: string): Promise<ReplicatedTreeStore> {
  const directory = `${dir}/metadata`
  const names = (await io.files.facts(directory)) ? await io.files.list(directory) : []
  if (names.some((name) => name.startsWith('tree.sqlite'))) {
    return io.trees.open(`${directory}/tree.sqlite`)
  }
  throw new QuireError('QUIRE_DIRECTORY_MISSING', `${dir} holds no metadata of a cluster`, {
    facts: { path: dir },
  })
}

/** QUIRE_BAD_METADATA when something of it is damaged; QUIRE_BAD_OPTION when it is of no group. */
export async function readLeft(
  store: ReplicatedTreeStore,
  { io, logger }: { io: Io; logger: Logger },
): Promise<Left> {
  const stored = await loadStored(store)
  if (!stored) {
    throw new QuireError(
      'QUIRE_BAD_OPTION',
      'the node of this directory never belonged to a cluster with peers: nothing is to be rescued',
      { facts: { option: 'dir' } },
    )
  }
  const memory = new MemoryTreeStore()
  for await (const piece of store.image(chunkBytes)) await memory.commit(piece)
  const tree = await openTree({ ...io, store: memory, logger })
  await applyLog(store, tree, stored)
  const local = new TreeMetadata(tree)
  const session = await local.session()
  const managers = await openManagers(session, { io })
  return { stored, managers, close: () => local.close() }
}

async function applyLog(store: ReplicatedTreeStore, tree: Tree, { state }: Stored): Promise<void> {
  for (let next = state.applied + 1; next <= state.lastIndex;) {
    const range = { from: next, to: state.lastIndex, bytesMax: readBytes }
    for (const entry of (await store.entries(range)).map(entryFrom)) {
      if (entry.type === 'normal') await tree.propose(decodeCommand(entry.bytes))
      next = entry.index + 1
    }
  }
}
