// What must happen now and then, or the runs prove less than they seem to: rare events, seen from
// outside, counted. Hears all that the checkers hear, what is logged, and the ends of processes.

import type { LedgerMetadata } from '../../src/wire/ledger-metadata.ts'
import type { SimulatedProcess, World } from '../../src/simulation/index.ts'

/** By what is logged. */
export const logged = {
  'one of the two superblocks does not verify: the other counts':
    'one of two superblocks is damaged',
  'entries of the journal are damaged: read elsewhere':
    'damage in the middle of a journal is found',
  'the journal disk is full: a commit waits for room': 'a journal waits for room',
  'the node ends: nothing pending was answered as done': 'a node ends by itself',
  'a member of a ledger was left behind: its copies are fewer now': 'a bookie is left behind',
  'a metadata session has expired': 'a session expires',
  'changes of the metadata wait for room': 'the metadata waits for room',
  'a snapshot was passed over': 'a snapshot is passed over',
  'following the log is tried again': 'a replica tries again',
  'the log’s writer ended; another way into the log is looked for': 'a replica loses its log',
  'the channel to the log’s owner ended; another way into the log is looked for':
    'a replica loses its channel to the owner of its log',
  'a replica acquires its log after another owner': 'a replica follows another owner',
} as const

/** By what clients are told. */
export const refused = {
  QUIRE_LEDGER_FENCED: 'a writer is fenced',
  QUIRE_OUTCOME_UNKNOWN: 'an outcome is unknown',
  QUIRE_TRUNCATED: 'a reader lags behind a truncation',
  QUIRE_SESSION_EXPIRED: 'a call meets an expired session',
  QUIRE_RECOVERY_FAILED: 'a recovery fails',
  QUIRE_NOT_OWNER: 'an owner is replaced',
  QUIRE_SESSION_GONE: 'a command meets its session gone',
} as const

const seen = [
  'an ensemble changes while its ledger is written',
  'an ensemble changes while its ledger is recovered',
  'two recoverers write one ledger',
  'a recovery begins before a close is done',
  'a close is done before a recovery begins',
  'the power fails while a fence is on its way',
  'a write is torn by a loss of power',
  'the load of a snapshot is interrupted',
  'a connection ends while it is authenticated',
  'an append of unknown outcome is there at last',
  'an append of unknown outcome is not there at last',
  'a command of unknown outcome took effect',
  'a command of unknown outcome took none',
] as const

/** All names, in no order. */
export const rareEvents: readonly string[] = [
  ...seen,
  ...Object.values(logged),
  ...Object.values(refused),
]

/** Those that take more runs than a batch has: they are counted, and stand in the table. */
const seldom: ReadonlySet<string> = new Set([
  'a connection ends while it is authenticated',
  'a journal waits for room',
  'a snapshot is passed over',
  'a replica tries again',
])

/** Those that must happen in every batch. */
export const common: readonly string[] = rareEvents.filter((name) => !seldom.has(name))

type Seen = (typeof seen)[number]

/** What became of calls whose outcome nobody was told. */
export interface Unknowns {
  readonly there: number
  readonly notThere: number
}

/** What others count. */
export interface Others {
  /** Errors that clients were given, by code. */
  readonly given: ReadonlyMap<string, number>
  readonly appends: Unknowns
  readonly commands: Unknowns
}

export class Sometimes {
  readonly #world: World
  readonly #counts = new Map<string, number>()
  /** By ledger: clients that wrote to it as recoverers, by turns. */
  readonly #recoverers = new Map<bigint, string[]>()
  readonly #before = new Map<bigint, LedgerMetadata>()
  readonly #closing = new Map<bigint, number>()
  readonly #recovering = new Map<bigint, number>()
  /** Under way in a process: fences, loads of snapshots. */
  readonly #underWay = new Map<SimulatedProcess, Map<Seen, number>>()

  constructor(world: World) {
    this.#world = world
  }

