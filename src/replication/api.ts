// The ledger API: what logs, snapshots and users stand on.

export type DigestType = 'crc32' | 'crc32c' | 'mac' | 'dummy'

export interface CreateLedgerOptions {
  /**
   * Bookies that share the ledger. Default: 3, or as many as live (never fewer copies than asked by
   * ackQuorumSize).
   */
  readonly ensembleSize?: number
  /** Copies of each entry. Default: ensembleSize. */
  readonly writeQuorumSize?: number
  /**
   * Copies that are durable before an append is acknowledged. Default: majority of writeQuorumSize.
   */
  readonly ackQuorumSize?: number
  readonly digest?: DigestType
  readonly password?: Uint8Array
  readonly customMetadata?: ReadonlyMap<string, Uint8Array>
  readonly signal?: AbortSignal | undefined
}

export interface OpenLedgerOptions {
  readonly password?: Uint8Array
  readonly signal?: AbortSignal | undefined
}

export interface LedgerEntry {
  readonly entryId: number
  /** A view: valid until the next step of the iteration unless copied. */
  readonly payload: Buffer
  /** Payload bytes of the ledger up to and including this entry. */
  readonly lengthBytes: number
}

/** The single writer of a ledger that it created. */
export interface LedgerWriter extends AsyncDisposable {
  readonly ledgerId: bigint
  readonly lastAddConfirmed: number
  /** Payload bytes appended and not yet acknowledged. */
  readonly pendingBytes: number
  /**
   * New entries have fewer copies than asked: a bookie was left behind, or the ledger was made when
   * too few lived and more do now. Roll to a new ledger, which has as many as there can be.
   */
  readonly degraded: boolean
  /**
   * Resolves once: to undefined after `close`, else to the error after which nothing is appended
   * any more.
   */
  readonly ended: Promise<Error | undefined>
  /**
   * Resolves to the entry id when the entry is durable on an ack quorum, and all before it are. It
   * has taken its bytes when it returns. Rejects with QUIRE_BACKPRESSURE (nothing was sent; wait
   * for `ready`), QUIRE_ENTRY_TOO_LARGE (nothing was sent), QUIRE_LEDGER_CLOSED (nothing was sent),
   * QUIRE_LEDGER_FENCED or QUIRE_OUTCOME_UNKNOWN (it may or may not be there).
   */
  append(payload: Uint8Array): Promise<number>
  /** Resolves when `append` would be taken. */
  ready(signal?: AbortSignal): Promise<void>
  /**
   * Fails what is pending, then records the end. Resolves to the last entry id, −1 for an empty
   * ledger.
   */
  close(options?: { signal?: AbortSignal | undefined }): Promise<number>
}

export interface LedgerReader extends AsyncDisposable {
  readonly ledgerId: bigint
  /** True when the ledger's end is final. */
  readonly closed: boolean
  /**
   * The last entry that may be read: the end of a closed ledger, else the highest confirmation
   * known.
   */
  readonly lastAddConfirmed: number
  readonly customMetadata: ReadonlyMap<string, Uint8Array>
  /**
   * Entries [from, to] in order, read ahead within a byte budget. Never past `lastAddConfirmed`.
   */
  read(options?: {
    from?: number
    to?: number
    signal?: AbortSignal | undefined
  }): AsyncIterable<LedgerEntry>
  /**
   * Waits until `lastAddConfirmed` is above `above`, the ledger is closed, or `timeoutMs` passed;
   * resolves to the confirmation known then. Long-polls the bookies and watches the metadata. Never
   * fences.
   */
  waitForConfirmed(
    above: number,
    options: { timeoutMs: number; signal?: AbortSignal | undefined },
  ): Promise<number>
  /**
   * From whoever has it from the ledger's writer: this entry is acknowledged, and all before it.
   */
  heardConfirmed(entryId: number): void
}

export interface LedgerClient extends AsyncDisposable {
  create(options?: CreateLedgerOptions): Promise<LedgerWriter>
  /** Ends whatever writes it (fencing), finds its true end, closes it, and opens it for reading. */
  recover(ledgerId: bigint, options?: OpenLedgerOptions): Promise<LedgerReader>
  /** Opens for reading beside a writer: never fences. */
  tail(ledgerId: bigint, options?: OpenLedgerOptions): Promise<LedgerReader>
  /**
   * Removes the ledger. One that is open is fenced and closed first. Removing what is not there
   * succeeds.
   */
  delete(ledgerId: bigint, options?: { signal?: AbortSignal | undefined }): Promise<void>
  exists(ledgerId: bigint, options?: { signal?: AbortSignal | undefined }): Promise<boolean>
  /** Ids of all ledgers, ascending. */
  list(options?: { signal?: AbortSignal | undefined }): AsyncIterable<bigint>
}
