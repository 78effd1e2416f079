import type { Io, Logger } from '../io/index.ts'
import { parseQuireUri } from './address.ts'
import { openClient, type Client } from './client.ts'
import { parseConnectOptions, type ConnectOptions } from './options.ts'

/** `connect` on a given outside world. */
export async function connectWith(
  { io, logger }: { io: Io; logger: Logger },
  uri: string,
  options: ConnectOptions = {},
): Promise<Client> {
  const { dir, ...settings } = parseConnectOptions(options)
  const addresses = parseQuireUri(uri)
  const owner = { id: `client-${io.random.uuid()}`, incarnation: '0' }
  return openClient({
    io,
    logger,
    settings,
    addresses,
    stateDirectory: dir,
    owner,
    signal: options.signal,
  })
}
