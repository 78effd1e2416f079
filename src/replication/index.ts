export type {
  CreateLedgerOptions,
  DigestType,
  LedgerClient,
  LedgerEntry,
  LedgerReader,
  LedgerWriter,
  OpenLedgerOptions,
} from './api.ts'
export { createLedgerClient } from './ledger-client.ts'
export type { LedgerClientParts } from './ledger-client.ts'
export type { LedgerClientOptions } from './parts.ts'
