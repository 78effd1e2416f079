export { createMetadataServer, type MetadataServer, type MetadataServerOptions } from './server.ts'
export type { MetadataServerLimits } from './limits.ts'
