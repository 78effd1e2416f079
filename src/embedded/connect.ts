import type { Io, Logger } from '../io/index.ts'
import { openClient, type Client } from './client.ts'
import { parseMetadataUri } from './metadata-place.ts'
import { parseConnectOptions, type ConnectOptions } from './options.ts'

/** `connect` on a given outside world. */
export async function connectWith(
  { io, logger }: { io: Io; logger: Logger },
  uri: string,
  options: ConnectOptions = {},
): Promise<Client> {
  const { dir, ...settings } = parseConnectOptions(options)
  const metadata = parseMetadataUri(uri)
  const owner = { id: `client-${io.random.uuid()}`, incarnation: '0' }
  return openClient({
    io,
    logger,
    settings,
    metadata,
    stateDirectory: dir,
    owner,
    signal: options.signal,
  })
}
