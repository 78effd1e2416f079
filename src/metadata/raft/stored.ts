// What a node of a group keeps in its tree's file, and how it is found again: docs/format/tree.md.
//
// I1. A node that finds less than it had made durable does not begin: a damaged entry, a hole in
//     the log, a log that ends before its tree, or no identity where there is a log (F3.44). What
//     such a node would say is not true, and two of three would believe it.

import { QuireError } from '../../errors.ts'
import type { LogChange, LogEntry, ReplicatedTreeStore, TreeBatch } from '../../io/tree-store.ts'
import { ByteReader, ByteWriter } from '../../wire/bytes.ts'
import { zxidFact } from '../tree/facts.ts'
import { emptyConfiguration, membersOf } from './core/configuration.ts'
import { decodeConfiguration, encodeConfiguration } from './core/configuration-codec.ts'
import { emptyStore } from './core/types.ts'
import type {
  Configuration,
  ConfigurationAt,
  Entry,
  HardState,
  NodeId,
  StoredState,
  TermRun,
} from './core/types.ts'
import { entryKinds, entryTypeOf } from './message-codec.ts'

const formatVersion = 1
const readBytes = 4_194_304

/** Facts beside the log. */
const logFacts = {
  identity: 'identity',
  hard: 'hard-state',
  cut: 'cut',
  founders: 'founders',
  candidate: 'candidate',
  rescue: 'rescue',
}
/** Facts of the tree: they change with it, and travel with it. */
const treeFacts = { applied: 'raft/applied', configuration: 'raft/configuration' }

export interface Identity {
  readonly clusterId: string
  readonly id: NodeId
  /** Counts the starts. */
  readonly incarnation: number
}

/**
 * Who a node is going to be that belongs to no group yet. It is durable before anybody is told, so
 * that who was told of it meets it again, or never.
 */
export interface Candidate {
  readonly id: NodeId
  /** Names the list of peers it is for: with another one, another candidate. */
  readonly token: string
}

/** That a group was made from what one node of another had left. */
export interface Rescue {
  /** The groups that are no more, the last one first. */
  readonly formerly: readonly string[]
  /** False: what the old group left in the tree was not fenced yet. */
  readonly done: boolean
}

export interface Stored {
  readonly identity: Identity
  /** Who founded the group: empty for one that joined. */
  readonly founders: readonly NodeId[]
  readonly rescue: Rescue | undefined
  readonly state: StoredState
}

/** What was applied, as the tree says. */
export interface AppliedAt {
  readonly index: number
  readonly term: number
}

/** Whose a store is; undefined: it never belonged to a group. */
export async function identityIn(store: ReplicatedTreeStore): Promise<Identity | undefined> {
  return identityOf(await store.logFacts())
}

/** The same from the facts beside the log, or from a change of them. */
export function identityOf(
  facts: ReadonlyMap<string, Uint8Array | undefined>,
): Identity | undefined {
  const bytes = facts.get(logFacts.identity)
  return bytes && decodeIdentity(bytes)
}

/** Undefined: its group was not made by a rescue. */
export async function rescueIn(store: ReplicatedTreeStore): Promise<Rescue | undefined> {
  return decodeRescue((await store.logFacts()).get(logFacts.rescue))
}

/** Undefined in a store that never belonged to a group. Throws where I1 says so. */
export async function loadStored(store: ReplicatedTreeStore): Promise<Stored | undefined> {
  const facts = await store.logFacts()
  const identityFact = facts.get(logFacts.identity)
  const range = await store.logRange()
  if (identityFact === undefined) {
    facts.delete(logFacts.candidate)
    if (facts.size > 0 || range) throw lost('it does not say whose it is')
    return undefined
  }
  const identity = decodeIdentity(identityFact)
  const cut = decodeCut(facts.get(logFacts.cut))
  const lastIndex = range?.last ?? cut.index
  if (range && range.first !== cut.index + 1) throw lost(`entry ${cut.index + 1} is not there`)
  const tree = await appliedIn(store)
  if (tree === undefined) throw lost('who takes part is not there')
  const applied = Math.max(tree.at.index, cut.index)
  if (applied > lastIndex) throw lost(`it ends at ${lastIndex}, and ${applied} was applied`)
  const log = await readLog(store, { first: cut.index + 1, last: lastIndex }, applied)
  const hardState = decodeHardState(facts.get(logFacts.hard))
  const configurations = [tree.configuration, ...log.configurations]
  const state = { hardState, cut, lastIndex, terms: log.terms, applied, configurations }
  const founders = decodeFounders(facts.get(logFacts.founders))
  return { identity, founders, rescue: decodeRescue(facts.get(logFacts.rescue)), state }
}

