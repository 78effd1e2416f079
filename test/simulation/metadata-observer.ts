// Listens at the stores of a metadata tree: what is committed, and what is there. Of a tree that a
// group replicates, what counts is the first store that applies an entry of the log: the others come
// to the same later, or the checkers of the group say so.

import type { ReplicatedTreeStore, TreeBatch, TreeStores } from '../../src/io/index.ts'
import { appliedBy } from '../../src/metadata/raft/stored.ts'
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
  let isReplicated = false
  return {
    // A commit can be read before whoever made it is told; in a group only what is known to be made.
    async get(paths) {
      const rows = await store.get(paths)
      for (const row of rows) if (row && !isReplicated) checker.saw(row)
      return rows
    },
    commit: (batch) => watched(batch, () => store.commit(batch)),
    async apply(batch) {
      const index = appliedBy(batch)?.index
      isReplicated ||= index !== undefined
      if (index !== undefined && index <= checker.appliedIndex) return store.apply(batch)
      await watched(batch, async () => {
        await store.apply(batch)
        checker.appliedIndex = Math.max(checker.appliedIndex, index ?? 0)
      })
    },
    children: (path) => store.children(path),
    ownedBy: (session) => store.ownedBy(session),
    expirable: () => store.expirable(),
    facts: (prefix) => store.facts(prefix),
    append: (change) => store.append(change),
    logFacts: async () => {
      const facts = await store.logFacts()
      isReplicated ||= facts.has('identity')
      return facts
    },
    logRange: () => store.logRange(),
    entries: (range) => store.entries(range),
    image: (chunkBytes) => store.image(chunkBytes),
    stage: (piece, isFirst) => store.stage(piece, isFirst),
    install: (change) => store.install(change),
    close: () => store.close(),
  }
}
