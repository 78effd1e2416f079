// Space on the journal disk: it comes back when ledgers are deleted, and nothing that is still
// needed goes with it: fences, keys, tombstones, and what a slow reader has been promised.
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { decodeSegmentHeader } from '../../src/bookie/journal/format.ts'
import { connect, type LedgerClient, type LedgerWriter, type Node } from '../../src/index.ts'
import { requestFlags, statuses } from '../../src/wire/bookie-messages.ts'
import { createResponse, decodeResponse } from '../../src/wire/bookie-response.ts'
import { FrameReader } from '../../src/wire/frame-reader.ts'
import { readFrame } from '../support/bookie-frames.ts'
import { silent, startNodes, unheard, type Nodes } from '../support/nodes.ts'
import { createTestBookieClient } from '../support/raw-bookie.ts'

const heard = unheard()

const single = { ensembleSize: 1, writeQuorumSize: 1, ackQuorumSize: 1 } as const
const text = (words: string): Buffer => Buffer.from(words)

/** Bytes that tell which entry of which ledger they are, everywhere. */
function payloadOf(ledgerId: bigint, entryId: number, size: number): Buffer {
  const bytes = Buffer.alloc(size)
  const mark = `${ledgerId}:${entryId}|`
  bytes.fill(mark)
  return bytes
}

const journalOf = ({ dir }: Nodes): string => join(dir, 'node-0', 'journal')

const filesOf = (journal: string): string[] =>
  readdirSync(journal).filter((name) => name.endsWith('.journal'))

/** The uses of segment files that are on the disk now. */
function usesOf(journal: string): Set<string> {
  const uses = new Set<string>()
  for (const name of filesOf(journal)) {
    const header = decodeSegmentHeader(readFileSync(join(journal, name)))
    if (header !== undefined) uses.add(header.uuid.toString('hex'))
  }
  return uses
}

/** Looks again and again; says whether it came to be. */
async function comes(condition: () => boolean): Promise<boolean> {
  for (let looks = 0; looks < 1_000; looks++) {
    if (condition()) return true
    await pause(10)
  }
  return false
}

/** Writes a ledger of so many entries and deletes it. */
async function churn(ledgers: LedgerClient, entries: number, size: number): Promise<bigint> {
  const writer = await ledgers.create(single)
  const { ledgerId } = writer
  const pending: Promise<number>[] = []
  for (let entryId = 0; entryId < entries; entryId++) {
    await writer.ready()
    pending.push(writer.append(payloadOf(ledgerId, entryId, size)))
  }
  await Promise.all(pending)
  await writer.close()
  await ledgers.delete(ledgerId)
  return ledgerId
}

async function keep(ledgers: LedgerClient, entries: number, size: number): Promise<bigint> {
  const writer = await ledgers.create(single)
  for (let entryId = 0; entryId < entries; entryId++) {
    await writer.append(payloadOf(writer.ledgerId, entryId, size))
  }
  await writer.close()
  return writer.ledgerId
}

async function isWhole(ledgers: LedgerClient, ledgerId: bigint, size: number): Promise<boolean> {
  await using reader = await ledgers.tail(ledgerId)
  let entries = 0
  for await (const { entryId, payload } of reader.read()) {
    if (!payload.equals(payloadOf(ledgerId, entryId, size))) return false
    entries += 1
  }
  return entries === reader.lastAddConfirmed + 1
}

const segmentBytes = 64 << 10
const quick = { segmentBytes, collectIntervalMs: 10 }

t.test('segments of deleted ledgers are used again', async (t) => {
  const cluster = await startNodes(t, 1, quick)
  const journal = journalOf(cluster)
  const { ledgers } = at(cluster, 0)
  const kept = await keep(ledgers, 10, 5_000)
  let most = 0
  for (let round = 0; round < 25; round++) {
    await churn(ledgers, 20, 10_000)
    most = Math.max(most, filesOf(journal).length)
    t.ok(await comes(() => filesOf(journal).length <= 10), `round ${round}: the space is back`)
  }
  t.ok(most <= 20, `files at most: ${most}; ${Math.ceil((25 * 200) / 64)} were written`)
  t.equal(await isWhole(ledgers, kept, 5_000), true)
  await cluster.stop(0)
  const again = await cluster.start(0)
  t.equal(await isWhole(again.ledgers, kept, 5_000), true, 'after a restart')
  t.ok(await comes(() => filesOf(journal).length <= 10))
  await churn(again.ledgers, 20, 10_000)
  t.ok(await comes(() => filesOf(journal).length <= 10), 'and it goes on')
})

