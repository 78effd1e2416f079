// Carries a change of a ledger's metadata through: the optimistic loop of A1 around the pure
// changes of the core.

import { messageOf, QuireError } from '../errors.ts'
import type { LedgerManager, Versioned } from '../metadata/managers.ts'
import type { LedgerMetadata } from '../wire/ledger-metadata.ts'
import type { MetadataChange, Refusal } from './core/metadata-update.ts'
import type { ClientParts } from './parts.ts'
import { pause } from './wait.ts'

export type Outcome =
  | { readonly type: 'done'; readonly current: Versioned<LedgerMetadata> }
  | { readonly type: 'refused'; readonly reason: Refusal }

const retryMs = { first: 50, most: 1_000 }

export interface UpdateOptions {
  readonly ledgerId: bigint
  readonly current: Versioned<LedgerMetadata>
  readonly change: MetadataChange
  /** Gives up behind this: whether the change will still take effect is then unknown. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/** Rejects when the metadata could not be reached within the time: outcome unknown. */
export async function updateMetadata(
  parts: Pick<ClientParts, 'ledgers' | 'timers' | 'clock' | 'logger'>,
  options: UpdateOptions,
): Promise<Outcome> {
  const { ledgerId, change, signal } = options
  const deadlineMs = parts.clock.monotonicMs() + options.timeoutMs
  let current: Versioned<LedgerMetadata> | undefined = options.current
  for (let delayMs = retryMs.first; ; delayMs = Math.min(delayMs * 2, retryMs.most)) {
    try {
      current ??= await parts.ledgers.read(ledgerId, { signal })
      const verdict = change(current.value)
      if (verdict.type === 'refused') return verdict
      if (verdict.type === 'done') return { type: 'done', current }
      const { version } = current
      current = undefined // Whatever comes of the write: only what is stored counts (A1).
      const written = await write(parts.ledgers, {
        ledgerId,
        metadata: verdict.metadata,
        version,
        signal,
      })
      if (written !== undefined) return { type: 'done', current: written }
      delayMs = retryMs.first / 2
      continue
    } catch (error) {
      if (QuireError.is(error, 'QUIRE_LEDGER_MISSING'))
        return { type: 'refused', reason: 'missing' }
      const again = error instanceof QuireError ? isPassing(error) : false
      if (!again || parts.clock.monotonicMs() >= deadlineMs) throw error
      const facts = { ledgerId: String(ledgerId), error: messageOf(error) }
      parts.logger.debug(facts, 'metadata of a ledger not reached, trying again')
      await pause(parts.timers, delayMs, signal)
    }
  }
}

/** Undefined at a conflict. */
async function write(
  ledgers: LedgerManager,
  options: {
    ledgerId: bigint
    metadata: LedgerMetadata
    version: number
    signal: AbortSignal | undefined
  },
): Promise<Versioned<LedgerMetadata> | undefined> {
  const { ledgerId, metadata, version, signal } = options
  try {
    return await ledgers.write(ledgerId, metadata, version, { signal })
  } catch (error) {
    if (QuireError.is(error, 'QUIRE_BAD_VERSION')) return undefined
    throw error
  }
}

function isPassing(error: QuireError): boolean {
  return error.retryable || error.code === 'QUIRE_SESSION_EXPIRED'
}
