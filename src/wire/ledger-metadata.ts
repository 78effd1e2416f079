// Ledger metadata, as every client and bookie of the cluster reads it.

export type LedgerState = 'open' | 'in-recovery' | 'closed'

export interface LedgerFragment {
  readonly firstEntryId: number
  /**
   * Bookie ids; exactly `ensembleSize` of them. The index of a bookie in it decides what it stores.
   */
  readonly ensemble: readonly string[]
}

export interface LedgerMetadata {
  /** Format version 1 to 3; an update keeps the one that was read. */
  readonly formatVersion: 1 | 2 | 3
  readonly state: LedgerState
  readonly ensembleSize: number
  readonly writeQuorumSize: number
  readonly ackQuorumSize: number
  /** Ascending by first entry id; the first starts at 0. */
  readonly fragments: readonly LedgerFragment[]
  /** −1 unless closed, and for an empty closed ledger. */
  readonly lastEntryId: number
  /** Payload bytes; 0 unless closed. */
  readonly lengthBytes: number
  /** Absent in ledgers older than BookKeeper 4.2. */
  readonly digest: 'crc32' | 'crc32c' | 'mac' | 'dummy' | undefined
  readonly password: Uint8Array
  /** Milliseconds since 1970, only if the creator stored it. */
  readonly ctimeMs: number | undefined
  readonly customMetadata: ReadonlyMap<string, Uint8Array>
  /** Random token of the creator: recognises its own create after a lost reply. 0n when unknown. */
  readonly creatorToken: bigint
}
