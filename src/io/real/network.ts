// TCP by Node's sockets: no delay, keep-alive, no copies. Whatever goes wrong ends in one `close`
// of the handler.

import net from 'node:net'
import { abortedError, type QuireError } from '../../errors.ts'
import type { Address, Connection, ConnectionHandler, Listener, Network } from '../network.ts'
import {
  connectError,
  endedError,
  listenError,
  lostError,
  timeoutError,
} from '../network-errors.ts'

/** Bytes that a connection queues before `write` says to wait. */
const highWaterBytes = 256 * 1024
const keepAliveMs = 10_000

/** How long a connection that this side ended waits for the peer to end it too. */
const lingerMs = 5_000

const socketOptions = { noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs }

export const network: Network = { listen, connect }

function listen(address: Address, accept: (connection: Connection) => void): Promise<Listener> {
  const options = { ...socketOptions, highWaterMark: highWaterBytes, pauseOnConnect: true }
  const server = net.createServer(options, (socket) => {
    accept(new SocketConnection(socket, remoteOf(socket, address)))
  })
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(listenError(error, address)))
    server.listen({ host: address.host, port: address.port }, () => {
      server.removeAllListeners('error')
      // A connection that could not be accepted (no descriptor left) is lost to its peer, who sees
      // that; the listener lives on.
      server.on('error', () => undefined)
      resolve(new ServerListener(server, address))
    })
  })
}

class ServerListener implements Listener {
  readonly address: Address
  readonly #server: net.Server

  constructor(server: net.Server, asked: Address) {
    const bound = server.address()
    const port = bound !== null && typeof bound === 'object' ? bound.port : asked.port
    this.address = { host: asked.host, port }
    this.#server = server
  }

  /** Stops accepting; connections that were accepted are their owner's. */
  async close(): Promise<void> {
    this.#server.close()
  }
}

function connect(
  address: Address,
  options: { timeoutMs: number; signal?: AbortSignal | undefined },
): Promise<Connection> {
  const { timeoutMs, signal } = options
  if (signal?.aborted) return Promise.reject(abortedError(signal))
  return new Promise((resolve, reject) => {
    const socket = new net.Socket({
      writableHighWaterMark: highWaterBytes,
    } as net.SocketConstructorOpts)
    const fail = (error: QuireError) => {
      settle()
      socket.on('error', () => undefined)
      socket.destroy()
      reject(error)
    }
    const onError = (error: Error) => fail(connectError(error, address))
    const onAbort = () => fail(abortedError(signal as AbortSignal))
    const timeout = setTimeout(() => fail(timeoutError(address, timeoutMs)), timeoutMs)
    const settle = () => {
      clearTimeout(timeout)
      socket.off('error', onError)
      signal?.removeEventListener('abort', onAbort)
    }
    socket.once('error', onError)
    signal?.addEventListener('abort', onAbort, { once: true })
    socket.connect({ host: address.host, port: address.port, ...socketOptions }, () => {
      settle()
      resolve(new SocketConnection(socket, address))
    })
  })
}

class SocketConnection implements Connection {
  readonly remote: Address
  readonly #socket: net.Socket
  #handler: ConnectionHandler | undefined
  #error: Error | undefined
  #closed = false

  constructor(socket: net.Socket, remote: Address) {
    this.#socket = socket
    this.remote = remote
    socket.on('error', (error) => (this.#error = lostError(error, remote)))
    socket.on('close', () => {
      this.#closed = true
      this.#handler?.close(this.#error)
    })
  }

  get queuedBytes(): number {
    return this.#socket.writableLength
  }

  start(handler: ConnectionHandler): void {
    const isTakeover = this.#handler !== undefined
    this.#handler = handler
    if (isTakeover) return
    if (this.#closed) {
      setImmediate(() => this.#handler?.close(this.#error))
      return
    }
    this.#socket.on('data', (chunk: Buffer) => this.#handler?.data(chunk))
    this.#socket.on('drain', () => this.#handler?.drain())
    this.#socket.resume()
  }

  write(bytes: Uint8Array, flushed?: (error?: Error | null) => void): boolean {
    const socket = this.#socket
    if (!socket.writable) {
      if (flushed !== undefined) setImmediate(flushed, this.#error ?? endedError(this.remote))
      return false
    }
    return socket.write(bytes, flushed)
  }

  cork(): void {
    this.#socket.cork()
  }

  uncork(): void {
    this.#socket.uncork()
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  end(): void {
    const socket = this.#socket
    socket.end()
    // A peer that hangs would keep it, and the process, for ever.
    const linger = setTimeout(() => socket.destroy(), lingerMs)
    linger.unref()
    socket.once('close', () => clearTimeout(linger))
  }

  destroy(error?: Error): void {
    this.#socket.destroy(error)
  }
}

function remoteOf(socket: net.Socket, listener: Address): Address {
  return { host: socket.remoteAddress ?? listener.host, port: socket.remotePort ?? 0 }
}