function at(cluster: Nodes, index: number): Node {
  const node = cluster.nodes[index]
  if (node === undefined) throw new Error(`node ${index} does not run`)
  return node
}

/** Writes and deletes until none of the uses is on the disk any more. */
async function churnAway(
  ledgers: LedgerClient,
  journal: string,
  uses: ReadonlySet<string>,
): Promise<boolean> {
  const isThere = (): boolean => [...usesOf(journal)].some((use) => uses.has(use))
  for (let round = 0; round < 60 && isThere(); round++) {
    await churn(ledgers, 20, 10_000)
    await comes(() => filesOf(journal).length <= 10)
  }
  return !isThere()
}

t.test('fences and keys outlive the segments that they were written to', async (t) => {
  const cluster = await startNodes(t, 1, quick)
  const journal = journalOf(cluster)
  const listen = at(cluster, 0).listen
  await using idle = await connect(cluster.uri, { logger: silent })
  const { ledgers } = at(cluster, 0)
  const writers: LedgerWriter[] = []
  const secrets: bigint[] = []
  for (let index = 0; index < 20; index++) {
    const writer = await idle.ledgers.create(single)
    writers.push(writer)
    await ledgers.recover(writer.ledgerId)
    const secret = await ledgers.create({ ...single, password: text('secret') })
    await idle.ledgers.recover(secret.ledgerId, { password: text('secret') })
    secrets.push(secret.ledgerId)
  }
  const refused = async (): Promise<Set<string>> => {
    const raw = await createTestBookieClient(listen)
    const found = new Set<string>()
    const payload = text('late')
    for (const { ledgerId } of writers) {
      found.add(`fenced: ${await raw.add({ ledgerId, entryId: 0, payload })}`)
    }
    for (const ledgerId of secrets) {
      found.add(
        `secret: ${await raw.add({ ledgerId, entryId: 0, payload, flags: requestFlags.recovery })}`,
      )
    }
    raw.close()
    return found
  }
  const expected = new Set([`fenced: ${statuses.fenced}`, `secret: ${statuses.unauthorized}`])
  t.same(await refused(), expected)
  for (let life = 0; life < 3; life++) {
    t.equal(await churnAway(at(cluster, 0).ledgers, journal, usesOf(journal)), true)
    t.same(await refused(), expected, `life ${life}: when its segments are gone`)
    await cluster.stop(0)
    await cluster.start(0, { listen })
    t.same(await refused(), expected, `life ${life}: after a restart`)
  }
  for (const writer of writers.slice(0, 3)) {
    await t.rejects(writer.append(text('late')), { code: 'QUIRE_OUTCOME_UNKNOWN' })
    t.match(await writer.ended, { code: 'QUIRE_LEDGER_FENCED' })
  }
})

t.test('deleted ledgers never come back', async (t) => {
  const cluster = await startNodes(t, 1, quick)
  const journal = journalOf(cluster)
  const listen = at(cluster, 0).listen
  const deleted: bigint[] = []
  const kept = await keep(at(cluster, 0).ledgers, 3, 100)
  for (let life = 0; life < 3; life++) {
    const { ledgers } = at(cluster, 0)
    for (let round = 0; round < 5; round++) deleted.push(await churn(ledgers, 20, 5_000))
    t.ok(await comes(() => filesOf(journal).length <= 10))
    await cluster.stop(0)
    const node = await cluster.start(0, { listen })
    const raw = await createTestBookieClient(listen)
    for (const ledgerId of deleted) {
      t.equal(await node.ledgers.exists(ledgerId), false)
      const entry = { ledgerId, entryId: 0 }
      t.equal(await raw.readStatus(entry), statuses.noLedger, `ledger ${ledgerId} is gone`)
      t.equal(await raw.add({ ...entry, payload: text('late') }), statuses.fenced)
    }
    raw.close()
    const writer = await node.ledgers.create(single)
    t.ok(
      deleted.every((id) => id < writer.ledgerId),
      'no id is given again',
    )
    await writer.close()
    t.equal(await isWhole(node.ledgers, kept, 100), true)
  }
})

