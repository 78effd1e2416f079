// What a group must never do, looked at over the durable states of all its members: what each has on
// its disk, known from the outside by watching its store, and what each takes itself for.
//
// election safety       one leader a term
// durable vote          one vote a term from each member, whatever happened to it in between
// log matching          one entry for an index and a term, behind one and the same entry
// leader completeness   a new leader has every entry that was committed before
// state machine safety  all members apply the same entry at an index
// durable majority      what a leader counts as committed is on the disks of a majority
// commit term           a leader counts only entries of its own term
// change barrier        a change of the membership waits for the one before, and for its own term
// committed kept        no member drops a committed entry that its tree does not contain
// durable before sent   a vote or an acknowledgement that leaves is on the sender's disk
// durability            what a store called durable is there after a crash

import type { LogChange, LogEntry, TreeBatch } from '../../../src/io/index.ts'
import { entryChecksum } from '../../../src/io/log-entry.ts'
import type { Message } from '../../../src/metadata/raft/core/messages.ts'
import type { RaftStatus } from '../../../src/metadata/raft/core/status.ts'
import type { Configuration } from '../../../src/metadata/raft/core/types.ts'
import { appliedBy, decodeHardState } from '../../../src/metadata/raft/stored.ts'
import type { Report } from '../../../src/simulation/report.ts'

interface Seen {
  readonly term: number
  readonly checksum: number
}

/** What a member has durable. */
interface Durable {
  readonly entries: Map<number, Seen>
  /** Entries up to here are in the tree, and may be gone from the log. */
  cut: number
  term: number
  vote: string | undefined
  /** How far its tree is. */
  applied: number
}

/** What a member was last seen as. */
interface Told {
  isLeader: boolean
  term: number
  commit: number
}

export class RaftOracle {
  readonly #report: Report
  readonly #durable = new Map<string, Durable>()
  readonly #told = new Map<string, Told>()
  readonly #leaders = new Map<number, string>()
  readonly #votes = new Map<string, string>()
  /** By index and term: what the entry is, and the term of the one before it. */
  readonly #entries = new Map<string, { checksum: number; previous: number | undefined }>()
  readonly #committed = new Map<number, Seen>()
  readonly #changes: { index: number; term: number }[] = []
  #lastCommitted = 0
  /** Told of each leader that begins. */
  elected: ((member: string) => void) | undefined
  /** For "sometimes" assertions. */
  readonly counts: Record<string, number> = {
    elections: 0,
    committed: 0,
    truncated: 0,
    installed: 0,
    cut: 0,
    changes: 0,
  }

  constructor(report: Report) {
    this.#report = report
  }

  get lastCommitted(): number {
    return this.#lastCommitted
  }

