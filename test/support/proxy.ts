// A TCP relay in front of a node that can fall silent, as a network does: connections stay, and
// nothing moves on them.
import net from 'node:net'

export interface Proxy {
  /** HOST:PORT to connect to. */
  readonly listen: string
  /** Nothing is forwarded any more, in either direction. */
  silence(): void
  /** What waited goes on. */
  resume(): void
  /** Ends every connection. */
  cut(): void
  close(): Promise<void>
}

export async function startProxy(target: string): Promise<Proxy> {
  const [host = '', port = ''] = target.split(':')
  const sockets = new Set<net.Socket>()
  const state = { silent: false }
  const join = (from: net.Socket, to: net.Socket): void => {
    sockets.add(from)
    from.on('data', (chunk: Buffer) => to.write(chunk))
    from.on('end', () => to.end())
    from.on('error', () => to.destroy())
    from.on('close', () => {
      sockets.delete(from)
      to.destroy()
    })
    if (state.silent) from.pause()
  }
  const server = net.createServer((client) => {
    const node = net.connect({ host, port: Number(port), noDelay: true })
    join(client, node)
    join(node, client)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a port was asked for')
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    listen: `127.0.0.1:${address.port}`,
    silence() {
      state.silent = true
      for (const socket of sockets) socket.pause()
    },
    resume() {
      state.silent = false
      for (const socket of sockets) socket.resume()
    },
    cut,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      cut()
      await closed
    },
  }
}