  /** How often each happened, none left out. */
  counts(others: Others): Readonly<Record<string, number>> {
    const counts = new Map(rareEvents.map((name) => [name, this.#counts.get(name) ?? 0]))
    for (const [code, name] of Object.entries(refused))
      counts.set(name, others.given.get(code) ?? 0)
    const { appends, commands } = others
    counts.set('an append of unknown outcome is there at last', appends.there)
    counts.set('an append of unknown outcome is not there at last', appends.notThere)
    counts.set('a command of unknown outcome took effect', commands.there)
    counts.set('a command of unknown outcome took none', commands.notThere)
    counts.set('a write is torn by a loss of power', this.#world.tornWrites)
    return Object.fromEntries(counts)
  }

  log(message: string): void {
    const name = Object.entries(logged).find(([text]) => text === message)?.[1]
    if (name !== undefined) this.#saw(name)
  }

  /** The work on a ledger by its writer, or by a recoverer, from its beginning to its end. */
  async during<T>(
    what: 'close' | 'recovery',
    ledgerId: bigint,
    work: () => Promise<T>,
  ): Promise<T> {
    const running = what === 'close' ? this.#closing : this.#recovering
    running.set(ledgerId, (running.get(ledgerId) ?? 0) + 1)
    try {
      return await work()
    } finally {
      running.set(ledgerId, (running.get(ledgerId) ?? 0) - 1)
    }
  }

  /** Work that matters when its process ends in the middle; call what is given back at its end. */
  begins(name: Seen, machine: string): () => void {
    const { task } = this.#world.node(machine)
    if (task === undefined) return () => undefined
    let running = this.#underWay.get(task)
    if (running === undefined) {
      this.#underWay.set(task, (running = new Map<Seen, number>()))
      task.onEnd.push((hasPower) => this.#ended(task, hasPower))
    }
    const counted = running
    counted.set(name, (counted.get(name) ?? 0) + 1)
    return () => counted.set(name, (counted.get(name) ?? 0) - 1)
  }

  met(name: Seen): void {
    this.#saw(name)
  }

  /** A client has written an entry as a recoverer. */
  recovered(ledgerId: bigint, from: string): void {
    const turns = this.#recoverers.get(ledgerId) ?? []
    if (turns.at(-1) !== from) turns.push(from)
    this.#recoverers.set(ledgerId, turns)
    // Somebody wrote again after another had: neither had ended.
    if (turns.length === 3) this.#saw('two recoverers write one ledger')
  }

  /** The metadata of a ledger as it is now. */
  changed(ledgerId: bigint, after: LedgerMetadata): void {
    const before = this.#before.get(ledgerId)
    this.#before.set(ledgerId, after)
    if (before === undefined || before === after) return
    const names = ({ fragments }: LedgerMetadata) =>
      fragments.map(({ firstEntryId, ensemble }) => [firstEntryId, ...ensemble].join()).join(';')
    const changed = names(before) !== names(after)
    if (changed && before.state === 'open') {
      this.#saw('an ensemble changes while its ledger is written')
    }
    if (changed && before.state === 'in-recovery') {
      this.#saw('an ensemble changes while its ledger is recovered')
    }
    const isClosing = (this.#closing.get(ledgerId) ?? 0) > 0
    const isRecovering = (this.#recovering.get(ledgerId) ?? 0) > 0
    if (before.state !== 'open' || !isClosing || !isRecovering) return
    if (after.state === 'in-recovery') this.#saw('a recovery begins before a close is done')
    if (after.state === 'closed') this.#saw('a close is done before a recovery begins')
  }

  #ended(task: SimulatedProcess, hasPower: boolean): void {
    for (const [name, count] of this.#underWay.get(task) ?? []) {
      if (count === 0 || (hasPower && name.startsWith('the power'))) continue
      this.#saw(name)
    }
    this.#underWay.delete(task)
  }

  #saw(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1)
  }
}
