// The sessions of a tree, in memory: who is there, which ephemerals are whose, which results are
// remembered. It is part of the replicated state: loaded from the store's facts, changed by applied
// commands only.

import { invariant } from '../../invariant.ts'
import type { TreeRow, TreeStore } from '../../io/tree-store.ts'
import type { SessionChange, SessionView } from './apply.ts'
import type { SessionEnd, TreeResult } from './command.ts'
import {
  decodeResult,
  decodeSession,
  encodeResult,
  encodeSession,
  resultFact,
  resultFactKey,
  resultPrefix,
  sessionFact,
  sessionOfFact,
  sessionPrefix,
} from './facts.ts'

export interface TreeSession {
  readonly sessionId: bigint
  readonly timeoutMs: number
  readonly password: Uint8Array
}

interface Session extends TreeSession, SessionView {
  answeredUpTo: number
  readonly results: Map<number, TreeResult>
  readonly ephemerals: Set<string>
  readonly ended: Promise<SessionEnd>
  readonly end: (reason: SessionEnd) => void
}

type Facts = Map<string, Uint8Array | undefined>

export class SessionTable {
  readonly #sessions = new Map<bigint, Session>()

  static async load(store: TreeStore): Promise<SessionTable> {
    const table = new SessionTable()
    for (const [key, bytes] of await store.facts(sessionPrefix)) {
      const session = table.#add({ sessionId: sessionOfFact(key), ...decodeSession(bytes) })
      for (const path of await store.ownedBy(session.sessionId)) session.ephemerals.add(path)
    }
    for (const [key, bytes] of await store.facts(resultPrefix)) {
      const { sessionId, requestId } = resultFactKey(key)
      const session = table.#sessions.get(sessionId)
      invariant(session !== undefined, 'a remembered result has its session', { key })
      const { answeredUpTo, result } = decodeResult(bytes)
      session.results.set(requestId, result)
      session.answeredUpTo = Math.max(session.answeredUpTo, answeredUpTo)
    }
    return table
  }

  get(sessionId: bigint): Session | undefined {
    return this.#sessions.get(sessionId)
  }

  list(): TreeSession[] {
    return [...this.#sessions.values()].map(({ sessionId, timeoutMs, password }) => ({
      sessionId,
      timeoutMs,
      password,
    }))
  }

  ephemerals(sessionId: bigint): Iterable<string> {
    return this.#sessions.get(sessionId)?.ephemerals ?? []
  }

  /**
   * Takes a change in, and puts what must last into `facts`. Returns whom to tell once that is
   * durable.
   */
  absorb(change: SessionChange, facts: Facts): (() => void) | undefined {
    const { sessionId } = change
    if (change.type === 'opened') {
      this.#add(change)
      facts.set(sessionFact(sessionId), encodeSession(change))
      return undefined
    }
    const session = this.#sessions.get(sessionId)
    invariant(session !== undefined, 'what changes is there', { sessionId })
    if (change.type === 'answered') {
      this.#answered(session, change, facts)
      return undefined
    }
    this.#sessions.delete(sessionId)
    facts.set(sessionFact(sessionId), undefined)
    for (const requestId of session.results.keys()) {
      facts.set(resultFact(sessionId, requestId), undefined)
    }
    return () => session.end(change.reason)
  }

  /** Keeps the lists of ephemerals as a row came or went. */
  moved(path: string, before: TreeRow | undefined, after: TreeRow | undefined): void {
    const owner = after?.owner ?? before?.owner ?? 0n
    if (owner === 0n) return
    const session = this.#sessions.get(owner)
    if (after) session?.ephemerals.add(path)
    else session?.ephemerals.delete(path)
  }

  #add({ sessionId, timeoutMs, password }: TreeSession): Session {
    const { promise, resolve } = Promise.withResolvers<SessionEnd>()
    const session: Session = {
      sessionId,
      timeoutMs,
      password,
      answeredUpTo: 0,
      results: new Map(),
      ephemerals: new Set(),
      ended: promise,
      end: resolve,
    }
    this.#sessions.set(sessionId, session)
    return session
  }

  #answered(session: Session, change: SessionChange & { type: 'answered' }, facts: Facts): void {
    const { requestId, answeredUpTo, result } = change
    session.answeredUpTo = Math.max(session.answeredUpTo, answeredUpTo)
    for (const earlier of session.results.keys()) {
      if (earlier > session.answeredUpTo) continue
      session.results.delete(earlier)
      facts.set(resultFact(session.sessionId, earlier), undefined)
    }
    session.results.set(requestId, result)
    const fact = { answeredUpTo: session.answeredUpTo, result }
    facts.set(resultFact(session.sessionId, requestId), encodeResult(fact))
  }
}
