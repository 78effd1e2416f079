// Connections to ZooKeeper through node-zookeeper-client: it dials, shakes hands, numbers and
// writes requests, and has the records of the protocol. What it cannot be trusted with is replaced
// on each object, never in the library itself, which the application may use as well:
//
// - One object is one connection: it never dials again, so nothing of an earlier one (bytes of half
//   a frame, a session that is gone, calls without an owner) can reach a later one.
// - Answers are cut into frames and read here, whatever error number they carry; what cannot be
//   read ends the connection, never the process.
// - It sends no pings and lays no watches by itself, and no timer of it outlives the connection.

import { messageOf, QuireError } from '../../errors.ts'
import { FrameReader } from '../../wire/frame-reader.ts'
import type {
  ZooKeeperAnswer,
  ZooKeeperConnection,
  ZooKeeperDial,
  ZooKeeperHandler,
  ZooKeeperRequest,
  ZooKeepers,
} from '../zookeeper.ts'
import { requireDependency } from './package-files.ts'
import { eventXid, pingXid, ZooKeeperCodec, zxidBytes } from './zookeeper-codec.ts'
import type { Jute, JuteAcl, JuteRequest } from './zookeeper-codec.ts'

/** Lists of children come in one frame: a million names and more. */
const frameBytesMax = 67_108_864
/** Numbers of requests are ints: they begin anew, as Java's do. */
const xidMax = 2_147_483_647

type Answered = (answer: ZooKeeperAnswer) => void

interface Packet {
  readonly request: JuteRequest
  readonly callback: (error: unknown, answer?: ZooKeeperAnswer) => void
}

/** The library's connection, with the parts that are used or replaced. */
interface Manager {
  servers: readonly { host: string; port: number }[]
  zxid: Buffer
  xid: number
  readonly state: number
  readonly sessionId: Buffer
  readonly sessionPassword: Buffer
  readonly sessionTimeout: number
  readonly pendingQueue: Packet[]
  readonly socket?: { destroy(): void }
  readonly connectTimeoutHandler: NodeJS.Timeout | null
  findNextServer: (found: (server: { host: string; port: number } | undefined) => void) => void
  onSocketData: (chunk: Buffer) => void
  onSocketError: (error: Error) => void
  onSocketClosed: () => void
  onSocketTimeout: () => void
  connect(): void
  queue(request: JuteRequest, callback: Packet['callback']): void
}

interface ManagerClass {
  new (servers: string, options: object, told: (state: number) => void): Manager
  readonly STATES: { CONNECTING: number; CONNECTED: number; SESSION_EXPIRED: number }
  readonly prototype: { onSocketData: (this: Manager, chunk: Buffer) => void }
}

interface Library {
  readonly Manager: ManagerClass
  readonly codec: ZooKeeperCodec
}

export function createZooKeepers(): ZooKeepers {
  const state: { library: Library | undefined } = { library: undefined }
  return {
    connect(dial, handler) {
      state.library ??= load()
      return new LibraryConnection(state.library, dial, handler)
    },
  }
}

function load(): Library {
  try {
    const part = (name: string): unknown => requireDependency(`node-zookeeper-client/lib/${name}`)
    const jute = part('jute/index.js') as Jute
    const codec = new ZooKeeperCodec(jute, part('ACL.js') as JuteAcl)
    return { Manager: part('ConnectionManager.js') as ManagerClass, codec }
  } catch (error) {
    throw new QuireError(
      'QUIRE_UNSUPPORTED',
      `node-zookeeper-client could not be loaded (${messageOf(error)}): ` +
        'install it beside quire-log to use a ZooKeeper',
      { cause: error },
    )
  }
}

class LibraryConnection implements ZooKeeperConnection {
  readonly #library: Library
  readonly #handler: ZooKeeperHandler
  readonly #name: string
  readonly #manager: Manager
  readonly #reader = new FrameReader({ maxFrameBytes: frameBytesMax })
  readonly #asked = new WeakMap<JuteRequest, ZooKeeperRequest['type']>()
  readonly #pings: Answered[] = []
  #error: unknown
  #ended = false

  constructor(library: Library, dial: ZooKeeperDial, handler: ZooKeeperHandler) {
    this.#library = library
    this.#handler = handler
    this.#name = `${dial.address.host}:${dial.address.port}`
    this.#manager = this.#prepared(dial)
    this.#manager.connect()
  }

