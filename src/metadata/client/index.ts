export { connectMetadata, type ConnectMetadataOptions } from './store.ts'
