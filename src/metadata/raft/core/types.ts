// What the Raft core and its driver speak of: nodes, entries, configurations, what was stored, and
// the numbers that bound everything. Messages are in messages.ts, inputs in inputs.ts, effects in
// effects.ts. Terms and indexes are safe integers; index 0 and term 0 mean "before the first".

/**
 * Names a node's data, not its address: made when its directory is founded and never used again, so
 * that a node that lost its data cannot come back under the id it voted with (F3.62, F3.63).
 */
export type NodeId = string

/** `empty`: the first entry of a leader's term. `config`: an encoded Configuration. */
export type EntryType = 'normal' | 'config' | 'empty'

/** One entry of the log. Immutable: every part of the program may hold on to it. */
export interface Entry {
  readonly index: number
  readonly term: number
  readonly type: EntryType
  /** Opaque, except of type `config`. */
  readonly bytes: Uint8Array
}

/** What must be durable before any message that depends on it leaves (F3.1, F3.2, F3.3). */
export interface HardState {
  readonly term: number
  readonly vote: NodeId | undefined
  /** A hint: what was known to be committed when it was written (F3.29). */
  readonly commit: number
}

/**
 * Who takes part. Effective as soon as its entry is in the log, committed or not; if that entry is
 * truncated, the configuration before it is in force again (F3.65).
 */
export interface Configuration {
  readonly voters: readonly NodeId[]
  /** Joint while not empty: a majority of these voters is needed as well. */
  readonly outgoing: readonly NodeId[]
  /** They get the log and do not count. */
  readonly learners: readonly NodeId[]
  /** Voters of `outgoing` that become learners when the joint configuration is left. */
  readonly learnersNext: readonly NodeId[]
  /** Ids that were removed and are never admitted again. */
  readonly retired: readonly NodeId[]
}

/** The configuration that the entry at `index` brought; index 0: the one the group began with. */
export interface ConfigurationAt {
  readonly index: number
  readonly configuration: Configuration
}

/** Entries from `firstIndex` on have this term, up to the next run. */
export interface TermRun {
  readonly firstIndex: number
  readonly term: number
}

/** What a snapshot is, without its bytes. */
export interface SnapshotMeta {
  /** Given by the driver that took it; distinguishes it from every other snapshot. */
  readonly id: string
  /** The last entry it contains. */
  readonly index: number
  readonly term: number
  /** The one in force at `index`. */
  readonly configuration: ConfigurationAt
  readonly sizeBytes: number
}

/** What a node finds in its store when it starts. */
export interface StoredState {
  readonly hardState: HardState
  /** The entry before the first in the log: what the log was cut or the snapshot taken at. */
  readonly cut: { readonly index: number; readonly term: number }
  /** Last entry in the log; `cut.index` if there is none. */
  readonly lastIndex: number
  /** Terms of all entries in the log, ascending; empty if there is none. */
  readonly terms: readonly TermRun[]
  /** Last entry that the state contains, `cut.index` at least. */
  readonly applied: number
  /**
   * Ascending: the configuration in force at `applied` (stored with the state), then that of each
   * config entry of the log behind `applied`.
   */
  readonly configurations: readonly ConfigurationAt[]
}

/** Numbers of one core. Everything that could grow has a bound here. */
export interface RaftOptions {
  readonly id: NodeId
  /**
   * Distinguishes this start of the node from every other, so that an answer to a question of the
   * run before is not taken for one of this run (F3.39). A safe integer, random is best.
   */
  readonly runId: number
  /** False for a node that knows that it lost data: it is silent for good (F3.44). */
  readonly whole: boolean
  /** Silence after which a follower campaigns, before jitter of up to the same again. */
  readonly electionTicks: number
  readonly heartbeatTicks: number
  /** A leader whose own writes stand still for so long resigns (F3.45). */
  readonly storageStallTicks: number
  /** A transfer of a snapshot that stands still for so long is given up (F3.58). */
  readonly snapshotStallTicks: number
  /** A read that is not confirmed by then fails (F3.36). */
  readonly readTicks: number
  /** Larger proposals are refused (F3.35). */
  readonly entryBytesMax: number
  /** Entries of one append; at least one entry is sent. */
  readonly appendBytesMax: number
  /** Appends under way to one follower, by count and by bytes (F3.26). */
  readonly inflightMessagesMax: number
  readonly inflightBytesMax: number
  /** Appended by this leader and not committed: more is refused (F3.30). */
  readonly uncommittedBytesMax: number
  /** Committed and durable entries that are kept in memory; others are kept anyway. */
  readonly windowBytesMax: number
  /** Handed out to be applied and not yet applied; at least one entry is handed out. */
  readonly applyBytesMax: number
  /** One piece of a snapshot. */
  readonly chunkBytesMax: number
  /** Reads that wait to be confirmed: more are refused. */
  readonly readsMax: number
}

/** Defaults for a local network: one tick is thought to be 50 ms. */
export const defaultRaftOptions: Omit<RaftOptions, 'id' | 'runId'> = {
  whole: true,
  electionTicks: 20,
  heartbeatTicks: 3,
  storageStallTicks: 40,
  snapshotStallTicks: 200,
  readTicks: 100,
  entryBytesMax: 1_200_000,
  appendBytesMax: 256 * 1_024,
  inflightMessagesMax: 64,
  inflightBytesMax: 4 * 1_024 * 1_024,
  uncommittedBytesMax: 16 * 1_024 * 1_024,
  windowBytesMax: 8 * 1_024 * 1_024,
  applyBytesMax: 4 * 1_024 * 1_024,
  chunkBytesMax: 256 * 1_024,
  readsMax: 10_000,
}

/** What a group begins with: the same on each founder (F3.72), and without voters on a joiner. */
export function emptyStore(configuration: Configuration): StoredState {
  return {
    hardState: { term: 0, vote: undefined, commit: 0 },
    cut: { index: 0, term: 0 },
    lastIndex: 0,
    terms: [],
    applied: 0,
    configurations: [{ index: 0, configuration }],
  }
}
