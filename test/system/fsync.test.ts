// kill -9 leaves the page cache, and so proves no fsync. Here shipped processes are traced with
// strace: for every acknowledged entry, fence and metadata change there must be a sync of the file
// that holds it, between its write and its answer.
import { join } from 'node:path'
import t from 'tap'
import { connect } from '../../src/index.ts'
import { DurabilityJudge, type Verdict } from '../support/durability.ts'
import { startQuire, type QuireProcess } from '../support/processes.ts'
import { readRecord, straceArguments, type SystemCall } from '../support/strace.ts'

async function judge(record: string): Promise<Verdict> {
  const court = new DurabilityJudge()
  for await (const call of readRecord(record)) court.take(call)
  return court.verdict
}

async function load(uri: string): Promise<void> {
  await using client = await connect(uri)
  const writer = await client.ledgers.create({ ensembleSize: 3 })
  for (let i = 0; i < 20; i++) await writer.append(Buffer.from(`one at a time ${i}`))
  await Promise.all(
    Array.from({ length: 200 }, (_, i) => writer.append(Buffer.from(`together ${i}`))),
  )
  await using recovered = await client.ledgers.recover(writer.ledgerId)
  if (recovered.lastAddConfirmed !== 219) throw new Error('the load is not as meant')
}

t.test('nothing is answered before it is synced', async (t) => {
  const directory = t.testdir()
  const records = [0, 1, 2].map((index) => join(directory, `strace-${index}`))
  const under = (index: number): { under: string[] } => ({
    under: straceArguments(records[index] ?? ''),
  })
  const first = startQuire(['--dir', join(directory, 'a'), '--listen', '127.0.0.1:0'], under(0))
  const uri = `quire://${(await first.ready).listen}`
  const others = [1, 2].map((index): QuireProcess => {
    const args = [
      '--dir',
      join(directory, `b${index}`),
      '--listen',
      '127.0.0.1:0',
      '--metadata',
      uri,
    ]
    return startQuire(args, under(index))
  })
  await Promise.all(others.map(({ ready }) => ready))
  await load(uri)
  for (const bookie of [...others, first])
    t.equal(await bookie.kill('SIGTERM'), 0, 'closed in order')
  const verdicts = await Promise.all(records.map(judge))
  for (const verdict of verdicts) t.same(verdict.violations, [])
  t.ok(
    verdicts.every(({ entries }) => entries >= 220),
    'every bookie acknowledged every entry',
  )
  t.ok(verdicts.filter(({ fences }) => fences > 0).length >= 2, 'an ack quorum at least was fenced')
  t.ok((verdicts[0]?.changes ?? 0) >= 3, 'the metadata was changed')
})

t.test('the judge finds an answer without its sync', async (t) => {
  const directory = t.testdir()
  const record = join(directory, 'strace')
  const node = startQuire(['--dir', join(directory, 'a'), '--listen', '127.0.0.1:0'], {
    under: straceArguments(record),
  })
  await using client = await connect(`quire://${(await node.ready).listen}`)
  const writer = await client.ledgers.create({ ensembleSize: 1, ackQuorumSize: 1 })
  await writer.append(Buffer.from('entry'))
  await writer.close()
  await node.kill('SIGTERM')
  const calls: SystemCall[] = []
  for await (const call of readRecord(record)) calls.push(call)
  const without = (pattern: RegExp): Verdict => {
    const court = new DurabilityJudge()
    for (const call of calls)
      if (!(/sync/.test(call.name) && pattern.test(call.target))) court.take(call)
    return court.verdict
  }
  t.same(without(/nothing/).violations, [])
  t.match(without(/\.journal$/).violations, [/entry 0/])
  t.match(without(/sqlite/).violations, [/metadata change/])
})
