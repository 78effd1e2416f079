// Whatever strangers send to a node's port: their connection ends, memory stays bounded, and others
// notice nothing.
import { randomBytes } from 'node:crypto'
import net from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { open, type Node } from '../../src/index.ts'
import { quiet } from '../support/quiet.ts'

// On this thread, so that its memory can be measured.
const node: Node = await open({ dir: join(t.testdir(), 'node'), threads: 'inline', logger: quiet })

function dial(): net.Socket {
  const [host = '', port = ''] = node.listen.split(':')
  const socket = net.connect({ host, port: Number(port) })
  socket.on('error', () => socket.destroy())
  return socket
}

const ended = (socket: net.Socket): Promise<void> =>
  new Promise((resolve) => {
    socket.on('close', () => resolve())
    socket.resume()
  })

/** An honest client beside it all. */
async function honest(t: Test): Promise<void> {
  const log = await node.log('honest')
  const writer = await log.acquire()
  const position = await writer.append(Buffer.from('still here'))
  for await (const record of log.read({ from: position }))
    t.equal(record.bytes.toString(), 'still here')
  await writer.close()
}

const length = (bytes: number): Buffer => {
  const prefix = Buffer.alloc(4)
  prefix.writeUInt32BE(bytes)
  return prefix
}

t.test('frames that cannot be', async (t) => {
  const frames: Record<string, Buffer> = {
    'a length of 4 GiB': length(0xffff_ffff),
    'a frame just too long': length(5_242_877),
    'an empty frame': length(0),
    'an unknown V2 operation': Buffer.concat([length(4), Buffer.from('02090000', 'hex')]),
    'a V3 message cut short': Buffer.concat([length(6), Buffer.from('0a0608031002', 'hex')]),
    HTTP: Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    'a metadata greeting of nonsense': Buffer.concat([
      length(12),
      Buffer.from('QRM1\xff\xff\xff\xff\xff\xff\xff\xff', 'latin1'),
    ]),
    'a metadata greeting that is too long': Buffer.concat([length(1 << 20), Buffer.from('QRM1')]),
  }
  for (const [name, bytes] of Object.entries(frames)) {
    const socket = dial()
    const closed = ended(socket)
    socket.write(bytes)
    await closed
    t.pass(`${name}: the connection was ended`)
  }
  await honest(t)
})

t.test('random bytes, many connections, sudden closes', async (t) => {
  for (let round = 0; round < 200; round++) {
    const socket = dial()
    const closed = ended(socket)
    socket.write(randomBytes(1 + (round % 900)))
    if (round % 3 === 0) socket.end()
    else setImmediate(() => socket.destroy())
    await closed
  }
  await honest(t)
})

t.test('slow senders of large frames hold no more than they sent', async (t) => {
  const before = process.memoryUsage().arrayBuffers
  const sockets = Array.from({ length: 100 }, dial)
  // Each announces 5 MiB, that is 500 MiB in all, and sends one kilobyte.
  for (const socket of sockets)
    socket.write(Buffer.concat([length(5_242_000), Buffer.from([0x0a]), Buffer.alloc(1000)]))
  await honest(t)
  const grown = process.memoryUsage().arrayBuffers - before
  t.ok(grown < 20 << 20, `nothing was allocated ahead: ${grown} bytes`)
  for (const socket of sockets) socket.destroy()
  await honest(t)
})

t.test('half a frame, then silence, then the end', async (t) => {
  const socket = dial()
  socket.write(length(100))
  socket.write(Buffer.from([0x0a, 0x06]))
  await honest(t)
  const closed = ended(socket)
  socket.end()
  await closed
  await honest(t)
})

t.test('the node ends in order', async (t) => {
  const { entries } = await node.close()
  t.ok(entries > 0)
})
