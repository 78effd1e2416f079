// open(): starts a node on a thread of its own and a client of it on this one.
import { abortedError, QuireError } from '../errors.ts'
import { createInlineThreads, type Io, type Logger, type Thread } from '../io/index.ts'
import { isLoopback, parseAddress } from './address.ts'
import { openClient, type Client } from './client.ts'
import { HandedPort } from './handed-connection.ts'
import { parseMetadataUri, quirePlace, type MetadataPlace } from './metadata-place.ts'
import { fromPlain, type FromNode, type NodeStats, type ToNode } from './node/messages.ts'
import { parseOpenOptions, type NodeSettings, type OpenOptions } from './options.ts'

/** A node in this process, and a client of it. */
export interface Node extends Omit<Client, 'close'> {
  /** The bookie's id: generated once, kept on the disk. */
  readonly id: string
  /** `HOST:PORT` as bound: what others connect to. */
  readonly listen: string
  /**
   * Resolves, never rejects, if the node ends without being closed: with the error that ended it,
   * for example QUIRE_FSYNC_FAILED. Nothing pending was answered as done. The process decides what
   * to do; `quire start` exits with 1.
   */
  readonly failed: Promise<QuireError>
  stats(): Promise<NodeStats>
  /** Ends the client, then the node, in order. Resolves to what it did. */
  close(): Promise<NodeStats>
}

export interface Outside {
  readonly io: Io
  readonly logger: Logger
}

/** `open` on a given outside world. */
export async function openWith({ io, logger }: Outside, options: OpenOptions): Promise<Node> {
  const settings = parseOpenOptions(options)
  checkListen(settings)
  const { signal } = options
  if (signal?.aborted) throw abortedError(signal)
  const running = new RunningNode(await startThread(io, settings), { io, logger, settings })
  const onAbort = (): void => running.abandon(signal)
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    const ready = await running.ready
    const client = await openClient({
      io,
      logger,
      settings,
      metadata: running.metadata(ready.listen),
      stateDirectory: `${settings.dir}/state`,
      owner: { id: ready.id, incarnation: String(ready.incarnation) },
      handed: running.handed,
      signal,
    })
    return running.handle(ready, client)
  } catch (error) {
    await running.end()
    throw signal?.aborted ? abortedError(signal) : error
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}

function checkListen(settings: NodeSettings): void {
  const address = parseAddress(settings.listen)
  if (isLoopback(address) || settings.secret !== undefined || settings.insecure) return
  throw new QuireError(
    'QUIRE_BAD_OPTION',
    `${settings.listen} can be reached from other machines: give a secret, as the option or in ` +
      'QUIRE_SECRET, or say insecure: true if the network keeps strangers out',
    { facts: { option: 'secret' } },
  )
}

async function startThread(io: Io, settings: NodeSettings): Promise<Thread> {
  const start: ToNode = { type: 'start', settings }
  if (settings.threads === 'worker') return io.threads.start('embedded/node-thread', start)
  const { run } = await import('./node-thread.ts')
  const threads = createInlineThreads({
    programs: { 'embedded/node-thread': run },
    ioFor: () => io,
    deliver: (_lane, call) => io.timers.soon(call),
  })
  return threads.start('embedded/node-thread', start)
}

type Ready = Extract<FromNode, { type: 'ready' }>

class RunningNode {
  readonly ready: Promise<Ready>
  /** Connections to the node's port that this thread serves. */
  readonly handed: HandedPort
  readonly #thread: Thread
  readonly #parts: Outside & { settings: NodeSettings }
  readonly #failed = Promise.withResolvers<QuireError>()
  readonly #closed = Promise.withResolvers<NodeStats | undefined>()
  readonly #stats: ((stats: NodeStats) => void)[] = []
  readonly #rejectReady: (error: QuireError) => void
  #ending = false

