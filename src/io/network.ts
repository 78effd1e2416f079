// Streams of bytes between nodes. A connection has one handler; nothing is delivered before
// `start`.

export interface Address {
  readonly host: string
  readonly port: number
}

export interface ConnectionHandler {
  /**
   * Bytes as they came. The chunk belongs to the handler: it is never reused by the sender of it.
   */
  data(chunk: Buffer): void
  /** What `write` refused to count as taken (it returned false) has left: write again. */
  drain(): void
  /** Once, at the end: by either side or by an error. Nothing follows. */
  close(error: Error | undefined): void
}

export interface Connection {
  readonly remote: Address
  /** Begins delivery. Called again, it hands the connection over to another handler. */
  start(handler: ConnectionHandler): void
  /**
   * Queues bytes, without a copy: they must not change before `flushed` was called (it is called
   * with the error when the connection ended first). Returns false when more should wait for
   * `drain`.
   */
  write(bytes: Uint8Array, flushed?: (error?: Error | null) => void): boolean
  /** Bytes queued and not yet given to the system. */
  readonly queuedBytes: number
  cork(): void
  uncork(): void
  /** Stops and resumes delivery of data: how a reader pushes back. */
  pause(): void
  resume(): void
  /** Ends after everything queued was sent; a peer that does not end it too is not waited for. */
  end(): void
  /** Ends at once. */
  destroy(error?: Error): void
}

export interface Listener {
  /** The address as bound: port 0 was replaced by the one given. */
  readonly address: Address
  close(): Promise<void>
}

export interface Network {
  /** Fails with QUIRE_ADDRESS_IN_USE, or QUIRE_IO. */
  listen(address: Address, accept: (connection: Connection) => void): Promise<Listener>
  /** Fails with QUIRE_CONNECTION_LOST (refused, unreachable), QUIRE_TIMEOUT, QUIRE_ABORTED. */
  connect(
    address: Address,
    options: { timeoutMs: number; signal?: AbortSignal | undefined },
  ): Promise<Connection>
}
