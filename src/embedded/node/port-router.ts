// One port, two protocols: the first packet of a connection tells which. A metadata connection
// starts with the bytes `QRM1` behind its frame length; everything else is left to the bookie,
// which tells V3 from V2 as BookKeeper does.
import type { Connection } from '../../io/index.ts'
import { maxFrameBytesDefault } from '../../wire/frame-reader.ts'

/** Takes over a connection together with the bytes that were read from it already. */
export type Accept = (connection: Connection, firstChunk: Buffer) => void

export interface PortRoutes {
  readonly metadata: Accept | undefined
  readonly bookie: Accept
  /** Holds the connections that have not said yet what they want: nobody else knows of them. */
  readonly undecided?: Set<Connection>
}

const lengthBytes = 4
const magic = Buffer.from('QRM1', 'latin1')

export function routeConnection(connection: Connection, routes: PortRoutes): void {
  const parts: Buffer[] = []
  const { undecided } = routes
  undecided?.add(connection)
  connection.start({
    data(chunk) {
      parts.push(chunk)
      const bytes = parts.length === 1 ? chunk : Buffer.concat(parts)
      const protocol = protocolOf(bytes)
      if (protocol === undefined) return
      undecided?.delete(connection)
      const accept = routes[protocol]
      if (accept) accept(connection, bytes)
      else connection.destroy()
    },
    drain() {},
    close() {
      undecided?.delete(connection)
    },
  })
}

/** Undefined: too few bytes to tell. Never holds more than eight. */
function protocolOf(bytes: Buffer): 'metadata' | 'bookie' | undefined {
  if (bytes.length < lengthBytes) return undefined
  const length = bytes.readUInt32BE(0)
  // No packet follows such a length: the bookie ends the connection at once.
  if (length === 0 || length + lengthBytes > maxFrameBytesDefault) return 'bookie'
  const known = Math.min(bytes.length - lengthBytes, magic.length)
  for (let index = 0; index < known; index++) {
    if (bytes[lengthBytes + index] !== magic[index]) return 'bookie'
  }
  return known === magic.length ? 'metadata' : undefined
}
