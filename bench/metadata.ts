// Changes of the metadata in a closed loop, from one client outside the nodes: each writes a key of
// its own. The same work on etcd: bench/etcd.ts.
import { connect, type Client } from '../src/index.ts'
import { createIo } from '../src/io/real/index.ts'
import { connectMetadata } from '../src/metadata/client/index.ts'
import { parseAddress } from '../src/embedded/address.ts'
import type { startGroup } from '../test/support/processes.ts'
import { quiet } from '../test/support/quiet.ts'
import { Latencies, Meter, type LevelOptions } from './figures.ts'
import { createPayloads } from './payloads.ts'

type Group = Awaited<ReturnType<typeof startGroup>>

/** Writes the value under a key that nobody used before. */
export type Write = (number: number, value: Uint8Array) => Promise<unknown>

export async function runWrites(
  write: Write,
  meter: Meter,
  { inFlight, size }: LevelOptions,
): Promise<void> {
  const payloads = createPayloads(size)
  const next = { number: 0 }
  const loop = async (): Promise<void> => {
    while (!meter.over) {
      const sentAt = performance.now()
      await write(next.number++, payloads())
      if (!meter.record(sentAt)) return
    }
  }
  await Promise.all(Array.from({ length: inFlight }, loop))
}

export async function runMetadata(group: Group, level: LevelOptions): Promise<Meter> {
  const addresses = group.uri.replace('quire://', '').split(',').map(parseAddress)
  await using store = connectMetadata({ ...createIo(), logger: quiet, addresses })
  await using session = await store.session()
  await session.create('/bench', Buffer.alloc(0))
  const meter = new Meter(group, level)
  const write: Write = (number, value) => session.create(`/bench/${number}`, value)
  await runWrites(write, meter, level)
  const { names } = await session.children('/bench', { linearizable: true })
  if (names.length < meter.count)
    throw new Error(`${names.length} of ${meter.count} keys are there`)
  return meter
}

/** How long appends to a log take meanwhile, one after the other, until the meter is over. */
export async function runAppendsBeside(group: Group, meter: Promise<unknown>): Promise<Latencies> {
  await using client: Client = await connect(group.uri)
  const writer = await (await client.log('bench')).acquire()
  const state = { over: false }
  void meter.finally(() => (state.over = true)).catch(() => undefined)
  const latencies = new Latencies()
  const payloads = createPayloads(1024)
  while (!state.over) {
    const sentAt = performance.now()
    await writer.append(Buffer.from(payloads()))
    latencies.record(performance.now() - sentAt)
  }
  await writer.close()
  return latencies
}