  send(request: ZooKeeperRequest, answered: Answered): void {
    if (this.#ended) return
    const encoded = this.#library.codec.encode(request)
    this.#asked.set(encoded, request.type)
    if (request.type === 'ping') this.#pings.push(answered)
    if (this.#manager.xid >= xidMax) this.#manager.xid = 1
    this.#manager.queue(encoded, (_error, answer) => answer && answered(answer))
  }

  destroy(): void {
    if (this.#ended) return
    this.#ended = true
    // Its timer of dialling would keep the process alive.
    clearTimeout(this.#manager.connectTimeoutHandler ?? undefined)
    this.#manager.socket?.destroy()
  }

  #prepared({ address, timeoutMs, sessionId, password, lastZxid }: ZooKeeperDial): Manager {
    const { Manager } = this.#library
    const options = {
      sessionTimeout: timeoutMs,
      spinDelay: 0,
      sessionId: zxidBytes(BigInt.asIntN(64, sessionId)),
      sessionPassword: password,
    }
    const manager = new Manager(this.#name, options, (state) => this.#told(state))
    // The library splits names at colons; addresses of IPv6 have many.
    manager.servers = [address]
    manager.zxid = zxidBytes(lastZxid)
    manager.findNextServer = (found) => found(address)
    manager.onSocketTimeout = () => undefined
    manager.onSocketData = (chunk) => this.#data(chunk)
    manager.onSocketError = (error) => {
      this.#error ??= error
    }
    manager.onSocketClosed = () => this.#close(this.#error)
    return manager
  }

  #told(state: number): void {
    if (this.#ended) return
    const { STATES } = this.#library.Manager
    const { sessionId, sessionPassword, sessionTimeout } = this.#manager
    if (state === STATES.CONNECTED) {
      this.#handler.opened({
        sessionId: sessionId.readBigUInt64BE(),
        password: Buffer.from(sessionPassword),
        timeoutMs: sessionTimeout,
      })
    } else if (state === STATES.SESSION_EXPIRED) {
      this.destroy()
      this.#handler.expired()
    }
  }

  #data(chunk: Buffer): void {
    const problem = this.#reader.push(chunk, this.#onFrame)
    if (problem) this.#close(new QuireError(problem.code, problem.message))
  }

  readonly #onFrame = (bytes: Buffer, start: number, end: number): void => {
    if (this.#ended) return
    try {
      this.#frame(bytes.subarray(start, end))
    } catch (error) {
      this.#close(error)
    }
  }

  #frame(frame: Buffer): void {
    const { Manager, codec } = this.#library
    if (this.#manager.state === Manager.STATES.CONNECTING) {
      const whole = Buffer.alloc(4 + frame.length)
      whole.writeInt32BE(frame.length)
      frame.copy(whole, 4)
      Manager.prototype.onSocketData.call(this.#manager, whole)
      return
    }
    const { header, body } = codec.header(frame)
    const zxid = header.zxid.readBigInt64BE()
    if (header.xid === eventXid) this.#event(body)
    else if (header.xid === pingXid) this.#pong({ zxid, error: header.err })
    else this.#answer({ xid: header.xid, answer: { zxid, error: header.err }, body })
  }

  #event(body: Buffer): void {
    const event = this.#library.codec.event(body)
    if (event) this.#handler.event(event)
  }

  #pong(answer: Omit<ZooKeeperAnswer, 'result'>): void {
    this.#pings.shift()?.({ ...answer, result: { type: 'ping' } })
  }

  #answer(from: { xid: number; answer: Omit<ZooKeeperAnswer, 'result'>; body: Buffer }): void {
    const { xid, answer, body } = from
    const packet = this.#manager.pendingQueue.shift()
    const type = packet && this.#asked.get(packet.request)
    if (!packet || !type || packet.request.header.xid !== xid) {
      throw new QuireError('QUIRE_BAD_FRAME', `answer ${xid} belongs to no request`)
    }
    const result = answer.error === 0 ? this.#library.codec.result(type, body) : undefined
    packet.callback(undefined, { ...answer, result })
  }

  #close(cause: unknown): void {
    if (this.#ended) return
    this.destroy()
    const why = cause === undefined ? 'it ended the connection' : messageOf(cause)
    this.#handler.closed(
      new QuireError('QUIRE_CONNECTION_LOST', `no ZooKeeper at ${this.#name}: ${why}`, { cause }),
    )
  }
}
