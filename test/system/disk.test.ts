// Disks that are full, that hang, and that fail a sync, under real processes.
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmdirSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { connect, type Client } from '../../src/index.ts'
import { at, put, records, refused, starts, stillThere } from '../support/one-node.ts'
import type { QuireProcess } from '../support/processes.ts'
import { quiet } from '../support/quiet.ts'
import { createTestBookieClient } from '../support/raw-bookie.ts'

const mebibyte = 1 << 20

/** A small disk of its own, gone at the end of the test. */
function mounted(t: Test, size: string): string {
  // Not in the test's own directory, which is removed while this is still mounted.
  const mount = mkdtempSync(join(tmpdir(), 'quire-disk-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'quire-test', mount])
  t.teardown(() => {
    execFileSync('umount', ['-l', mount])
    rmdirSync(mount)
  })
  return mount
}

/** Takes all the room there is. */
function fillUp(path: string): void {
  const file = openSync(path, 'w')
  for (let bytes = 4 * mebibyte; bytes >= 1; bytes >>= 1) while (tryWrite(file, bytes)) continue
  closeSync(file)
}

function tryWrite(file: number, bytes: number): boolean {
  try {
    return writeSync(file, Buffer.alloc(bytes)) === bytes
  } catch (error) {
    if (Object(error).code === 'ENOSPC') return false
    throw error
  }
}

const clientOf = async (node: QuireProcess): Promise<Client> =>
  connect(`quire://${(await node.ready).listen}`, { logger: quiet, sessionTimeoutMs: 2000 })

const single = { ensembleSize: 1, ackQuorumSize: 1 } as const

t.test('a full disk at the start', async (t) => {
  const mount = mounted(t, '20m')
  const dir = join(mount, 'node')
  await refused(t, ['--dir', dir, ...at], 'QUIRE_DISK_FULL')
  execFileSync('mount', ['-o', 'remount,size=200m', mount])
  const node = await starts(dir)
  await put(node, 'precious')
  t.equal(await node.kill('SIGTERM'), 0)
  fillUp(join(mount, 'filler'))
  const again = await starts(dir).catch((error: unknown) => error)
  if (again instanceof Error) t.match(again.message, /\[QUIRE_DISK_FULL\]/)
  else await Object(again).kill('SIGKILL')
  rmSync(join(mount, 'filler'))
  await stillThere(t, dir)
})

t.test('a journal that runs out of room refuses, and goes back by itself', async (t) => {
  const mount = mounted(t, '200m')
  const dir = join(mount, 'node')
  const node = await starts(dir)
  await put(node, 'precious')
  const client = await clientOf(node)
  const { ledgerId, lastAcked, error } = await appendUntilRefused(client)
  t.ok(lastAcked > 100)
  t.match(error, { code: /^QUIRE_(?:NOT_ENOUGH_BOOKIES|OUTCOME_UNKNOWN)$/ })
  t.same(await records(node), ['precious'], 'reads go on')
  execFileSync('mount', ['-o', 'remount,size=400m', mount])
  await writesAgain(t, client)
  await using recovered = await client.ledgers.recover(ledgerId)
  t.ok(recovered.lastAddConfirmed >= lastAcked, 'what was acknowledged is there')
  await client.close()
  await node.kill('SIGKILL')
  await stillThere(t, dir)
})

async function appendUntilRefused(
  client: Client,
): Promise<{ ledgerId: bigint; lastAcked: number; error: unknown }> {
  const writer = await client.ledgers.create(single)
  const { ledgerId } = writer
  let lastAcked = -1
  try {
    for (let sent = 0; sent < 4000; sent++) {
      lastAcked = await writer.append(Buffer.alloc(128 << 10, sent))
    }
    return { ledgerId, lastAcked, error: undefined }
  } catch (error) {
    return { ledgerId, lastAcked, error }
  }
}

async function writesAgain(t: Test, client: Client): Promise<void> {
  for (let attempt = 1; attempt <= 100; attempt++) {
    try {
      const writer = await client.ledgers.create(single)
      await writer.append(Buffer.from('again'))
      t.pass(`appends are taken again at attempt ${attempt}`)
      return
    } catch {
      await sleep(100)
    }
  }
  t.fail('appends are refused although there is room')
}

t.test('metadata without room waits for it', async (t) => {
  const mount = mounted(t, '200m')
  const dir = join(mount, 'node')
  const node = await starts(dir)
  await put(node, 'precious')
  const client = await clientOf(node)
  const writer = await client.ledgers.create(single)
  await writer.append(Buffer.from('before'))
  fillUp(join(mount, 'filler'))
  const outcome = { created: false }
  const creating = client.ledgers.create(single).then((created) => {
    outcome.created = true
    return created
  })
  t.equal(await writer.append(Buffer.from('meanwhile')), 1, 'a segment that has room takes more')
  await sleep(1500)
  t.equal(outcome.created, false)
  t.equal(node.child.exitCode, null, 'the node lives')
  rmSync(join(mount, 'filler'))
  const created = await creating
  t.equal(await created.append(Buffer.from('after')), 0)
  await client.close()
  t.same(await records(node), ['precious'])
  await node.kill('SIGKILL')
  await stillThere(t, dir)
})

/** Lets the calls of one thread fail or wait, from the given one on. */
const inject = (record: string, call: string, how: string): { under: string[] } => ({
  // The tracer stands beside the process, not above it: its id and its signals are the process's
  // own.
  under: [
    'strace',
    '-D',
    '-f',
    '-qq',
    '-o',
    record,
    '-e',
    `trace=${call}`,
    '-e',
    `inject=${call}:${how}`,
  ],
})

// A start makes some fifty changes of the metadata by itself, and each ledger some more, with several
// syncs of the journal: at two hundred it is the journal's thread that comes first, at sixty-five
// the other.
for (const [what, failsFrom] of [
  ['journal', 200],
  ['metadata', 65],
] as const) {
  t.test(`a sync of the ${what} that fails ends the process`, async (t) => {
    const base = t.testdir()
    const dir = join(base, 'node')
    const failing = inject(join(base, 'strace'), 'fdatasync', `error=EIO:when=${failsFrom}+`)
    const node = await starts(dir, [], failing)
    const client = await clientOf(node)
    const { ledgerId, acked, error } = await appendUntilUnknown(client)
    t.match(error, { code: /^QUIRE_(?:OUTCOME_UNKNOWN|METADATA_UNAVAILABLE|CONNECTION_LOST)$/ })
    t.equal(await node.ended, 1)
    t.match(node.stderr(), /quire: .{30,} \[QUIRE_FSYNC_FAILED\]/)
    t.match(node.lines.at(-1), { event: 'error', code: 'QUIRE_FSYNC_FAILED' })
    await client.close()

    const again = await starts(dir)
    const reader = await clientOf(again)
    for (const id of new Set(acked.map((entry) => entry.ledgerId))) {
      await using ledger = await reader.ledgers.recover(id)
      const found: string[] = []
      for await (const { payload } of ledger.read()) found.push(payload.toString())
      for (const { text, entryId } of acked.filter((entry) => entry.ledgerId === id)) {
        if (found[entryId] !== text) t.fail(`entry ${entryId} of ledger ${id} was lost`)
      }
    }
    t.ok(acked.length > 0, `${acked.length} entries were acknowledged, all are there`)
    t.not(ledgerId, undefined)
    await reader.close()
    t.equal(await again.kill('SIGTERM'), 0)
  })
}

interface Acked {
  readonly ledgerId: bigint
  readonly entryId: number
  readonly text: string
}

/** Ledgers of a few entries each, until something fails. */
async function appendUntilUnknown(
  client: Client,
): Promise<{ ledgerId: bigint | undefined; acked: Acked[]; error: unknown }> {
  const acked: Acked[] = []
  let ledgerId: bigint | undefined
  try {
    for (;;) {
      const writer = await client.ledgers.create(single)
      ledgerId = writer.ledgerId
      const append = async (index: number): Promise<void> => {
        const text = `entry ${index} of ${writer.ledgerId}`
        acked.push({
          ledgerId: writer.ledgerId,
          entryId: await writer.append(Buffer.from(text)),
          text,
        })
      }
      for (let index = 0; index < 4; index++) await append(index)
      await Promise.all(Array.from({ length: 8 }, (_, index) => append(index)))
    }
  } catch (error) {
    return { ledgerId, acked, error }
  }
}

t.test('a disk that hangs is seen: reads go on, adds time out', async (t) => {
  const base = t.testdir()
  const dir = join(base, 'node')
  // From the hundredth on each sync takes long.
  const hanging = inject(join(base, 'strace'), 'fdatasync', 'delay_enter=8000000:when=100+')
  const node = await starts(dir, [], hanging)
  const { listen } = await node.ready
  const client = await connect(`quire://${listen}`, { logger: quiet, addTimeoutMs: 500 })
  const writer = await client.ledgers.create(single)
  let lastAcked = -1
  await t.rejects(
    async () => {
      for (;;) lastAcked = await writer.append(Buffer.from('slow'))
    },
    { code: 'QUIRE_OUTCOME_UNKNOWN' },
  )
  t.ok(lastAcked > 10)
  const bookie = await createTestBookieClient(listen)
  t.equal(await bookie.readStatus({ ledgerId: writer.ledgerId, entryId: lastAcked }), 0)
  bookie.close()
  t.ok(await client.ledgers.exists(writer.ledgerId), 'the metadata answers')
  await node.kill('SIGKILL')
  await client.close()
})
