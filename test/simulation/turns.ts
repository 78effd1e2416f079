// Turns in the lives of ledgers and logs, as the metadata commits them: moments that faults may meet,
// and that clients wait for.

import { Gate } from '../../src/embedded/log/wait.ts'
import type { Aim, FaultKind, Moment, World } from '../../src/simulation/index.ts'
import type { LedgerMetadata } from '../../src/wire/ledger-metadata.ts'

export type TellMoment = (moment: Moment, aim: Aim) => FaultKind | undefined

export interface TurnsParts {
  readonly world: World
  readonly moment: TellMoment
  /** Where a bookie is. */
  readonly machineOf: (bookieId: string) => string
}

export class Turns {
  /** Told of each moment. */
  readonly moment: TellMoment
  readonly #parts: TurnsParts
  readonly #ledgers = new Map<bigint, LedgerMetadata>()
  readonly #turned = new Gate()
  #last: bigint | undefined

  constructor(parts: TurnsParts) {
    this.#parts = parts
    this.moment = parts.moment
  }

  /** The metadata of a ledger as it is now. */
  changed(ledgerId: bigint, after: LedgerMetadata): void {
    const before = this.#ledgers.get(ledgerId)
    this.#ledgers.set(ledgerId, after)
    if (before === undefined || before === after) return
    if (after.state === 'open') {
      if (namesOf(before) === namesOf(after)) return
      this.#turn(ledgerId)
      this.#tell('an ensemble changes', after)
    } else if (after.state === 'in-recovery') this.#tell('a recovery begins', after)
    else if (before.state !== 'closed') this.#tell('a ledger is closed', after)
  }

  /** Its writer is about to close it. */
  closing(ledgerId: bigint): void {
    this.#turn(ledgerId)
  }

  /** Somebody else owns a log from now on. */
  owned(): void {
    this.moment('a log has a new owner', {})
  }

  /** The next ledger whose ensemble changes while it is written, or which is about to be closed. */
  async next(): Promise<bigint | undefined> {
    await this.#turned.wait()
    return this.#last
  }

  #turn(ledgerId: bigint): void {
    this.#last = ledgerId
    this.#turned.open()
  }

  #tell(moment: Moment, { fragments }: LedgerMetadata): void {
    const { scheduler } = this.#parts.world
    const ensemble = fragments.at(-1)?.ensemble ?? []
    const member = ensemble[scheduler.choose(ensemble.length, 'moment.member')] ?? ''
    this.moment(moment, { machine: this.#parts.machineOf(member) })
  }
}

const namesOf = ({ fragments }: LedgerMetadata): string => fragments.at(-1)?.ensemble.join() ?? ''
