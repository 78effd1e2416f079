// Reads single entries in a closed loop over a ledger that was written first.
import { connect, type LedgerReader } from '../src/index.ts'
import type { Cluster } from '../test/support/processes.ts'
import { Meter, type LevelOptions } from './figures.ts'
import { createPayloads } from './payloads.ts'

const entryCount = 50_000

export async function runRead(cluster: Cluster, level: LevelOptions): Promise<Meter> {
  await using client = await connect(cluster.uri)
  const bookies = cluster.processes.length
  const writer = await client.ledgers.create({
    ensembleSize: bookies,
    writeQuorumSize: bookies,
    ackQuorumSize: Math.min(2, bookies),
    digest: 'crc32c',
  })
  const payloads = createPayloads(level.size)
  const loadedSince = performance.now()
  let appended: Promise<unknown> = Promise.resolve()
  for (let entryId = 0; entryId < entryCount; entryId++) {
    await writer.ready()
    appended = writer.append(payloads())
    if (entryId % 256 === 255) await appended
    else appended.catch(() => undefined) // A later one, which is awaited, fails with it.
  }
  // They are acknowledged in order: all are there when the last one is, and a close waits for none.
  await appended
  await writer.close()
  await using reader = await client.ledgers.tail(writer.ledgerId)
  if (reader.lastAddConfirmed !== entryCount - 1) throw new Error('the ledger is not whole')
  const meter = new Meter(cluster, level, loadedSince)
  const next = { entryId: 0 }
  await Promise.all(Array.from({ length: level.inFlight }, () => readLoop(reader, meter, next)))
  return meter
}

async function readLoop(
  reader: LedgerReader,
  meter: Meter,
  next: { entryId: number },
): Promise<void> {
  while (!meter.over) {
    const entryId = next.entryId++ % entryCount
    const sentAt = performance.now()
    for await (const entry of reader.read({ from: entryId, to: entryId })) {
      if (entry.entryId !== entryId) throw new Error(`asked for ${entryId}, got ${entry.entryId}`)
    }
    if (!meter.record(sentAt)) return
  }
}
