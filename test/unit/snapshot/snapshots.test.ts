// Snapshots in ledgers: written, verified, read, and every damage noticed (D7).
import t from 'tap'
import { QuireError } from '../../../src/errors.ts'
import { readSnapshot, writeSnapshot } from '../../../src/snapshot/snapshots.ts'
import { MemoryLedgers } from '../../support/memory-ledgers.ts'

const header = { format: 'f', logId: 'l', position: 7, epoch: 3 }

async function* chunks(count: number, failure?: Error): AsyncGenerator<Uint8Array> {
  for (let index = 0; index < count; index++) {
    await Promise.resolve()
    yield Buffer.alloc(100 + index, index)
  }
  if (failure) throw failure
}

const collect = async (stream: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const found: Uint8Array[] = []
  for await (const chunk of stream) found.push(chunk)
  return Buffer.concat(found)
}

const ledger = { customMetadata: new Map([['quire.kind', Buffer.from('snapshot')]]) }

t.test('what was written is read, in any number of chunks', async (t) => {
  const ledgers = new MemoryLedgers()
  for (const count of [0, 1, 9]) {
    const stored = await writeSnapshot(ledgers, { header, chunks: chunks(count), ledger })
    const snapshot = { ...stored, ...header }
    const bytes = await collect(readSnapshot(ledgers, snapshot))
    t.same(bytes, await collect(chunks(count)))
    t.equal(stored.bytes, bytes.length)
    t.same(ledgers.stored.get(stored.ledgerId)?.customMetadata, ledger.customMetadata)
  }
})

t.test('chunks that are not read are released', async (t) => {
  const ledgers = new MemoryLedgers()
  const full = new QuireError('QUIRE_NOT_ENOUGH_BOOKIES', 'no bookie is there')
  ledgers.create = () => Promise.reject(full)
  let released = 0
  const stream = chunks(3)
  const held: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({
      next: () => stream.next(),
      async return() {
        released += 1
        return { done: true, value: undefined }
      },
    }),
  }
  await t.rejects(writeSnapshot(ledgers, { header, chunks: held, ledger }), full)
  t.equal(released, 1)
})

t.test('every flipped bit, missing or exchanged entry is noticed', async (t) => {
  const ledgers = new MemoryLedgers()
  const stored = await writeSnapshot(ledgers, { header, chunks: chunks(3), ledger })
  const snapshot = { ...stored, ...header }
  const entries = ledgers.stored.get(stored.ledgerId)?.entries ?? []
  const whole = [...entries]
  const refused = async (what: string, damaged: readonly Buffer[]): Promise<void> => {
    entries.splice(0, entries.length, ...damaged)
    await t.rejects(
      collect(readSnapshot(ledgers, snapshot)),
      { code: 'QUIRE_SNAPSHOT_CORRUPT' },
      what,
    )
  }
  for (const [index, entry] of whole.entries()) {
    for (const at of [0, 4, 5, 11, 12, 16, entry.length - 1]) {
      const damaged = Buffer.from(entry)
      damaged.writeUInt8(damaged.readUInt8(at) ^ 1, at)
      await refused(`entry ${index} byte ${at}`, whole.with(index, damaged))
    }
    await refused(`without entry ${index}`, whole.toSpliced(index, 1))
  }
  const [first, a, b, ...rest] = whole
  if (first && a && b) await refused('exchanged', [first, b, a, ...rest])
  await refused('empty', [])
  entries.splice(0, entries.length, ...whole)
  for (const other of [{ position: 8 }, { format: 'g' }, { bytes: 1 }, { crc: 1 }]) {
    const stream = collect(readSnapshot(ledgers, { ...snapshot, ...other }))
    await t.rejects(stream, { code: 'QUIRE_SNAPSHOT_CORRUPT' })
  }
})

t.test('a snapshot that cannot be written, or reads back otherwise, leaves nothing', async (t) => {
  const ledgers = new MemoryLedgers()
  const write = (stream: AsyncIterable<Uint8Array>) =>
    writeSnapshot(ledgers, { header, chunks: stream, ledger })
  await t.rejects(write(chunks(2, new Error('no state'))), { message: 'no state' })
  ledgers.faults.append = (_ledger, entryId) => (entryId === 2 ? 'fail' : 'ok')
  await t.rejects(write(chunks(9)), { code: 'QUIRE_OUTCOME_UNKNOWN' })
  ledgers.faults = {}
  ledgers.faults.read = (ledgerId, entryId) => {
    if (entryId === 1) ledgers.stored.get(ledgerId)?.entries[1]?.fill(1, 20, 21)
    return undefined
  }
  await t.rejects(write(chunks(2)), { code: 'QUIRE_SNAPSHOT_CORRUPT' })
  ledgers.faults = { read: () => new QuireError('QUIRE_ENTRY_UNREADABLE', 'unreadable') }
  await t.rejects(write(chunks(2)), { code: 'QUIRE_ENTRY_UNREADABLE' })
  t.equal(ledgers.stored.size, 0)
})
