// What one server takes of its clients: docs/format/metadata-protocol.md lists them.

export interface MetadataServerLimits {
  readonly connections: number
  /** Time for the first packet of a connection. */
  readonly greetingMs: number
  /** Session time-outs granted: what is asked for is brought into this range. */
  readonly timeoutMsLeast: number
  readonly timeoutMsMost: number
  /** Requests of one connection that are held; clients of ours keep half of it in flight. */
  readonly inFlight: number
  /** Requests of one connection that run at the same time. */
  readonly running: number
  /** Bytes of held requests of one connection. */
  readonly inputBytes: number
  /** Answers queued on one connection, beyond which no request of it is started. */
  readonly outputBytes: number
  readonly watches: number
}

export const metadataServerLimits: MetadataServerLimits = {
  connections: 1_024,
  greetingMs: 10_000,
  timeoutMsLeast: 1_000,
  timeoutMsMost: 120_000,
  inFlight: 512,
  running: 256,
  inputBytes: 2_097_152,
  outputBytes: 1_048_576,
  watches: 100_000,
}
