// Both sides of the authentication, as reducers: messages in, messages out.
//
// H1. Nothing that depends on the secret is told to a client that has not proved that it has it.
// H2. A proof is good for one exchange and one direction: it covers both nonces, one of them this
//     side's own and never used before, and begins with the name of the side that makes it.
// H3. Neither side is satisfied before the other has proved itself.

import { createHmac, timingSafeEqual } from 'node:crypto'
import { QuireError } from '../errors.ts'
import {
  authenticationVersion,
  decodeAuthentication,
  encodeNonce,
  encodeProof,
  encodeRefusal,
  type AuthenticationMessage,
} from './authentication.ts'

/** Whose proof it is: never the same bytes for both. */
const labels = { client: 'quire client\0', server: 'quire server\0' } as const
const keyLabel = 'quire secret 1'

interface Exchange {
  readonly hello: Uint8Array
  readonly challenge: Uint8Array
}

/** What the nodes and clients of a cluster share. Shows nothing of itself when it is printed. */
export class SharedSecret {
  readonly #key: Buffer

  constructor(text: string) {
    this.#key = createHmac('sha256', keyLabel).update(text, 'utf8').digest()
  }

  /** That this side knows the secret, in this exchange. */
  proof(side: keyof typeof labels, { hello, challenge }: Exchange): Buffer {
    const mac = createHmac('sha256', this.#key).update(labels[side])
    for (const message of [hello, challenge]) {
      const length = Buffer.alloc(4)
      length.writeUInt32BE(message.length)
      mac.update(length).update(message)
    }
    return mac.digest()
  }

  /** In a time that does not depend on where they differ. */
  isProof(side: keyof typeof labels, exchange: Exchange, proof: Uint8Array): boolean {
    return timingSafeEqual(this.proof(side, exchange), proof)
  }
}

export interface HandshakeParts {
  readonly secret: SharedSecret
  /** 32 random bytes, never used before. */
  readonly nonce: Uint8Array
}

const unauthorized = (text: string): QuireError => new QuireError('QUIRE_UNAUTHORIZED', text)

const outOfTurn = ({ type }: AuthenticationMessage): QuireError =>
  new QuireError('QUIRE_BAD_FRAME', `a message of authentication out of turn: ${type}`)

/** What a client is told that was refused. */
const sentences = {
  refused: 'it was refused',
  version: 'the two sides speak different versions of the authentication: upgrade the older one',
  secret: 'the secret is not that of the other side: give both the same one',
  noSecret: 'the other side has no secret: give it the same one, or this side none',
} as const

export class ClientHandshake {
  readonly hello: Buffer
  readonly #secret: SharedSecret
  #challenge: Buffer | undefined
  #isDone = false

  constructor({ secret, nonce }: HandshakeParts) {
    this.#secret = secret
    this.hello = encodeNonce('hello', nonce)
  }

  /** The server has proved itself: it is the client's turn to say what it came for. */
  get isDone(): boolean {
    return this.#isDone
  }

  /**
   * The next message to send, if there is one. QUIRE_UNAUTHORIZED: refused, or this is no server of
   * this secret; QUIRE_BAD_FRAME: it says what it must not. Either is the end.
   */
  take(bytes: Uint8Array): Buffer | undefined {
    const message = decodeAuthentication(bytes)
    if (message.type === 'refusal' && !this.#isDone) throw unauthorized(sentences[message.reason])
    if (message.type === 'challenge' && this.#challenge === undefined) {
      this.#challenge = Buffer.from(bytes)
      return encodeProof('proof', this.#secret.proof('client', this.#exchange(this.#challenge)))
    }
    const challenge = this.#challenge
    if (message.type !== 'welcome' || challenge === undefined || this.#isDone) {
      throw outOfTurn(message)
    }
    if (!this.#secret.isProof('server', this.#exchange(challenge), message.proof)) {
      throw unauthorized(sentences.secret)
    }
    this.#isDone = true
    return undefined
  }

  #exchange(challenge: Buffer): Exchange {
    return { hello: this.hello, challenge }
  }
}

export interface ServerStep {
  readonly reply: Buffer
  /** Undefined: the exchange goes on, or `isDone`. Else the reply is the last word. */
  readonly refusal: string | undefined
}

export class ServerHandshake {
  readonly #secret: SharedSecret
  readonly #challenge: Buffer
  #hello: Buffer | undefined
  #isOver = false
  #isDone = false

  constructor({ secret, nonce }: HandshakeParts) {
    this.#secret = secret
    this.#challenge = encodeNonce('challenge', nonce)
  }

  /** The client has proved itself, and the last reply proves the same of this side. */
  get isDone(): boolean {
    return this.#isDone
  }

  /** QUIRE_BAD_FRAME: the client says what it must not; the connection is to be ended. */
  take(bytes: Uint8Array): ServerStep {
    const message = decodeAuthentication(bytes)
    if (this.#isOver) throw outOfTurn(message)
    const hello = this.#hello
    if (message.type === 'hello' && hello === undefined) return this.#greet(message, bytes)
    if (message.type !== 'proof' || hello === undefined) throw outOfTurn(message)
    this.#isOver = true
    const exchange = { hello, challenge: this.#challenge }
    if (!this.#secret.isProof('client', exchange, message.proof)) return refuse('secret')
    this.#isDone = true
    const reply = encodeProof('welcome', this.#secret.proof('server', exchange))
    return { reply, refusal: undefined }
  }

  #greet({ version }: AuthenticationMessage, bytes: Uint8Array): ServerStep {
    if (version >> 8 !== authenticationVersion >> 8) {
      this.#isOver = true
      return refuse('version')
    }
    this.#hello = Buffer.from(bytes)
    return { reply: this.#challenge, refusal: undefined }
  }
}

/** What a server says of itself. */
const refusals = {
  refused: 'refused',
  version: 'this node speaks another version of the authentication',
  secret: 'that is not the secret of this node',
  noSecret: 'this node has no secret',
} as const

/** A server's last word. */
export function refuse(reason: keyof typeof refusals): ServerStep {
  return { reply: encodeRefusal(reason, refusals[reason]), refusal: refusals[reason] }
}
