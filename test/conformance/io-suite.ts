// What every outside world owes the program, real or simulated.
// A simulator that fails here proves properties of a fiction.
import { join } from 'node:path'
import type { Test } from 'tap'
import { QuireError } from '../../src/errors.ts'
import type { Address, Connection, ConnectionHandler, Io, Thread } from '../../src/io/index.ts'

export interface IoUnderTest {
  readonly io: Io
  /** An empty directory. */
  readonly directory: string
  /** Where to listen: port 0. */
  readonly address: Address
  /** Lets the world go on until the promise is settled. */
  settle<T>(promise: Promise<T>): Promise<T>
}

/** The threads of `io` run `test/support/thread-program.ts`, whatever program is named. */
export type IoFactory = (t: Test) => Promise<IoUnderTest> | IoUnderTest

type Body = (t: Test, world: IoUnderTest) => Promise<void>

export function ioSuite(t: Test, factory: IoFactory): void {
  const all = { ...fileTests, ...networkTests, ...timeTests, ...journalTests, ...threadTests }
  for (const [name, body] of Object.entries<Body>(all)) {
    t.test(name, async (t) => {
      const world = await factory(t)
      await world.settle(body(t, world))
    })
  }
}

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text))
const text = (data: Uint8Array): string => Buffer.from(data).toString()

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'no error'
  } catch (error) {
    return QuireError.is(error) ? error.code : `not ours: ${String(error)}`
  }
}

const fileTests: Record<string, Body> = {
  'a file gives back what was written, and no more than it has': async (t, { io, directory }) => {
    const file = await io.files.open(join(directory, 'a'), 'create')
    await file.write(bytes('hello world'), 0)
    await file.write(bytes('there'), 6)
    t.equal(await file.bytes(), 11)
    const into = new Uint8Array(20)
    t.equal(await file.read(into, 6), 5, 'a read at the end is short')
    t.equal(text(into.subarray(0, 5)), 'there')
    t.equal(await file.read(into, 11), 0, 'and empty behind it')
    await file.write(bytes('x'), 8192)
    const gap = new Uint8Array(8181)
    t.equal(await file.read(gap, 11), 8181)
    t.ok(
      gap.every((byte) => byte === 0),
      'what was never written is zeros',
    )
    await file.datasync()
    await file.truncate(5)
    await file.sync()
    t.equal(await file.bytes(), 5)
    await file.close()
    t.equal(await codeOf(file.read(into, 0)), 'QUIRE_IO', 'a closed file refuses')
  },

  'modes of opening': async (t, { io, directory }) => {
    const path = join(directory, 'a')
    t.equal(await codeOf(io.files.open(path, 'read')), 'QUIRE_DIRECTORY_MISSING')
    t.equal(await codeOf(io.files.open(path, 'write')), 'QUIRE_DIRECTORY_MISSING')
    await (await io.files.open(path, 'create')).close()
    t.equal(await codeOf(io.files.open(path, 'create')), 'QUIRE_IO', 'a name is created once')
    const reader = await io.files.open(path, 'read')
    t.equal(await codeOf(reader.write(bytes('x'), 0)), 'QUIRE_IO')
    await reader.close()
    const lost = join(directory, 'no', 'such', 'file')
    t.equal(await codeOf(io.files.open(lost, 'create')), 'QUIRE_DIRECTORY_MISSING')
  },

  'names are listed in order, renamed over others, and removed': async (t, { io, directory }) => {
    const { files } = io
    for (const name of ['b', 'B', 'a10', 'a9']) {
      const file = await files.open(join(directory, name), 'create')
      await file.write(bytes(name), 0)
      await file.close()
    }
    t.same(await files.list(directory), ['B', 'a10', 'a9', 'b'])
    await files.rename(join(directory, 'B'), join(directory, 'b'))
    await files.remove(join(directory, 'a9'))
    await files.remove(join(directory, 'a9'))
    await files.syncDirectory(directory)
    t.same(await files.list(directory), ['a10', 'b'])
    const file = await files.open(join(directory, 'b'), 'read')
    const into = new Uint8Array(1)
    await file.read(into, 0)
    t.equal(text(into), 'B', 'a rename replaces')
    await file.close()
    t.equal(
      await codeOf(files.rename(join(directory, 'x'), join(directory, 'y'))),
      'QUIRE_DIRECTORY_MISSING',
    )
    t.equal(await codeOf(files.list(join(directory, 'x'))), 'QUIRE_DIRECTORY_MISSING')
  },

  'a file that is open stays what it is when its name goes to another': async (t, world) => {
    const { files } = world.io
    const [path, other] = [join(world.directory, 'a'), join(world.directory, 'a.new')]
    const old = await files.open(path, 'create')
    await old.write(bytes('old'), 0)
    const fresh = await files.open(other, 'create')
    await fresh.write(bytes('fresh'), 0)
    await fresh.sync()
    await files.rename(other, path)
    await files.syncDirectory(world.directory)
    await old.write(bytes('!'), 3)
    await old.datasync()
    const into = new Uint8Array(9)
    t.equal(text(into.subarray(0, await old.read(into, 0))), 'old!')
    t.equal(text(into.subarray(0, await fresh.read(into, 0))), 'fresh')
    t.match(await files.facts(path), { kind: 'file', bytes: 5 })
    await files.remove(path)
    t.equal(text(into.subarray(0, await fresh.read(into, 0))), 'fresh', 'nor when it is removed')
    t.equal(await codeOf(files.open(path, 'read')), 'QUIRE_DIRECTORY_MISSING')
    await old.close()
    await fresh.close()
  },

  'directories are made with their parents': async (t, { io, directory }) => {
    const { files } = io
    const deep = join(directory, 'one', 'two', 'three')
    await files.makeDirectory(deep)
    await files.makeDirectory(deep)
    t.match(await files.facts(deep), { kind: 'directory' })
    t.equal(await files.facts(join(deep, 'x')), undefined)
    const file = await files.open(join(deep, 'x'), 'create')
    await file.write(new Uint8Array(7), 0)
    await file.close()
    t.same(await files.facts(join(deep, 'x')), { kind: 'file', bytes: 7 })
    t.not(await codeOf(files.makeDirectory(join(deep, 'x'))), 'no error', 'not over a file')
    t.equal(await codeOf(files.syncDirectory(join(deep, 'y'))), 'QUIRE_DIRECTORY_MISSING')
    const space = await files.space(deep)
    t.ok(space.freeBytes > 0 && space.freeBytes <= space.totalBytes)
  },

  'a directory has one holder': async (t, { io, directory }) => {
    const { files } = io
    const lock = await files.lock(directory)
    t.equal(await codeOf(files.lock(directory)), 'QUIRE_DIRECTORY_IN_USE')
    await lock.release()
    const again = await files.lock(directory)
    files.poison(directory)
    await again.release()
    t.equal(await codeOf(files.lock(directory)), 'QUIRE_DIRECTORY_POISONED')
    t.equal(await codeOf(files.lock(join(directory, 'x'))), 'QUIRE_DIRECTORY_MISSING')
  },
}

