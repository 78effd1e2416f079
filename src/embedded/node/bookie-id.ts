// The id of a new bookie that nobody named.
import { QuireError } from '../../errors.ts'
import type { Io } from '../../io/index.ts'
import { formatAddress } from '../../io/address.ts'
import { parseAddress } from '../address.ts'
import { parseMetadataUri } from '../metadata-place.ts'
import type { NodeSettings } from '../options.ts'

/**
 * Random among our own. In a ZooKeeper the address, as BookKeeper's bookies have it: old clients
 * connect to the id itself. QUIRE_BAD_OPTION when the address is none that others could use.
 */
export function newBookieId(
  { metadata, listen }: Pick<NodeSettings, 'metadata' | 'listen'>,
  random: Io['random'],
): string {
  if (metadata === undefined || parseMetadataUri(metadata).type === 'quire') {
    return `quire-${random.bytes(8).toString('hex')}`
  }
  const address = parseAddress(listen)
  const isPlace = address.port !== 0 && !address.host.includes(':') && address.host !== '0.0.0.0'
  if (isPlace) return formatAddress(address)
  throw new QuireError(
    'QUIRE_BAD_OPTION',
    `${listen} cannot be the id of a bookie: listen on one address with a port of its own, ` +
      'or name the bookie with bookieId',
    { facts: { option: 'listen' } },
  )
}