/** How far a tree was applied, and the configuration in force there; undefined: of no group. */
export async function appliedIn(
  store: Pick<ReplicatedTreeStore, 'facts'>,
): Promise<{ at: AppliedAt; configuration: ConfigurationAt } | undefined> {
  const facts = await store.facts('raft/')
  const configuration = facts.get(treeFacts.configuration)
  if (configuration === undefined) return undefined
  return { at: decodeCut(facts.get(treeFacts.applied)), configuration: decodeAt(configuration) }
}

/** How far a transaction of the tree says that it was applied; for those who watch from outside. */
export function appliedBy(batch: TreeBatch): AppliedAt | undefined {
  const applied = batch.facts.get(treeFacts.applied)
  return applied && decodeCut(applied)
}

/** Reads all of it, so that damage is found now and not when somebody counts on it. */
async function readLog(
  store: ReplicatedTreeStore,
  range: { first: number; last: number },
  applied: number,
): Promise<{ terms: TermRun[]; configurations: ConfigurationAt[] }> {
  const terms: TermRun[] = []
  const configurations: ConfigurationAt[] = []
  for (let next = range.first; next <= range.last;) {
    const entries = await store.entries({ from: next, to: range.last, bytesMax: readBytes })
    if (entries.length === 0) throw lost(`entry ${next} is not there`)
    for (const entry of entries.map(entryFrom)) {
      if (entry.index !== next) throw lost(`entry ${next} is not there`)
      next += 1
      if (terms.at(-1)?.term !== entry.term)
        terms.push({ firstIndex: entry.index, term: entry.term })
      if (entry.type !== 'config' || entry.index <= applied) continue
      configurations.push({
        index: entry.index,
        configuration: decodeConfiguration(entry.bytes),
      })
    }
  }
  return { terms, configurations }
}

/** The candidate that an empty store keeps. */
export async function candidateIn(store: ReplicatedTreeStore): Promise<Candidate | undefined> {
  const bytes = (await store.logFacts()).get(logFacts.candidate)
  if (bytes === undefined) return undefined
  const from = versioned(bytes)
  return { id: from.utf8(), token: from.utf8() }
}

export function candidateChange({ id, token }: Candidate): LogChange {
  const bytes = new ByteWriter(64).u8(formatVersion).utf8(id).utf8(token).finish()
  return { entries: [], facts: new Map([[logFacts.candidate, bytes]]) }
}

/** Whether anything was ever changed in the tree, whoever it belongs to. */
export async function hasTree(store: ReplicatedTreeStore): Promise<boolean> {
  return (await store.facts(zxidFact)).size > 0
}

/**
 * Makes an empty store the store of a node; a joiner begins without voters. It says last whose it
 * is: without that it is empty still.
 */
export async function foundStore(
  store: ReplicatedTreeStore,
  identity: Identity,
  configuration: Configuration,
): Promise<void> {
  const { hardState } = emptyStore(configuration)
  const facts = appliedFacts({ index: 0, term: 0 }, { index: 0, configuration })
  await store.commit({ put: [], remove: [], facts })
  const all = new Map<string, Uint8Array | undefined>(identityChange(identity).facts)
  all.set(...hardStateFact(hardState))
  all.set(logFacts.founders, encodeConfiguration(configuration))
  all.set(logFacts.candidate, undefined)
  await store.append({ entries: [], facts: all })
}

/**
 * Makes the store of a node the store of a group of which it is the only voter, behind everything
 * that it holds: one change, so that a crash leaves the old or the new.
 */
export function rescueChange(
  { identity, state }: Stored,
  next: { clusterId: string; id: NodeId; formerly: readonly string[] },
): LogChange {
  const { clusterId, id, formerly } = next
  const term = Math.max(state.hardState.term, state.terms.at(-1)?.term ?? state.cut.term) + 1
  const last = state.configurations.at(-1)?.configuration ?? emptyConfiguration
  const retired = [...new Set([...last.retired, ...last.outgoing, ...membersOf(last)])].sort()
  const configuration = { ...emptyConfiguration, voters: [id], retired }
  const bytes = encodeConfiguration(configuration)
  const entry: Entry = { index: state.lastIndex + 1, term, type: 'config', bytes }
  const incarnation = identity.incarnation + 1
  const facts = new Map(identityChange({ clusterId, id, incarnation }).facts)
  facts.set(...hardStateFact({ term, vote: undefined, commit: state.hardState.commit }))
  facts.set(logFacts.founders, encodeConfiguration(configuration))
  facts.set(...rescueFact({ formerly, done: false }))
  return { entries: [storedEntry(entry)], facts }
}

