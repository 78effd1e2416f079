// What a client gets that has not proved yet that it knows the node's secret (wire 3.3): the
// exchange of AUTH, or a refusal, and never a look at what is stored.

import { messageOf } from '../../errors.ts'
import type { Random, Timer, Timers } from '../../io/index.ts'
import { authenticationLimits, authenticationPlugin } from '../../wire/authentication.ts'
import { type BookieRequest, operations, statuses } from '../../wire/bookie-messages.ts'
import { ServerHandshake, type SharedSecret } from '../../wire/handshake.ts'
import type { Answers } from './answers.ts'

export interface GuardParts {
  readonly secret: SharedSecret
  readonly random: Random
  readonly timers: Timers
}

/** Whom it guards from. */
export interface Stranger {
  readonly answers: Answers
  /** It has proved itself: every request of it is served from now on. */
  known(): void
  /** Its connection ends, behind what it was answered. */
  refused(why: string): void
}

export class Guard {
  readonly #stranger: Stranger
  readonly #handshake: ServerHandshake
  readonly #timer: Timer

  constructor({ secret, random, timers }: GuardParts, stranger: Stranger) {
    this.#stranger = stranger
    const nonce = random.bytes(authenticationLimits.nonceBytes)
    this.#handshake = new ServerHandshake({ secret, nonce })
    this.#timer = timers.after(authenticationLimits.withinMs, () => {
      stranger.refused('it did not authenticate itself in time')
    })
  }

  /** True: the request is to be served all the same. */
  passes(request: BookieRequest): boolean {
    const { operation, protocol, hasBody, authPlugin } = request
    const { answers } = this.#stranger
    if (operation === operations.auth && hasBody && authPlugin === authenticationPlugin) {
      this.#authenticate(request)
    } else if (protocol === 3) {
      if (operation === operations.startTls && hasBody) return true
      answers.unauthorized(request)
    } else if (operation === operations.add || operation === operations.read) {
      answers.status(request, statuses.unauthorized)
    } else {
      this.#stranger.refused('it asked for something before it authenticated itself')
    }
    return false
  }

  end(): void {
    this.#timer.cancel()
  }

  #authenticate(request: BookieRequest): void {
    const { bytes, bodyStart, bodyEnd } = request
    try {
      const { reply, refusal } = this.#handshake.take(bytes.subarray(bodyStart, bodyEnd))
      if (refusal !== undefined) return this.#refuse(request, refusal)
      this.#stranger.answers.auth(request, reply)
      if (this.#handshake.isDone) this.#stranger.known()
    } catch (error) {
      this.#refuse(request, messageOf(error))
    }
  }

  /** V2 has no word for it. */
  #refuse(request: BookieRequest, why: string): void {
    if (request.protocol === 3) this.#stranger.answers.unauthorized(request)
    this.#stranger.refused(why)
  }
}