/** Asks for a few entries again and again, and takes no answer before it is told to. */
class SlowReader {
  readonly #socket: net.Socket
  readonly #reader = new FrameReader({ maxFrameBytes: 5 << 20 })
  readonly #ledger: { id: bigint; entries: number; size: number; requests: number }
  /** By status; what came with other bytes than were written counts as `wrong`. */
  readonly outcomes = { whole: 0, gone: 0, wrong: 0 }

  constructor(
    listen: string,
    ledger: { id: bigint; entries: number; size: number; requests: number },
  ) {
    const [host = '', port = ''] = listen.split(':')
    this.#ledger = ledger
    this.#socket = net.connect({ host, port: Number(port) })
    this.#socket.pause()
    for (let txn = 0; txn < ledger.requests; txn++) {
      this.#socket.write(readFrame(txn % ledger.entries, { ledger: Number(ledger.id), txn }))
    }
  }

  /** Takes everything now. */
  async take(): Promise<void> {
    const ended = once(this.#socket, 'close')
    this.#socket.on('error', () => this.#socket.destroy())
    this.#socket.on('data', (chunk: Buffer) => {
      this.#reader.push(chunk, this.#onFrame)
      const { whole, gone, wrong } = this.outcomes
      if (whole + gone + wrong === this.#ledger.requests) this.#socket.destroy()
    })
    this.#socket.resume()
    await ended
  }

  readonly #onFrame = (bytes: Buffer, start: number, end: number): void => {
    const response = createResponse()
    decodeResponse(bytes, start, end, 3, response)
    const { status, bodyStart, bodyEnd, txnLow } = response
    if (status === statuses.noLedger) this.outcomes.gone += 1
    else if (status !== statuses.ok) this.outcomes.wrong += 1
    else {
      const payload = response.bytes.subarray(bodyStart + 36, bodyEnd)
      const { id, entries, size } = this.#ledger
      const right = payload.equals(payloadOf(id, txnLow % entries, size))
      this.outcomes[right ? 'whole' : 'wrong'] += 1
    }
  }
}

t.test('a slow reader is given what was written, though its segments are used again', async (t) => {
  const cluster = await startNodes(t, 1, { segmentBytes: 1 << 20, collectIntervalMs: 10 })
  const journal = journalOf(cluster)
  const { ledgers, listen } = at(cluster, 0)
  await keep(ledgers, 1, 100)
  // All of them in the memory of one or two segments, and more answers than a socket takes.
  const [entries, size, requests] = [3, 100_000, 200]
  const living = await keep(ledgers, entries, size)
  const doomed = await keep(ledgers, entries, size)
  const asked = { entries, size, requests }
  const readers = [living, doomed].map((id) => new SlowReader(listen, { id, ...asked }))
  for (let turn = 0; turn < 200; turn++) await nextTurn()
  const uses = usesOf(journal)
  await ledgers.delete(doomed)
  for (let round = 0; round < 4; round++) await churn(ledgers, 40, 100_000)
  t.ok(await comes(() => [...usesOf(journal)].filter((use) => !uses.has(use)).length > 3))
  for (const reader of readers) await reader.take()
  const [first, second] = readers.map(({ outcomes }) => outcomes)
  t.same(first, { whole: requests, gone: 0, wrong: 0 })
  t.equal(second?.wrong, 0)
  t.ok((second?.whole ?? 0) > 0, `answered before the deletion, taken after it: ${second?.whole}`)
  t.ok((second?.gone ?? 0) > 0, 'not all of it fitted the socket')
  t.equal((second?.whole ?? 0) + (second?.gone ?? 0), requests)
})

t.test('an entry that no segment can hold is refused, and nothing else happens', async (t) => {
  const cluster = await startNodes(t, 1, quick)
  const { ledgers } = at(cluster, 0)
  for (const size of [segmentBytes, 1 << 20]) {
    const writer = await ledgers.create(single)
    t.equal(await writer.append(text('small')), 0)
    await t.rejects(writer.append(Buffer.alloc(size)), { code: 'QUIRE_OUTCOME_UNKNOWN' })
    t.match(await writer.ended, { code: 'QUIRE_NOT_ENOUGH_BOOKIES', cause: { code: 'QUIRE_IO' } })
  }
  const kept = await keep(ledgers, 3, 20_000)
  t.equal(await isWhole(ledgers, kept, 20_000), true)
})

t.test('nothing went unheard', async (t) => {
  await nextTurn()
  t.same(heard, [])
})
