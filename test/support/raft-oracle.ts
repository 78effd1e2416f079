// Sees everything that happens in a group of Raft cores, and says when it must not have happened:
// election safety, log matching, leader completeness, state-machine safety, durable votes and
// acknowledgements, linearizable reads.

import { Violation } from './mutated-core.ts'
import { termAt } from '../../src/metadata/raft/core/log.ts'
import type { Effects } from '../../src/metadata/raft/core/effects.ts'
import type { Message } from '../../src/metadata/raft/core/messages.ts'
import type { RaftState } from '../../src/metadata/raft/core/state.ts'
import type { Entry, NodeId } from '../../src/metadata/raft/core/types.ts'
import type { Disk } from './raft-disk.ts'

const textOf = ({ index, term, type, bytes }: Entry): string =>
  `${index}/${term} ${type} ${Buffer.from(bytes).toString('latin1')}`

export class RaftOracle {
  /** Leader of each term. */
  #leaders = new Map<number, NodeId>()
  /** By node and term, who got its vote. */
  #votes = new Map<string, NodeId>()
  /** By index and term: the entry and the term of the one before it. */
  #entries = new Map<string, string>()
  /** What was committed, by index, and in which leader's term. */
  #committed: Entry[] = []
  #committedIn: number[] = []
  /** By reading context: what was committed when the read came. */
  #readsFrom = new Map<number, number>()

  clone(): RaftOracle {
    const copy = new RaftOracle()
    copy.#leaders = new Map(this.#leaders)
    copy.#votes = new Map(this.#votes)
    copy.#entries = new Map(this.#entries)
    copy.#committed = [...this.#committed]
    copy.#committedIn = [...this.#committedIn]
    copy.#readsFrom = new Map(this.#readsFrom)
    return copy
  }

  /** What a search must know of it to tell states apart. */
  key(): string {
    const reads = [...this.#readsFrom].map(([ctx, index]) => `${ctx}@${index}`)
    return `${this.#committed.map(({ term }, i) => `${term}.${this.#committedIn[i]}`).join(',')};${reads.join(',')}`
  }

  get committedIndex(): number {
    return this.#committed.length
  }

  committedAt(index: number): Entry | undefined {
    return this.#committed[index - 1]
  }

  /** A core has done a batch; nothing of it was acted on yet. */
  onEffects(state: RaftState, effects: Effects): void {
    const { id } = state.options
    for (const entry of effects.entriesToAppend) this.#onEntry(state, entry)
    if (state.role === 'leader') this.#onLeader(state)
    for (const { entry } of effects.committed) this.#onCommitted(state, entry)
    this.#checkCommit(state)
    for (const { ctx, index } of effects.readStates) {
      const from = this.#readsFrom.get(ctx)
      check(from !== undefined && index >= from, 'reads are linearizable', { id, ctx, index, from })
      this.#readsFrom.delete(ctx)
    }
    for (const ctx of effects.readsFailed) this.#readsFrom.delete(ctx)
    for (const { ctx } of effects.refused) this.#readsFrom.delete(ctx)
  }

  /** Same index and term: same entry, and the same entries before it. */
  #onEntry(state: RaftState, entry: Entry): void {
    const { index, term } = entry
    const at = `${index}/${term}`
    const found = `${textOf(entry)} behind ${termAt(state.log, index - 1)}`
    const known = this.#entries.get(at)
    check(known === undefined || known === found, 'logs match', { at, known, found })
    this.#entries.set(at, found)
  }

  #onLeader({ options, term, log }: RaftState): void {
    const before = this.#leaders.get(term)
    const leaders = [before, options.id]
    check(before === undefined || before === options.id, 'a term has one leader', { term, leaders })
    if (before !== undefined) return
    this.#leaders.set(term, options.id)
    for (const entry of this.#committed) {
      // One that is elected late does not know what later terms have committed, and cannot act.
      const isEarlier = (this.#committedIn[entry.index - 1] ?? 0) < term
      if (entry.index < log.cutIndex || !isEarlier) continue
      const found = termAt(log, entry.index)
      check(found === entry.term, 'a leader has everything committed', {
        leader: options.id,
        term,
        index: entry.index,
        committed: entry.term,
        found,
      })
    }
  }

  #onCommitted({ options: { id }, term }: RaftState, entry: Entry): void {
    const known = this.#committed[entry.index - 1]
    check(
      known === undefined || textOf(known) === textOf(entry),
      'what is committed stays as it is',
      { id, index: entry.index, known: known && textOf(known), found: textOf(entry) },
    )
    if (known) return
    check(entry.index === this.#committed.length + 1, 'commits have no gaps', { id, ...entry })
    this.#committed.push(entry)
    this.#committedIn.push(term)
  }

  /** What a node calls committed before it has handed it out. */
  #checkCommit({ options, commit, log }: RaftState): void {
    for (let index = Math.max(log.cutIndex, 1); index <= commit; index++) {
      const known = this.#committed[index - 1]
      const found = termAt(log, index)
      check(known === undefined || known.term === found, 'what is committed stays as it is', {
        id: options.id,
        index,
        found,
      })
    }
  }

  /** A leader's commit index has moved: what it reads in its own log is committed for good. */
  onCommitIndex(state: RaftState, entryAt: (index: number) => Entry | undefined): void {
    for (let index = this.#committed.length + 1; index <= state.commit; index++) {
      const entry = entryAt(index)
      if (!entry) return
      this.#onCommitted(state, entry)
    }
  }

  /** A read came: it must show at least what is committed now. */
  onRead(ctx: number): void {
    this.#readsFrom.set(ctx, this.#committed.length)
  }

  /** A message leaves a node: what it promises is on the node's disk. */
  onMessage(message: Message, durable: Disk): void {
    const { type, from, to, term } = message
    if (type === 'vote' && !message.preVote) this.#onVote(message, from, durable)
    if (type === 'vote-response' && !message.preVote && message.granted) {
      this.#onVote(message, to, durable)
    }
    if (type === 'append-response' && !message.rejected) {
      const last = durable.log.at(-1)?.index ?? durable.cut.index
      check(message.index <= last || durable.hard.term > term, 'what is acknowledged is durable', {
        from,
        index: message.index,
        last,
      })
    }
    if (type !== 'vote' && type !== 'read' && type !== 'vote-response' && type !== 'retired') {
      check(term <= durable.hard.term, 'a term is durable before it is acted in', { type, term })
    }
  }

  #onVote({ from, term }: Message, candidate: NodeId, { hard }: Disk): void {
    const isDurable = hard.term > term || (hard.term === term && hard.vote === candidate)
    check(isDurable, 'a vote is durable before it leaves', { from, term, candidate, hard })
    const at = `${from}/${term}`
    const before = this.#votes.get(at) ?? candidate
    check(before === candidate, 'a node votes once in a term', {
      at,
      candidates: [before, candidate],
    })
    this.#votes.set(at, candidate)
  }
}

function check(holds: boolean, invariant: string, facts: object): asserts holds {
  if (!holds) throw new Violation(invariant, JSON.stringify(facts))
}
