// The functions of the Raft core that a driver calls, the real ones or with a defect.

import { loadMutated } from './mutated-core.ts'
import type { Mutation } from './mutated-core.ts'

export type RaftCore = typeof import('../../src/metadata/raft/core/raft.ts') &
  typeof import('../../src/metadata/raft/core/ready.ts') &
  typeof import('../../src/metadata/raft/core/state.ts') &
  typeof import('../../src/metadata/raft/core/effects.ts') &
  typeof import('../../src/metadata/raft/core/status.ts') &
  typeof import('../../src/metadata/raft/core/types.ts') &
  typeof import('../../src/metadata/raft/core/log.ts')

const files = ['raft', 'ready', 'state', 'effects', 'status', 'types', 'log']

export async function loadRaftCore(directory: string, mutation?: Mutation): Promise<RaftCore> {
  const options = { directory, mutation }
  return (await loadMutated('metadata/raft/core', files, options)) as RaftCore
}
