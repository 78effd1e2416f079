// Between the application's thread and the node's: what is asked, what is told, and errors in a
// form that can be cloned.
import { errorCodes, messageOf, QuireError, type ErrorCode } from '../../errors.ts'
import type { NodeSettings } from '../options.ts'
import type { HandedDown, HandedUp } from './handed-connections.ts'

export interface NodeStats {
  readonly uptimeMs: number
  /** Entries acknowledged by the bookie since it started. */
  readonly adds: number
  readonly reads: number
  readonly entries: number
  readonly ledgers: number
  /** Syncs of the journal since the start. */
  readonly fsyncs: number
  /**
   * The id of the node that leads the metadata, as far as this one knows; only with `peers`, and
   * undefined also while nobody leads.
   */
  readonly leader?: string | undefined
  /** Syncs of the replicated metadata's log since the start; only with `peers`. */
  readonly metadataFsyncs?: number
}

export type ToNode =
  | { readonly type: 'start'; readonly settings: NodeSettings }
  | { readonly type: 'stats' }
  /** About connections that the application's thread serves. */
  | { readonly type: 'handed'; readonly event: HandedDown }
  | { readonly type: 'close' }

export type FromNode =
  | {
      readonly type: 'ready'
      readonly id: string
      readonly listen: string
      readonly incarnation: number
    }
  | { readonly type: 'failed'; readonly error: PlainError }
  | { readonly type: 'stats'; readonly stats: NodeStats }
  | { readonly type: 'closed'; readonly stats: NodeStats }
  | { readonly type: 'handed'; readonly event: HandedUp }
  | {
      readonly type: 'log'
      readonly level: 'debug' | 'info' | 'warn' | 'error'
      readonly facts: Record<string, unknown>
      readonly message: string
    }

export interface PlainError {
  readonly code: ErrorCode
  readonly message: string
  readonly facts: Record<string, unknown>
  readonly cause: string | undefined
}

export function toPlain(error: unknown): PlainError {
  if (!QuireError.is(error)) {
    return { code: 'QUIRE_IO', message: messageOf(error), facts: {}, cause: stackOf(error) }
  }
  const facts = Object.fromEntries(
    Object.entries(error.facts).map(([name, value]) => [name, plainFact(value)]),
  )
  return { code: error.code, message: error.message, facts, cause: stackOf(error.cause) }
}

export function fromPlain({ code, message, facts, cause }: PlainError): QuireError {
  const known = code in errorCodes ? code : 'QUIRE_IO'
  return new QuireError(known, message, {
    facts,
    cause: cause === undefined ? undefined : new Error(cause),
  })
}

/** Facts of a log line or an error, so that they survive cloning. */
export function plainFact(value: unknown): unknown {
  if (value instanceof Error) return stackOf(value)
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'object' && value !== null)
    return JSON.parse(JSON.stringify(value, bigintsAsText))
  return typeof value === 'function' || typeof value === 'symbol' ? String(value) : value
}

function bigintsAsText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}

function stackOf(error: unknown): string | undefined {
  if (error === undefined) return undefined
  return error instanceof Error ? (error.stack ?? error.message) : messageOf(error)
}
