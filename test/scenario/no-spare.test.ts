// Three bookies and no spare (semantics A16), on real processes: one is stopped, then killed.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as after } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { connect, open, type Client, type LedgerWriter } from '../../src/index.ts'
import type { LedgerMetadata } from '../../src/wire/ledger-metadata.ts'
import { recorded } from '../support/nodes.ts'
import { asUsersDo, compiledOnce } from '../support/processes.ts'
import { quiet } from '../support/quiet.ts'

t.setTimeout(180_000)

interface BookieNode {
  readonly child: ChildProcess
  readonly id: string
  readonly dir: string
}

async function start(t: Test, dir: string, uri: string): Promise<BookieNode> {
  const program = fileURLToPath(new URL('../support/bookie-node.ts', import.meta.url))
  const words = [...asUsersDo.slice(1), process.execPath, program, dir, uri]
  const child = spawn(asUsersDo[0] ?? '', words, {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: compiledOnce,
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [line] = await once(createInterface({ input: child.stdout }), 'line')
  return { child, id: JSON.parse(String(line)).id, dir }
}

async function kill({ child }: BookieNode): Promise<void> {
  child.kill('SIGKILL')
  await once(child, 'close')
}

/** Appended while one is silent: far more than is kept for it. */
const silentCount = 800
const payload = Buffer.alloc(65_536, 'no spare')

/** Appends so many entries, a few at a time; the most memory that the writer held. */
async function append(writer: LedgerWriter, count: number): Promise<number> {
  let heldBytesMost = 0
  for (let left = count; left > 0; left -= 16) {
    const few = Array.from({ length: Math.min(left, 16) }, () => writer.append(payload))
    await Promise.all(few)
    if ('heldBytes' in writer) heldBytesMost = Math.max(heldBytesMost, Number(writer.heldBytes))
  }
  return heldBytesMost
}

const sizesOf = ({ ensembleSize, writeQuorumSize, ackQuorumSize }: LedgerMetadata): number[] => [
  ensembleSize,
  writeQuorumSize,
  ackQuorumSize,
]

/** Creates ledgers until one has the sizes: the dead are gone from the cluster a while later. */
async function ledgerOf(client: Client, uri: string, sizes: readonly number[]) {
  for (;;) {
    const writer = await client.ledgers.create()
    const metadata = await recorded(uri, writer.ledgerId)
    if (String(sizesOf(metadata)) === String(sizes)) return { writer, metadata }
    await writer.close()
    await after(100)
  }
}

t.test('of three bookies one is silent, then dead, then back; then two are gone', async (t) => {
  const dir = t.testdir()
  await using first = await open({ dir: join(dir, 'a'), logger: quiet, sessionTimeoutMs: 3000 })
  const uri = `quire://${first.listen}`
  const b = await start(t, join(dir, 'b'), uri)
  let c = await start(t, join(dir, 'c'), uri)
  await using client = await connect(uri, { logger: quiet })

  const before = await ledgerOf(client, uri, [3, 3, 2])
  await append(before.writer, 10)
  c.child.kill('SIGSTOP')
  // What the silent one does not take is more than may be kept for it, many times over.
  const heldBytes = await append(before.writer, silentCount)
  t.ok(
    heldBytes > 0 && heldBytes < 32 << 20,
    `${heldBytes} of ${silentCount * payload.length} bytes held`,
  )
  t.ok(before.writer.degraded, 'it was left behind')
  t.equal(before.writer.lastAddConfirmed, 9 + silentCount)
  const { fragments, customMetadata } = await recorded(uri, before.writer.ledgerId)
  t.equal(fragments.length, 1, 'nobody was there to take its place')
  const missing = Buffer.from(customMetadata.get('quire.missing') ?? []).toString()
  t.match(missing, new RegExp(`^\\d+ \\* ${c.id}$`))

  await kill(c)
  t.equal(
    await append(before.writer, 10).then(() => before.writer.lastAddConfirmed),
    19 + silentCount,
  )
  const meanwhile = await ledgerOf(client, uri, [2, 2, 2])
  t.notOk(meanwhile.metadata.fragments[0]?.ensemble.includes(c.id), 'made of who lives')
  await append(meanwhile.writer, 10)
  const log = await client.log('spare')
  const owner = await log.acquire()
  t.equal(await owner.append(payload), 0, 'and logs go on')

  c = await start(t, c.dir, uri)
  const whole = await ledgerOf(client, uri, [3, 3, 2])
  t.ok(whole.metadata.fragments[0]?.ensemble.includes(c.id), 'who came back is used again')
  await append(whole.writer, 10)
  // A log that was begun with two copies goes on with three.
  while ((await log.facts()).segments.length < 2) {
    await owner.append(payload)
    await after(100)
  }
  const rolled = (await log.facts()).segments.at(-1)?.ledgerId ?? -1n
  t.same(sizesOf(await recorded(uri, rolled)), [3, 3, 2])

  await kill(b)
  await kill(c)
  await t.rejects(append(meanwhile.writer, 1), 'one bookie acknowledges nothing')
  await t.rejects(append(whole.writer, 1))
  t.equal(whole.writer.lastAddConfirmed, 9)
  let refusal: unknown
  while (refusal === undefined) {
    try {
      const writer = await client.ledgers.create()
      const { ackQuorumSize } = await recorded(uri, writer.ledgerId)
      if (ackQuorumSize < 2) t.fail('an ack quorum of one that nobody asked for')
      await writer.close()
      await after(100)
    } catch (error) {
      refusal = error
    }
  }
  t.match(refusal, { code: 'QUIRE_NOT_ENOUGH_BOOKIES' })
  const asked = await client.ledgers.create({ ensembleSize: 1 })
  t.same(sizesOf(await recorded(uri, asked.ledgerId)), [1, 1, 1], 'unless it is asked for')
  await append(asked, 3)
})
