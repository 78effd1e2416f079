// The public names of the bookie: its journal is opened by the composition root and handed to it.
export {
  type Bookie,
  bookieLimits,
  type BookieLimits,
  type BookieParts,
  type BookieStats,
  createBookie,
} from './bookie.ts'
export type { Collected, CollectOptions, LiveLedgers } from './collector.ts'
export {
  type BookieIdentity,
  type BookieStore,
  type BookieStoreOptions,
  type KnownIdentity,
  openBookieStore,
} from './identity/open.ts'
export { type BookieSurvey, surveyBookie } from './survey.ts'
