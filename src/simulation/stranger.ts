// Somebody who speaks to a node's port and says nothing that it knows: bytes at random, or ones
// that begin as a frame does. Whoever sends that loses its connection, and nobody else anything.

import type { Io } from '../io/io.ts'
import { createSimulatedIo } from './io.ts'
import type { SeededRandom } from './random.ts'
import type { World } from './world.ts'

const machine = 'stranger'
const bytesMax = 600

/** Sends some bytes; the connection is ended, reset, or left as it is until the next time. */
export async function disturb(world: World, host: string, port: number): Promise<void> {
  leave(world)
  const io = createSimulatedIo(world, machine)
  const random = world.scheduler.random(`stranger ${world.node(machine).boots}`)
  const connection = await connected(io, { host, port })
  if (connection === undefined) return
  connection.start({ data: () => undefined, drain: () => undefined, close: () => undefined })
  for (let left = random.below(4); left >= 0; left -= 1) connection.write(noise(random))
  const end = random.below(3)
  if (end === 0) connection.end()
  else if (end === 1) connection.destroy()
}

/** Ends whatever it has open. */
export function leave(world: World): void {
  if (world.node(machine).task?.alive === true) world.kill(machine)
}

/** Undefined: nobody is there now. */
async function connected(io: Io, address: { host: string; port: number }) {
  const [outcome] = await Promise.allSettled([io.network.connect(address, { timeoutMs: 1000 })])
  return outcome.status === 'fulfilled' ? outcome.value : undefined
}

function noise(random: SeededRandom): Buffer {
  const bytes = Buffer.from(
    Array.from({ length: 1 + random.below(bytesMax) }, () => random.below(256)),
  )
  const kind = random.below(5)
  if (kind === 0 || bytes.length < 12) return bytes
  // A length that fits, or nearly; then the beginning of one protocol or the other.
  bytes.writeUInt32BE(Math.max(1, bytes.length - 4 + random.below(3) - 1), 0)
  if (kind === 1) bytes.write('QRM1', 4, 'latin1')
  if (kind === 2) bytes.set([0x0a, 1 + random.below(20), 0x08, 0x03], 4)
  if (kind === 3)
    bytes.write(`QRA1\x01\x00${String.fromCharCode(1 + random.below(5))}`, 4, 'latin1')
  return bytes
}