/** A handler that remembers. */
class Ear implements ConnectionHandler {
  readonly closed: Promise<Error | undefined>
  closes = 0
  drains = 0
  readonly #close: (error: Error | undefined) => void
  readonly #chunks: Buffer[] = []
  #bytes = 0
  #wanted: { bytes: number; resolve: () => void } | undefined

  constructor() {
    const { promise, resolve } = Promise.withResolvers<Error | undefined>()
    this.closed = promise
    this.#close = resolve
  }

  data(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#wanted !== undefined && this.#bytes >= this.#wanted.bytes) this.#wanted.resolve()
  }

  drain(): void {
    this.drains += 1
  }

  close(error: Error | undefined): void {
    this.closes += 1
    this.#close(error)
  }

  get heard(): Buffer {
    return Buffer.concat(this.#chunks)
  }

  hears(count: number): Promise<void> {
    if (this.#bytes >= count) return Promise.resolve()
    return new Promise((resolve) => (this.#wanted = { bytes: count, resolve }))
  }
}

interface Line {
  readonly near: Connection
  readonly far: Connection
  readonly close: () => Promise<void>
}

async function line({ io, address }: IoUnderTest): Promise<Line> {
  const { promise, resolve } = Promise.withResolvers<Connection>()
  const listener = await io.network.listen(address, resolve)
  const near = await io.network.connect(listener.address, { timeoutMs: 5000 })
  const far = await promise
  return { near, far, close: () => listener.close() }
}

const numbered = (count: number): Buffer => {
  const out = Buffer.alloc(count)
  for (let at = 0; at < count; at++) out[at] = (at * 7 + (at >> 8)) & 0xff
  return out
}

const networkTests: Record<string, Body> = {
  'bytes arrive in order, in both directions, before the end': async (t, world) => {
    const { near, far, close } = await line(world)
    const here = new Ear()
    const there = new Ear()
    const sent = numbered(300_000)
    let flushed = 0
    near.start(here)
    for (let at = 0; at < sent.length; at += 30_000) {
      near.write(sent.subarray(at, at + 30_000), (error) => (flushed += error ? 100 : 1))
    }
    near.end()
    far.write(Buffer.from('answer'))
    far.start(there)
    t.equal(await there.closed, undefined, 'an end is no error')
    t.equal(await here.closed, undefined, 'the other side ends as well')
    t.ok(there.heard.equals(sent), 'all of it came before the end')
    t.equal(here.heard.toString(), 'answer')
    t.equal(flushed, 10, 'each write was told once')
    t.same([here.closes, there.closes], [1, 1])
    await close()
  },

  'nothing is delivered before start, and another handler can take over': async (t, world) => {
    const { near, far, close } = await line(world)
    const [first, second] = [new Ear(), new Ear()]
    near.start(new Ear())
    near.write(Buffer.from('one'))
    far.start(first)
    await first.hears(3)
    far.start(second)
    near.write(Buffer.from('two'))
    await second.hears(3)
    t.same([first.heard.toString(), second.heard.toString()], ['one', 'two'])
    near.destroy()
    await second.closed
    t.same([first.closes, second.closes], [0, 1])
    await close()
  },

  'a reader that does not read pushes back': async (t, world) => {
    const { near, far, close } = await line(world)
    const [here, there] = [new Ear(), new Ear()]
    near.start(here)
    far.start(there)
    far.pause()
    const block = numbered(256 * 1024)
    let blocks = 0
    let hasRoom = true
    // More than any system keeps for a connection.
    while (blocks < 256 && (hasRoom || blocks < 128)) {
      hasRoom = near.write(block)
      blocks += 1
    }
    t.equal(hasRoom, false, 'write says to wait')
    t.ok(near.queuedBytes > 0)
    t.equal(here.drains, 0)
    far.resume()
    await there.hears(blocks * block.length)
    t.ok(there.heard.subarray(-block.length).equals(block))
    near.end()
    await there.closed
    t.ok(here.drains > 0, 'and when to go on')
    t.equal(near.queuedBytes, 0)
    await close()
  },

  'a connection that is destroyed tells everybody once': async (t, world) => {
    const { near, far, close } = await line(world)
    const [here, there] = [new Ear(), new Ear()]
    near.start(here)
    far.start(there)
    far.pause()
    const outcomes: (Error | null | undefined)[] = []
    const block = numbered(1024 * 1024)
    for (let n = 0; n < 32; n++) near.write(block, (error) => outcomes.push(error))
    const reason = new Error('enough')
    near.destroy(reason)
    t.equal(await here.closed, reason, 'the reason is kept')
    t.equal(outcomes.length, 32, 'every write was answered')
    t.ok(outcomes.at(-1) instanceof Error, 'what was not sent failed')
    const late = await new Promise((resolve) => near.write(block, resolve))
    t.ok(late instanceof Error, 'and what comes later')
    far.resume()
    await there.closed
    t.same([here.closes, there.closes], [1, 1])
    await close()
  },

  'connecting fails with a code': async (t, world) => {
    const { network } = world.io
    const listener = await network.listen(world.address, () => undefined)
    t.equal(await codeOf(network.listen(listener.address, () => undefined)), 'QUIRE_ADDRESS_IN_USE')
    const stopped = new AbortController()
    stopped.abort(new Error('no more'))
    const options = { timeoutMs: 5000, signal: stopped.signal }
    t.equal(await codeOf(network.connect(listener.address, options)), 'QUIRE_ABORTED')
    await listener.close()
    const refused = network.connect(listener.address, { timeoutMs: 5000 })
    t.equal(await codeOf(refused), 'QUIRE_CONNECTION_LOST')
    const live = new AbortController()
    const waiting = network.connect(listener.address, { timeoutMs: 5000, signal: live.signal })
    live.abort()
    t.equal(await codeOf(waiting), 'QUIRE_ABORTED')
  },
}

const timeTests: Record<string, Body> = {
  'timers keep their order, and none comes after it was cancelled': async (t, { io }) => {
    const seen: string[] = []
    const startMs = io.clock.monotonicMs()
    await new Promise<void>((resolve) => {
      io.timers.after(30, () => {
        seen.push('third')
        resolve()
      })
      io.timers.after(10, () => seen.push('second'))
      io.timers.after(5, () => seen.push('never')).cancel()
      io.timers.soon(() => seen.push('soon 1'))
      io.timers.soon(() => seen.push('soon 2'))
      seen.push('first')
    })
    t.same(seen, ['first', 'soon 1', 'soon 2', 'second', 'third'])
    t.ok(io.clock.monotonicMs() >= startMs + 29, 'time has passed')
    t.ok(io.clock.wallMs() > 1_700_000_000_000)
  },

  'random numbers, bytes and ids': async (t, { io }) => {
    const { random } = io
    t.equal(random.bytes(33).length, 33)
    t.notSame(random.bytes(16), random.bytes(16))
    const drawn = Array.from({ length: 200 }, () => random.below(3))
    t.same(new Set(drawn), new Set([0, 1, 2]))
    const uuid = /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/
    t.match(random.uuid(), uuid)
    t.not(random.uuid(), random.uuid())
  },
}

const segmentBytes = 64 * 1024

const journalTests: Record<string, Body> = {
  'a prepared file is zeros, and is left alone when it is there': async (t, { io, directory }) => {
    const path = join(directory, 'journal')
    const device = await io.journals.open()
    await device.prepare(path, segmentBytes)
    t.same(await io.files.facts(path), { kind: 'file', bytes: segmentBytes })
    t.same(await io.files.list(directory), ['journal'], 'nothing is left beside it')
    const file = await io.files.open(path, 'write')
    const into = new Uint8Array(segmentBytes)
    await file.read(into, 0)
    t.ok(into.every((byte) => byte === 0))
    await file.write(bytes('mine'), 100)
    await device.prepare(path, segmentBytes)
    await file.read(into, 0)
    t.equal(text(into.subarray(100, 104)), 'mine')
    await file.close()
    await device.close()
  },

  'commits complete in order, later than the call, with what was in memory': async (t, world) => {
    const { io, directory } = world
    const path = join(directory, 'journal')
    const device = await io.journals.open()
    await device.prepare(path, segmentBytes)
    const image = device.allocate(segmentBytes)
    const journal = await device.open(path, image)
    image.set(numbered(segmentBytes))
    const order: number[] = []
    const commits = Array.from({ length: 200 }, (_, index) => {
      return new Promise<void>((resolve, reject) => {
        device.commit(journal, index * 100, index * 100 + 100, (error) => {
          order.push(index)
          if (error === undefined) resolve()
          else reject(error)
        })
      })
    })
    t.same(order, [], 'never within the call')
    await Promise.all(commits)
    t.same(
      order,
      order.map((_, index) => index),
    )
    const file = await io.files.open(path, 'read')
    const into = new Uint8Array(20_001)
    await file.read(into, 0)
    t.ok(Buffer.from(into.subarray(0, 20_000)).equals(numbered(20_000)))
    t.equal(into[20_000], 0, 'nothing beside the spans was written')
    await file.close()
    await device.closeFile(journal)
    await device.close()
  },

  'a journal that is missing is said to be; a closed device refuses': async (t, world) => {
    const { io, directory } = world
    const device = await io.journals.open()
    const image = device.allocate(100)
    const missing = device.open(join(directory, 'journal'), image)
    t.equal(await codeOf(missing), 'QUIRE_DIRECTORY_MISSING')
    await device.prepare(join(directory, 'journal'), 100)
    const journal = await device.open(join(directory, 'journal'), image)
    let last: unknown
    device.commit(journal, 0, 100, (error) => (last = error ?? 'done'))
    await device.close()
    t.equal(last, 'done', 'closing waits for what was committed')
    const refused = new Promise((resolve) => device.commit(journal, 0, 1, resolve))
    t.ok(QuireError.is(await refused, 'QUIRE_CLOSED'))
  },
}

function hear(thread: Thread, count: number): Promise<unknown[]> {
  const heard: unknown[] = []
  return new Promise((resolve) => {
    thread.receive((message) => {
      heard.push(message)
      if (heard.length === count) resolve(heard)
    })
  })
}

const threadTests: Record<string, Body> = {
  'a thread gets its data first, then messages as they were when posted': async (t, { io }) => {
    const thread = io.threads.start('embedded/node-thread', { kind: 'echo', value: 'data' })
    const changing = { kind: 'echo', value: [1] }
    thread.post(changing)
    changing.value.push(2)
    thread.post(changing)
    const moved = new Uint8Array([1, 2, 3])
    thread.post({ kind: 'echo', value: moved }, [moved.buffer])
    t.equal(moved.length, 0, 'what is transferred is gone')
    const heard = await hear(thread, 4)
    t.same(heard, ['data', [1], [1, 2], new Uint8Array([1, 2, 3])])
    await thread.terminate()
    t.equal(await thread.ended, undefined)
    thread.post({ kind: 'echo', value: 'too late' })
  },

  'an error that nobody caught ends a thread, and is told': async (t, { io }) => {
    const thread = io.threads.start('embedded/node-thread', { kind: 'throw', value: 'oh no' })
    const error = await thread.ended
    t.match(error?.message, /oh no/)
  },

  'a lock holds against threads, and what one poisoned is so for all': async (t, world) => {
    const { io, directory } = world
    const lock = await io.files.lock(directory)
    const thread = io.threads.start('embedded/node-thread', { kind: 'lock', value: directory })
    t.same(await hear(thread, 1), ['QUIRE_DIRECTORY_IN_USE'])
    thread.post({ kind: 'poison', value: directory })
    t.same(await hear(thread, 1), [directory])
    await thread.terminate()
    await lock.release()
    t.equal(await codeOf(io.files.lock(directory)), 'QUIRE_DIRECTORY_POISONED')
  },
}
