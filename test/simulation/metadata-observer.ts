// Listens at the store of a metadata tree: what is committed, and what is there.

import type { ReplicatedTreeStore, TreeBatch, TreeStores } from '../../src/io/index.ts'
import type { MetadataChecker } from './checkers/metadata.ts'

export function observedTrees(trees: TreeStores, checker: MetadataChecker): TreeStores {
  return { open: async (path) => observedTree(await trees.open(path), checker) }
}

function observedTree(store: ReplicatedTreeStore, checker: MetadataChecker): ReplicatedTreeStore {
  const watched = async (batch: TreeBatch, write: () => Promise<void>): Promise<void> => {
    for (const row of batch.put) checker.attempted(row)
    for (const path of batch.remove) checker.removing(path)
    await write()
    for (const row of batch.put) checker.saw(row)
    for (const path of batch.remove) checker.removed(path)
  }
  return {
    // A commit can be read before whoever made it is told.
    async get(paths) {
      const rows = await store.get(paths)
      for (const row of rows) if (row) checker.saw(row)
      return rows
    },
    commit: (batch) => watched(batch, () => store.commit(batch)),
    apply: (batch) => watched(batch, () => store.apply(batch)),
    children: (path) => store.children(path),
    ownedBy: (session) => store.ownedBy(session),
    expirable: () => store.expirable(),
    facts: (prefix) => store.facts(prefix),
    append: (change) => store.append(change),
    logFacts: () => store.logFacts(),
    logRange: () => store.logRange(),
    entries: (range) => store.entries(range),
    image: (chunkBytes) => store.image(chunkBytes),
    stage: (piece, isFirst) => store.stage(piece, isFirst),
    install: (change) => store.install(change),
    close: () => store.close(),
  }
}
