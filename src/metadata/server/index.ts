export { createMetadataServer, type MetadataServer } from './server.ts'
export type { MetadataServerLimits } from './limits.ts'
export { Elsewhere } from './elsewhere.ts'
