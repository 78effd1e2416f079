// Exactly once (D10): the answers that a session may still ask for again. A part of the replicated
// state and of its snapshots: pure, changed only by records of the log, its time is log time. A
// command that is already here is answered from here and has no second effect; one that the session
// has acknowledged is of interest to nobody.

export interface Session {
  readonly timeoutMs: number
  lastActiveMs: number
  ackedUpTo: number
  /** By command, for those after `ackedUpTo`. */
  readonly results: Map<number, Buffer>
}

export type Admission =
  | { readonly type: 'apply' }
  /** It had its effect already. */
  | { readonly type: 'again'; readonly result: Buffer }
  /** It had its effect, and the session said that it knows. */
  | { readonly type: 'stale' }
  /** There is no such session (any more): it has no effect. */
  | { readonly type: 'gone' }

export class Sessions {
  readonly #sessions = new Map<string, Session>()
  /** Ids that changed since they were last stored; a removed one is not in `all`. */
  readonly changed: Set<string> = new Set()

  has(id: string): boolean {
    return this.#sessions.has(id)
  }

  get count(): number {
    return this.#sessions.size
  }

  open({ id, timeoutMs, timeMs }: { id: string; timeoutMs: number; timeMs: number }): void {
    if (this.#sessions.has(id)) return
    this.#sessions.set(id, { timeoutMs, lastActiveMs: timeMs, ackedUpTo: 0, results: new Map() })
    this.changed.add(id)
  }

  close(id: string): void {
    if (this.#sessions.delete(id)) this.changed.add(id)
  }

  /** Ends those that were silent too long, in log time. */
  expire(timeMs: number): void {
    for (const [id, { lastActiveMs, timeoutMs }] of this.#sessions) {
      if (lastActiveMs + timeoutMs <= timeMs) this.close(id)
    }
  }

  admit(command: { session: string; seq: number; ackedUpTo: number }, timeMs: number): Admission {
    const session = this.#sessions.get(command.session)
    if (!session) return { type: 'gone' }
    this.changed.add(command.session)
    session.lastActiveMs = timeMs
    for (let seq = session.ackedUpTo + 1; seq <= command.ackedUpTo; seq++) {
      session.results.delete(seq)
      session.ackedUpTo = seq
    }
    if (command.seq <= session.ackedUpTo) return { type: 'stale' }
    const result = session.results.get(command.seq)
    return result ? { type: 'again', result } : { type: 'apply' }
  }

  /** Keeps the result of a command that was admitted. */
  keep(command: { session: string; seq: number }, result: Buffer): void {
    this.#sessions.get(command.session)?.results.set(command.seq, result)
  }

  resultOf(id: string, seq: number): Buffer | undefined {
    return this.#sessions.get(id)?.results.get(seq)
  }

  ids(): IterableIterator<string> {
    return this.#sessions.keys()
  }

  /**
   * timeoutMs u64 · lastActiveMs u64 · ackedUpTo u64 · count u32 ·
   * { seq u64 · length u32 · bytes }
   * …
   */
  encode(id: string): Buffer | undefined {
    const session = this.#sessions.get(id)
    if (!session) return undefined
    const results = [...session.results]
    const bytes = Buffer.alloc(results.reduce((sum, [, r]) => sum + 12 + r.length, 28))
    bytes.writeBigUInt64BE(BigInt(session.timeoutMs), 0)
    bytes.writeBigUInt64BE(BigInt(session.lastActiveMs), 8)
    bytes.writeBigUInt64BE(BigInt(session.ackedUpTo), 16)
    let at = bytes.writeUInt32BE(results.length, 24)
    for (const [seq, result] of results) {
      at = bytes.writeBigUInt64BE(BigInt(seq), at)
      at = bytes.writeUInt32BE(result.length, at)
      at += result.copy(bytes, at)
    }
    return bytes
  }

  load(id: string, stored: Uint8Array): void {
    const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength)
    const results = new Map<number, Buffer>()
    let at = 28
    for (let left = bytes.readUInt32BE(24); left > 0; left--) {
      const seq = Number(bytes.readBigUInt64BE(at))
      const end = at + 12 + bytes.readUInt32BE(at + 8)
      results.set(seq, Buffer.from(bytes.subarray(at + 12, end)))
      at = end
    }
    this.#sessions.set(id, {
      timeoutMs: Number(bytes.readBigUInt64BE(0)),
      lastActiveMs: Number(bytes.readBigUInt64BE(8)),
      ackedUpTo: Number(bytes.readBigUInt64BE(16)),
      results,
    })
  }
}