  constructor(thread: Thread, parts: Outside & { settings: NodeSettings }) {
    this.#thread = thread
    this.#parts = parts
    this.handed = new HandedPort((event) => this.#post({ type: 'handed', event }))
    const { promise, resolve, reject } = Promise.withResolvers<Ready>()
    this.ready = promise
    this.ready.catch(() => undefined) // The opener awaits it; a late failure is told by `failed`.
    this.#rejectReady = reject
    thread.receive((message) => this.#receive(asFromNode(message), resolve))
    void thread.ended.then((error) => this.#threadEnded(error))
  }

  /** The client of a node goes to the node itself, and for its metadata to where that is. */
  metadata(listen: string): MetadataPlace {
    const { metadata, peers } = this.#parts.settings
    if (metadata !== undefined) return parseMetadataUri(metadata)
    return quirePlace((peers ?? [listen]).map(parseAddress))
  }

  handle(ready: Ready, client: Client): Node {
    const close = async (): Promise<NodeStats> => {
      try {
        await client.close()
      } catch (error) {
        // The node ends all the same: what the client could not finish is no reason to keep it.
        await this.end()
        throw error
      }
      return this.end()
    }
    return {
      ...client,
      id: ready.id,
      listen: ready.listen,
      failed: this.#failed.promise,
      stats: () => this.#askStats(),
      close,
      [Symbol.asyncDispose]: async () => void (await close()),
    }
  }

  abandon(signal: AbortSignal | undefined): void {
    if (signal) this.#rejectReady(abortedError(signal))
  }

  /** Ends the node in order, once; after a failure there is nothing left to end. */
  async end(): Promise<NodeStats> {
    if (!this.#ending) this.#post({ type: 'close' })
    this.#ending = true
    const stats = await Promise.race([
      this.#closed.promise,
      this.#thread.ended.then(() => undefined),
    ])
    await this.#thread.terminate()
    return stats ?? noStats
  }

  #askStats(): Promise<NodeStats> {
    return new Promise((resolve, reject) => {
      this.#stats.push(resolve)
      void this.#thread.ended.then(() =>
        reject(new QuireError('QUIRE_CLOSED', 'the node has ended')),
      )
      this.#post({ type: 'stats' })
    })
  }

  #post(message: ToNode): void {
    this.#thread.post(message)
  }

  #receive(message: FromNode, ready: (ready: Ready) => void): void {
    switch (message.type) {
      case 'ready':
        ready(message)
        return
      case 'failed':
        this.#fail(fromPlain(message.error))
        return
      case 'stats':
        this.#stats.shift()?.(message.stats)
        return
      case 'closed':
        this.#closed.resolve(message.stats)
        return
      case 'handed':
        this.handed.receive(message.event)
        return
      case 'log':
        this.#parts.logger[message.level](message.facts, message.message)
    }
  }

  /**
   * An fsync error ends this process's claim on the directory, whatever thread asks for it again.
   */
  #fail(error: QuireError): void {
    const { io, logger, settings } = this.#parts
    if (error.code === 'QUIRE_FSYNC_FAILED') {
      for (const directory of [settings.dir, settings.journal]) poison(io, directory, logger)
    }
    this.#rejectReady(error)
    this.#failed.resolve(error)
    this.#closed.resolve(undefined)
  }

  #threadEnded(error: Error | undefined): void {
    this.handed.close()
    if (this.#ending) return
    this.#fail(
      QuireError.is(error)
        ? error
        : new QuireError(
            'QUIRE_CLOSED',
            `the node's thread ended: ${error?.message ?? 'no reason'}`,
            {
              cause: error,
            },
          ),
    )
  }
}

function poison(io: Io, directory: string, logger: Logger): void {
  try {
    io.files.poison(directory)
  } catch (error) {
    // The directory is gone altogether: there is nothing left to open.
    logger.warn({ error, directory }, 'the directory could not be marked after an fsync error')
  }
}

const noStats: NodeStats = { uptimeMs: 0, adds: 0, reads: 0, entries: 0, ledgers: 0, fsyncs: 0 }

function asFromNode(message: unknown): FromNode {
  if (isFromNode(message)) return message
  throw new QuireError('QUIRE_INVARIANT', 'broken invariant: the node said something unknown')
}

function isFromNode(message: unknown): message is FromNode {
  return typeof message === 'object' && message !== null && 'type' in message
}