export function rescueFact({ formerly, done }: Rescue): [string, Uint8Array] {
  const to = new ByteWriter(128)
    .u8(formatVersion)
    .u8(done ? 1 : 0)
    .u32(formerly.length)
  for (const clusterId of formerly) to.utf8(clusterId)
  return [logFacts.rescue, to.finish()]
}

export function identityChange(identity: Identity): LogChange {
  return { entries: [], facts: new Map([[logFacts.identity, encodeIdentity(identity)]]) }
}

export function hardStateFact(state: HardState): [string, Uint8Array] {
  return [logFacts.hard, encodeHardState(state)]
}

export function cutFact(cut: AppliedAt): [string, Uint8Array] {
  return [logFacts.cut, encodeCut(cut)]
}

/** What goes into the tree with what was applied up to this entry. */
export function appliedFacts(
  at: AppliedAt,
  configuration: ConfigurationAt | undefined,
): Map<string, Uint8Array> {
  const facts = new Map([[treeFacts.applied, encodeCut(at)]])
  if (configuration) facts.set(treeFacts.configuration, encodeAt(configuration))
  return facts
}

export function entryFrom({ index, term, kind, data }: LogEntry): Entry {
  return { index, term, type: entryTypeOf(kind), bytes: data }
}

export function storedEntry({ index, term, type, bytes }: Entry): LogEntry {
  return { index, term, kind: entryKinds[type], data: bytes }
}

function encodeIdentity({ clusterId, id, incarnation }: Identity): Buffer {
  return new ByteWriter(64)
    .u8(formatVersion)
    .utf8(clusterId)
    .utf8(id)
    .safeInteger(incarnation)
    .finish()
}

function decodeIdentity(bytes: Uint8Array): Identity {
  const from = versioned(bytes)
  return { clusterId: from.utf8(), id: from.utf8(), incarnation: from.safeInteger() }
}

function decodeFounders(bytes: Uint8Array | undefined): readonly NodeId[] {
  return bytes === undefined ? [] : decodeConfiguration(bytes).voters
}

function decodeRescue(bytes: Uint8Array | undefined): Rescue | undefined {
  if (bytes === undefined) return undefined
  const from = versioned(bytes)
  const done = from.u8() === 1
  const formerly = Array.from({ length: from.u32() }, () => from.utf8())
  return { formerly, done }
}

function encodeHardState({ term, vote, commit }: HardState): Buffer {
  const to = new ByteWriter(64).u8(formatVersion).safeInteger(term).safeInteger(commit)
  return to
    .u8(vote === undefined ? 0 : 1)
    .utf8(vote ?? '')
    .finish()
}

/** Also for those who look at a node's file from outside. */
export function decodeHardState(bytes: Uint8Array | undefined): HardState {
  if (bytes === undefined) throw lost('its term and its vote are not there')
  const from = versioned(bytes)
  const [term, commit] = [from.safeInteger(), from.safeInteger()]
  const [voted, vote] = [from.u8(), from.utf8()]
  return { term, vote: voted === 1 ? vote : undefined, commit }
}

function encodeCut({ index, term }: AppliedAt): Buffer {
  return new ByteWriter(32).u8(formatVersion).safeInteger(index).safeInteger(term).finish()
}

function decodeCut(bytes: Uint8Array | undefined): AppliedAt {
  if (bytes === undefined) return { index: 0, term: 0 }
  const from = versioned(bytes)
  return { index: from.safeInteger(), term: from.safeInteger() }
}

function encodeAt({ index, configuration }: ConfigurationAt): Buffer {
  const to = new ByteWriter(128).u8(formatVersion).safeInteger(index)
  return to.bytes(encodeConfiguration(configuration)).finish()
}

function decodeAt(bytes: Uint8Array): ConfigurationAt {
  const from = versioned(bytes)
  return { index: from.safeInteger(), configuration: decodeConfiguration(from.bytes()) }
}

function versioned(bytes: Uint8Array): ByteReader {
  const from = new ByteReader(bytes)
  const version = from.u8()
  if (version === formatVersion) return from
  throw new QuireError('QUIRE_UNSUPPORTED', `the metadata's log has facts of format ${version}`)
}

function lost(what: string): QuireError {
  return new QuireError(
    'QUIRE_BAD_METADATA',
    `the log of the metadata lost something: ${what}. This node cannot go on with what is left ` +
      'of it: remove it from the group, and add it again with an empty directory',
  )
}
