// Appends in a closed loop: so many promises in flight, each awaited.
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type LedgerWriter } from '../src/index.ts'
import { createTestBookieClient } from '../test/support/raw-bookie.ts'
import type { Cluster } from '../test/support/processes.ts'
import { Meter, type LevelOptions } from './figures.ts'
import { createPayloads } from './payloads.ts'

export async function runAppend(cluster: Cluster, level: LevelOptions): Promise<Meter> {
  await using client = await connect(cluster.uri)
  const bookies = cluster.processes.length
  const writer = await client.ledgers.create({
    ensembleSize: bookies,
    writeQuorumSize: bookies,
    ackQuorumSize: Math.min(2, bookies),
    digest: 'crc32c',
  })
  const meter = new Meter(cluster, level)
  const payloads = createPayloads(level.size)
  await Promise.all(
    Array.from({ length: level.inFlight }, () => appendLoop(writer, meter, payloads)),
  )
  const last = writer.lastAddConfirmed
  await sleep(1000)
  await everyBookieHolds(cluster, writer.ledgerId, last)
  await writer.close()
  return meter
}

async function appendLoop(
  writer: LedgerWriter,
  meter: Meter,
  payloads: () => Uint8Array,
): Promise<void> {
  while (!meter.over) {
    const sentAt = performance.now()
    await writer.append(payloads())
    if (!meter.record(sentAt)) return
  }
}

/** A level counts only if each bookie holds every acknowledged entry. */
async function everyBookieHolds(cluster: Cluster, ledgerId: bigint, last: number): Promise<void> {
  for (const listen of cluster.listens) {
    const bookie = await createTestBookieClient(listen)
    const held = await bookie.countEntries(ledgerId, last)
    bookie.close()
    if (held !== last + 1) {
      throw new Error(
        `bookie ${listen} holds ${held} of ${last + 1} acknowledged entries: the level does ` +
          'not count',
      )
    }
  }
}
