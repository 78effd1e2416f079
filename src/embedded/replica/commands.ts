// The commands of one replica that have no answer yet, and the session under which they go (D10):
// each keeps its session and its number until it is answered, however often it is sent.

import { QuireError } from '../../errors.ts'
import type { Random } from '../../io/index.ts'
import { encodeReplicaRecord } from '../../snapshot/commands.ts'
import { decodeOutcome, type Answer, type Outcome } from '../../snapshot/state.ts'
import type { ReplicatedState } from '../../snapshot/state.ts'
import { ClientSession } from './client-session.ts'
import type { Proposal, Proposer } from './proposer.ts'

interface Pending extends Proposal {
  readonly session: ClientSession
  readonly seq: number
  readonly body: Buffer
  /** It was sent before a snapshot was loaded: whether it took effect is not known here. */
  isInDoubt: boolean
  readonly resolve: (outcome: Outcome) => void
}

export interface CommandsParts {
  readonly proposer: Pick<Proposer, 'propose' | 'settle' | 'offer'>
  /** Of the state, as it is now. */
  readonly sessions: () => ReplicatedState['sessions']
  readonly random: Random
  readonly sessionTimeoutMs: number
}

export class Commands {
  readonly #parts: CommandsParts
  readonly #pending = new Map<string, Pending>()
  #session: ClientSession

  constructor(parts: CommandsParts) {
    this.#parts = parts
    this.#session = this.#newSession()
  }

  execute(body: Buffer): Promise<Outcome> {
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>()
    const session = this.#session
    this.#propose({ session, seq: session.take(), body, resolve, failed: reject })
    return promise
  }

  /**
   * What comes before commands, of a new owner or over a new channel: the session, and the end of
   * those whose time is over. All that is pending is settled by then, or was without effect.
   */
  preface(): Buffer[] {
    const { sessions, sessionTimeoutMs: timeoutMs } = this.#parts
    const expire = encodeReplicaRecord({ type: 'expire' })
    if (sessions().has(this.#session.id)) return [expire]
    // A session that is gone must not come back empty while one of its commands is in doubt.
    const isInDoubt = [...this.#pending.values()].some(
      (pending) => pending.isInDoubt && pending.session === this.#session,
    )
    if (isInDoubt) this.#session = this.#newSession()
    return [encodeReplicaRecord({ type: 'open', session: this.#session.id, timeoutMs }), expire]
  }

  /** The end of the session. */
  goodbye(): Buffer {
    return encodeReplicaRecord({ type: 'close', session: this.#session.id })
  }

  /** What was applied, and came to these answers. */
  settle(answers: readonly Answer[]): void {
    for (const { session, seq, outcome } of answers) {
      const pending = this.#pending.get(`${session}:${seq}`)
      if (pending) this.#answer(pending, outcome)
    }
  }

  /**
   * A snapshot jumps over records that this replica then never sees: their answers are in its
   * sessions.
   */
  recall(): void {
    for (const pending of this.#pending.values()) {
      if (pending.attempts === 0) continue
      const result = this.#parts.sessions().resultOf(pending.session.id, pending.seq)
      if (result) this.#answer(pending, decodeOutcome(result))
      // The first attempt may be behind the jump.
      else pending.isInDoubt = true
    }
  }

  #propose(command: Pick<Pending, 'session' | 'seq' | 'body' | 'resolve' | 'failed'>): void {
    const pending: Pending = {
      ...command,
      bytes: command.body.length,
      settled: false,
      isInDoubt: false,
      attempts: 0,
      record: () => {
        const { session, seq, body } = pending
        const { id, ackedUpTo } = session
        return encodeReplicaRecord({ type: 'command', session: id, seq, ackedUpTo, body })
      },
      // The answer comes with applying it.
      appended: () => undefined,
      failed: (error) => {
        this.#pending.delete(keyOf(pending))
        command.failed(error)
      },
    }
    this.#pending.set(keyOf(pending), pending)
    this.#parts.proposer.propose(pending)
  }

  #answer(pending: Pending, outcome: Outcome): void {
    this.#pending.delete(keyOf(pending))
    pending.session.answered(pending.seq)
    this.#parts.proposer.settle(pending)
    if (outcome.type !== 'gone') {
      pending.resolve(outcome)
      return
    }
    if (pending.attempts > 1 || pending.isInDoubt) {
      pending.failed(sessionGone())
      return
    }
    // Sent once, and refused: it had no effect. A session after long silence: a new one takes it
    // up.
    if (this.#session === pending.session) this.#renewSession()
    const session = this.#session
    const { body, resolve } = pending
    const failed = (error: Error): void => pending.failed(error)
    this.#propose({ session, seq: session.take(), body, resolve, failed })
  }

  #renewSession(): void {
    this.#session = this.#newSession()
    for (const record of this.preface()) this.#parts.proposer.offer(record)
  }

  #newSession(): ClientSession {
    return new ClientSession(this.#parts.random.uuid().replaceAll('-', ''))
  }
}

function keyOf(pending: Pick<Pending, 'session' | 'seq'>): string {
  return `${pending.session.id}:${pending.seq}`
}

function sessionGone(): QuireError {
  return new QuireError(
    'QUIRE_SESSION_GONE',
    'the session of the command has ended: whether an earlier attempt took effect is unknown; ' +
      'read the state to know',
  )
}
