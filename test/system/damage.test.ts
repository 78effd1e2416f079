// Damaged bytes in the journal of a real node: a payload costs its entry and nothing else, a
// structure refuses the start, and a torn tail is neither.
import { closeSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { connect } from '../../src/index.ts'
import { at, filesOf, flip, hashOf, refused, starts } from '../support/one-node.ts'
import type { QuireProcess } from '../support/processes.ts'
import { quiet } from '../support/quiet.ts'
import { createTestBookieClient } from '../support/raw-bookie.ts'
import { statuses } from '../../src/wire/bookie-messages.ts'

const entries = 60
const textOf = (entryId: number): string => `payload number ${entryId}, ${'long '.repeat(50)}.`

/**
 * A directory with one ledger of sixty entries, each in a batch of its own, and how it was left.
 */
async function filled(t: Test, how: 'SIGTERM' | 'SIGKILL'): Promise<{ dir: string; id: bigint }> {
  const dir = join(t.testdir(), 'node')
  const node = await starts(dir)
  const client = await connect(`quire://${(await node.ready).listen}`, { logger: quiet })
  const writer = await client.ledgers.create({ ensembleSize: 1 })
  for (let entryId = 0; entryId < entries; entryId++) {
    await writer.append(Buffer.from(textOf(entryId)))
  }
  await writer.close()
  await client.close()
  await node.kill(how)
  return { dir, id: writer.ledgerId }
}

/** Where an entry's payload lies. */
function placeOf(dir: string, entryId: number): { path: string; offset: number } {
  for (const path of filesOf(dir, /\.journal$/)) {
    const offset = readFileSync(path).indexOf(textOf(entryId))
    if (offset >= 0) return { path, offset }
  }
  throw new Error(`entry ${entryId} is in no journal file`)
}

/** The statuses of all entries, as the bookie itself gives them. */
async function statusesOf(node: QuireProcess, ledgerId: bigint): Promise<number[]> {
  const bookie = await createTestBookieClient((await node.ready).listen)
  const found: number[] = []
  for (let entryId = 0; entryId < entries; entryId++) {
    found.push(await bookie.readStatus({ ledgerId, entryId }))
  }
  bookie.close()
  return found
}

async function wholeAgain(t: Test, dir: string, ledgerId: bigint): Promise<void> {
  const node = await starts(dir)
  t.same(
    await statusesOf(node, ledgerId),
    Array.from({ length: entries }, () => statuses.ok),
  )
  t.equal(await node.kill('SIGTERM'), 0)
}

for (const how of ['SIGTERM', 'SIGKILL'] as const) {
  t.test(`a flipped bit in a payload, after ${how}`, async (t) => {
    const { dir, id } = await filled(t, how)
    const { path, offset } = placeOf(dir, 31)
    flip(path, offset + 40)
    const node = await starts(dir)
    const found = await statusesOf(node, id)
    t.notOk(
      [statuses.ok, statuses.noEntry, statuses.noLedger].some((known) => known === found[31]),
      'it is neither given nor called absent',
    )
    t.same(
      found.filter((status) => status !== statuses.ok),
      [found[31]],
      'everything else is served',
    )
    await using client = await connect(`quire://${(await node.ready).listen}`, { logger: quiet })
    await using reader = await client.ledgers.recover(id)
    t.equal(reader.lastAddConfirmed, entries - 1)
    await t.rejects(
      async () => {
        for await (const { entryId, payload } of reader.read())
          t.equal(payload.toString(), textOf(entryId))
      },
      { code: 'QUIRE_ENTRY_UNREADABLE' },
    )
    for await (const { entryId, payload } of reader.read({ from: 32 }))
      t.equal(payload.toString(), textOf(entryId))
    t.equal(await node.kill('SIGTERM'), 0)
    flip(path, offset + 40)
    await wholeAgain(t, dir, id)
  })

  t.test(`a flipped bit in a structure, after ${how}`, async (t) => {
    const { dir, id } = await filled(t, how)
    const { path, offset } = placeOf(dir, 31)
    const record = readFileSync(path).lastIndexOf('QREC', offset)
    // Length of the payload; the type; a byte of the sequence number.
    for (const at of [16, 4, 14]) await refusedWith(t, dir, { path, offset: record + at })
    await wholeAgain(t, dir, id)
  })
}

/** Refused with the bit flipped, nothing overwritten; the bit is put back. */
async function refusedWith(
  t: Test,
  dir: string,
  { path, offset }: { path: string; offset: number },
): Promise<void> {
  flip(path, offset)
  const files = filesOf(dir, /\.journal$/)
  const before = hashOf(files)
  await refused(t, ['--dir', dir, ...at], 'QUIRE_RANGE_LOST')
  t.equal(hashOf(files), before, 'nothing was overwritten')
  flip(path, offset)
}

t.test('a torn tail is cut off', async (t) => {
  const { dir, id } = await filled(t, 'SIGKILL')
  const { path, offset } = placeOf(dir, entries - 1)
  const size = statSync(path).size
  const file = openSync(path, 'r+')
  const behind = Math.ceil((offset + textOf(entries - 1).length) / 4096) * 4096
  writeSync(file, Buffer.concat([Buffer.from('QREC'), randomBytes(10_000)]), 0, 10_004, behind)
  closeSync(file)
  t.equal(statSync(path).size, size)
  await wholeAgain(t, dir, id)
  await wholeAgain(t, dir, id)
})