  /** A member starts, with this on its disk. What it had called durable must be there. */
  opened(
    member: string,
    found: {
      entries: readonly LogEntry[]
      cut: number
      applied: number
      facts: ReadonlyMap<string, Uint8Array>
    },
  ): void {
    const before = this.#durable.get(member)
    const hard = hardOf(found.facts)
    const now: Durable = { entries: new Map(), ...hard, cut: found.cut, applied: found.applied }
    for (const entry of found.entries) now.entries.set(entry.index, seenOf(entry))
    this.#durable.set(member, now)
    this.#told.delete(member)
    if (before === undefined) return
    const isLost = [...before.entries].find(
      ([index, { term }]) => index > now.cut && (now.entries.get(index)?.term ?? 0) < term,
    )
    this.#report.holds(
      isLost === undefined,
      'durability',
      () => `${member} lost entry ${isLost?.[0]} of term ${isLost?.[1].term}, which was durable`,
    )
    this.#report.holds(
      now.term > before.term ||
        (now.term === before.term && (before.vote ?? now.vote) === now.vote),
      'durability',
      () => `${member} was in term ${before.term} with ${before.vote}, and is in ${now.term}`,
    )
  }

  /** A store without data becomes this member's: it never was before. */
  founded(member: string): void {
    this.#report.holds(
      !this.#durable.has(member),
      'durability',
      () => `${member} begins anew without what it had on its disk`,
    )
  }

  /** Its disk is empty now: what it knew is known to nobody. */
  wiped(member: string): void {
    this.#durable.delete(member)
    this.#told.delete(member)
  }

  /** The process ended. */
  ended(member: string): void {
    this.#told.delete(member)
  }

  /** A change of the log has become durable. */
  appended(member: string, change: LogChange): void {
    const durable = this.#of(member)
    if (change.truncateFrom !== undefined) this.#truncated(member, durable, change.truncateFrom)
    if (change.cutTo !== undefined) this.#cut(durable, change.cutTo)
    for (const entry of change.entries) this.#appendOne(member, durable, entry)
    const hard = change.facts.get('hard-state')
    if (hard !== undefined) this.#hardState(member, durable, hard)
  }

  installed(member: string, at: { index: number; term: number }): void {
    const durable = this.#of(member)
    this.#count('installed')
    const { index } = at
    const lost = [...durable.entries].find(
      ([each, { term }]) => each > index && this.#committed.get(each)?.term === term,
    )
    this.#report.holds(
      lost === undefined,
      'committed kept',
      () => `${member} installs a snapshot at ${index} over the committed entry ${lost?.[0]}`,
    )
    this.#report.holds(
      index >= durable.applied,
      'committed kept',
      () => `${member} installs a snapshot at ${index}, and its tree is at ${durable.applied}`,
    )
    durable.entries.clear()
    durable.cut = index
    durable.applied = Math.max(durable.applied, index)
  }

  /** A transaction of the tree was written: it says how far it was applied. */
  applied(member: string, batch: TreeBatch): void {
    const at = appliedBy(batch)
    if (at === undefined) return
    const durable = this.#of(member)
    this.#commits(member, { from: durable.applied + 1, to: at.index })
    durable.applied = Math.max(durable.applied, at.index)
  }

  /** A message leaves that says what is durable: it is. */
  sent({ from, to, ...message }: Message): void {
    const { term, vote, entries, cut } = this.#of(from)
    if (message.type === 'vote' && !message.preVote) {
      this.voted(from, message.term, from)
      this.#isDurable(
        term > message.term || (term === message.term && vote === from),
        () =>
          `${from} asks for votes in term ${message.term}, and has ${vote} in ${term} on its disk`,
      )
    } else if (message.type === 'vote-response' && message.granted && !message.preVote) {
      this.voted(from, message.term, to)
      this.#isDurable(
        term > message.term || (term === message.term && vote === to),
        () =>
          `${from} votes for ${to} in term ${message.term}, and has ${vote} in ${term} on its disk`,
      )
    } else if (message.type === 'append-response' && !message.rejected) {
      const isThere = message.index <= cut || entries.has(message.index)
      this.#isDurable(
        term > message.term || isThere,
        () => `${from} acknowledges entry ${message.index}, which is not on its disk`,
      )
    }
  }

  #isDurable(condition: boolean, reason: () => string): void {
    this.#report.holds(condition, 'durable before sent', reason)
  }

  /** How a member sees itself after some event. */
  look(
    member: string,
    position: Pick<RaftStatus, 'role' | 'term' | 'commit'>,
    statusOf: () => RaftStatus,
  ): void {
    const { role, term, commit } = position
    const isLeader = role === 'leader'
    const before = this.#told.get(member)
    const told = before ?? { isLeader: false, term: 0, commit: 0 }
    if (before?.isLeader === isLeader && told.term === term && told.commit === commit) return
    const status = statusOf()
    if (!before) this.#begins(member, status)
    this.#told.set(member, { isLeader, term, commit })
    if (isLeader && (!told.isLeader || told.term !== term)) this.#elected(member, status)
    // What a follower takes for committed counts when it is applied: until then an older entry may
    // still be on its disk, to be truncated.
    if (commit <= told.commit || !isLeader || !told.isLeader || told.term !== term) return
    this.#leaderCommits(member, status)
    this.#commits(member, { from: told.commit + 1, to: commit })
  }

  /** What it begins with is all that was durable. */
  #begins(member: string, { lastIndex }: RaftStatus): void {
    const { entries, cut } = this.#of(member)
    const last = Math.max(cut, ...entries.keys())
    this.#report.holds(
      lastIndex >= last,
      'durability',
      () => `${member} begins with a log up to ${lastIndex}, and had ${last} on its disk`,
    )
  }

  #elected(member: string, { term }: RaftStatus): void {
    this.#count('elections')
    this.elected?.(member)
    const other = this.#leaders.get(term) ?? member
    this.#leaders.set(term, member)
    this.#report.holds(
      other === member,
      'election safety',
      () => `${other} and ${member} both lead in term ${term}`,
    )
    const durable = this.#of(member)
    const missing = [...this.#committed].find(
      ([index, { term: of }]) => index > durable.cut && durable.entries.get(index)?.term !== of,
    )
    this.#report.holds(
      missing === undefined,
      'leader completeness',
      () => `${member} leads in term ${term} without the committed entry ${missing?.[0]}`,
    )
  }

  #leaderCommits(member: string, { commit, term, configuration }: RaftStatus): void {
    const entry = this.#of(member).entries.get(commit)
    this.#report.holds(
      entry === undefined || entry.term === term,
      'commit term',
      () => `${member} leads in term ${term} and counts entry ${commit} of term ${entry?.term}`,
    )
    // What a wiped member had is gone, and was there when it was counted.
    const holders = (voters: readonly string[]): number =>
      voters.filter((voter) => this.#holds(voter, commit, entry?.term ?? term)).length
    const isOnMajority = (voters: readonly string[]): boolean =>
      voters.length === 0 || holders(voters) > voters.length / 2
    this.#report.holds(
      isOnMajority(configuration.voters) && isOnMajority(configuration.outgoing),
      'durable majority',
      () => `${member} committed ${commit} in term ${term}: ${holdersText(configuration, holders)}`,
    )
  }

  #holds(voter: string, index: number, term: number): boolean {
    const durable = this.#durable.get(voter)
    // Unknown: wiped, or not a member that was ever watched.
    if (durable === undefined) return this.#gone.has(voter)
    return index <= durable.cut || durable.entries.get(index)?.term === term
  }

  /** Members whose disks were emptied. */
  readonly #gone = new Set<string>()

  gone(member: string): void {
    this.#gone.add(member)
  }

  #commits(member: string, { from, to }: { from: number; to: number }): void {
    const { entries } = this.#of(member)
    for (let index = from; index <= to; index++) {
      const entry = entries.get(index)
      if (entry === undefined) continue
      const known = this.#committed.get(index)
      if (known === undefined) {
        this.#committed.set(index, entry)
        this.#lastCommitted = Math.max(this.#lastCommitted, index)
        this.#count('committed')
        continue
      }
      this.#report.holds(
        known.term === entry.term && known.checksum === entry.checksum,
        'state machine safety',
        () =>
          `entry ${index} is of term ${known.term}, and ${member} takes that of term ` +
          `${entry.term} for committed`,
      )
    }
  }

  #count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1
  }

  #truncated(member: string, durable: Durable, from: number): void {
    for (const [index, { term }] of durable.entries) {
      if (index < from) continue
      durable.entries.delete(index)
      this.#count('truncated')
      this.#report.holds(
        this.#committed.get(index)?.term !== term,
        'committed kept',
        () => `${member} drops the committed entry ${index} of term ${term}`,
      )
    }
  }

  #cut(durable: Durable, to: number): void {
    this.#count('cut')
    for (const index of durable.entries.keys()) if (index <= to) durable.entries.delete(index)
    durable.cut = Math.max(durable.cut, to)
  }

  #appendOne(member: string, durable: Durable, entry: LogEntry): void {
    const { index, term } = entry
    const checksum = entryChecksum(entry)
    const before = durable.entries.get(index - 1)?.term
    const key = `${index} ${term}`
    const known = this.#entries.get(key)
    if (entry.kind === 1 && !this.#entries.has(key)) this.#change(entry)
    if (known) {
      this.#report.holds(
        known.checksum === checksum &&
          (known.previous === undefined || before === undefined || known.previous === before),
        'log matching',
        () => `entry ${index} of term ${term} is another on ${member}`,
      )
    }
    this.#entries.set(key, { checksum, previous: known?.previous ?? before })
    durable.entries.set(index, { term, checksum })
  }

  /** A change of the membership is in a log for the first time. */
  #change({ index, term }: LogEntry): void {
    this.#count('changes')
    const open = this.#changes.find(
      (each) =>
        each.index < index &&
        this.#committed.get(each.index)?.term !== each.term &&
        each.term === term,
    )
    this.#changes.push({ index, term })
    const isBegun = [...this.#committed.values()].some((each) => each.term === term)
    this.#report.holds(
      isBegun,
      'change barrier',
      () => `a change at ${index}, and nothing of its term ${term} is committed`,
    )
    this.#report.holds(
      open === undefined,
      'change barrier',
      () => `a change at ${index}, and the one at ${open?.index} is not committed`,
    )
  }

  #hardState(member: string, durable: Durable, bytes: Uint8Array): void {
    const { term, vote } = decodeHardState(bytes)
    durable.term = term
    durable.vote = vote
    if (vote !== undefined) this.voted(member, term, vote)
  }

  /** A vote was given, on a disk or in a message. */
  voted(member: string, term: number, vote: string): void {
    const key = `${member} ${term}`
    const before = this.#votes.get(key) ?? vote
    this.#votes.set(key, before)
    this.#report.holds(
      before === vote,
      'durable vote',
      () => `${member} voted for ${before} and for ${vote} in term ${term}`,
    )
  }

  #of(member: string): Durable {
    let durable = this.#durable.get(member)
    if (durable === undefined) {
      durable = { entries: new Map(), cut: 0, term: 0, vote: undefined, applied: 0 }
      this.#durable.set(member, durable)
    }
    return durable
  }
}

function seenOf(entry: LogEntry): Seen {
  return { term: entry.term, checksum: entryChecksum(entry) }
}

function hardOf(facts: ReadonlyMap<string, Uint8Array>): {
  term: number
  vote: string | undefined
} {
  const bytes = facts.get('hard-state')
  return bytes === undefined ? { term: 0, vote: undefined } : decodeHardState(bytes)
}

function holdersText(
  { voters, outgoing }: Configuration,
  holders: (voters: readonly string[]) => number,
): string {
  return `${holders(voters)} of ${voters.join()}, ${holders(outgoing)} of ${outgoing.join()}`
}
