// The ledger client and bookies with a secret, the same or not: real bookies on journals in memory.
import t, { type Test } from 'tap'
import { QuireError } from '../../../src/errors.ts'
import type { Logger } from '../../../src/io/index.ts'
import type { LedgerClient } from '../../../src/replication/api.ts'
import { createLedgerClient } from '../../../src/replication/index.ts'
import { SharedSecret } from '../../../src/wire/handshake.ts'
import { bookieBench } from '../../support/bookie-bench.ts'
import { contents } from '../../support/ledger-bench.ts'
import { MemoryLedgerManager, MemoryRegistration } from '../../support/ledger-managers.ts'
import { ManualTime, settle } from '../../support/manual-time.ts'
import { MemoryNetwork } from '../../support/memory-network.ts'
import { random, silent } from '../../support/metadata-bench.ts'

interface Bench {
  readonly network: MemoryNetwork
  readonly time: ManualTime
  readonly warnings: string[]
  readonly client: (secret?: string) => LedgerClient
  /** Lets time pass, and what was appended become durable. */
  readonly pass: (ms: number) => Promise<void>
}

/** Bookies with these secrets; undefined: none. */
async function benchOf(t: Test, secrets: readonly (string | undefined)[]): Promise<Bench> {
  const network = new MemoryNetwork()
  const time = new ManualTime()
  const registration = new MemoryRegistration()
  const ledgers = new MemoryLedgerManager()
  const warnings: string[] = []
  const logger: Logger = {
    ...silent,
    child: () => logger,
    warn: (_facts, text) => warnings.push(text),
  }
  const bookies = secrets.map((text) =>
    bookieBench(text === undefined ? {} : { secret: new SharedSecret(text) }),
  )
  for (const [port, { bookie }] of bookies.entries()) {
    await network.listen({ host: 'bookie', port }, (connection) => bookie.accept(connection))
    await registration.register({ bookieId: `bookie-${port}`, host: 'bookie', port })
  }
  const client = (text?: string): LedgerClient => {
    const secret = text === undefined ? undefined : new SharedSecret(text)
    const world = { network, clock: time, timers: time, random, logger }
    const made = createLedgerClient({ ...world, ledgers, registration, secret })
    t.teardown(() => made[Symbol.asyncDispose]())
    return made
  }
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 50) {
      await time.advance(50)
      for (const { journal } of bookies) journal.commit()
    }
    await settle()
  }
  return { network, time, warnings, client, pass }
}

/** Settled by now. */
async function outcome(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    (value) => value,
    (error: unknown) => error,
  )
}

t.test('the same secret: written, read and recovered as without one', async (t) => {
  const bench = await benchOf(t, ['s3cret-word', 's3cret-word', 's3cret-word'])
  const writer = await bench.client('s3cret-word').create()
  const added = Array.from({ length: 50 }, (_, index) =>
    writer.append(Buffer.from(`entry ${index}`)),
  )
  await bench.pass(200)
  t.equal((await Promise.all(added)).length, 50)
  const recovering = bench.client('s3cret-word').recover(writer.ledgerId)
  await bench.pass(200)
  const reading = recovering.then((reader) => contents(reader))
  await bench.pass(200)
  t.equal((await reading).length, 50)
  t.same(bench.warnings, [])
})

const failures: readonly [string, string | undefined, string | undefined, RegExp][] = [
  ['another secret', 's3cret-word', 'another word', /it has another secret/],
  ['a client without', 's3cret-word', undefined, /it has one, and this client none/],
  ['bookies without', undefined, 's3cret-word', /it has no secret/],
]

for (const [name, theirs, ours, sentence] of failures) {
  t.test(`${name}: nothing is stored, one clear cause, and no storm`, async (t) => {
    const bench = await benchOf(t, [theirs, theirs, theirs])
    const writer = await bench.client(ours).create()
    const appending = outcome(writer.append(Buffer.from('lost')))
    await bench.pass(40_000)
    const error = await appending
    t.ok(QuireError.is(error, 'QUIRE_OUTCOME_UNKNOWN'))
    const ended = await writer.ended
    t.ok(QuireError.is(ended, 'QUIRE_NOT_ENOUGH_BOOKIES') || QuireError.is(ended, 'QUIRE_TIMEOUT'))
    t.match(ended, { message: sentence, cause: { code: 'QUIRE_UNAUTHORIZED', message: sentence } })
    t.match(
      bench.warnings.find((line) => sentence.test(line)),
      /do not share a secret/,
    )
    const before = bench.network.dialled
    const open = await bench.client(theirs).create()
    const kept = open.append(Buffer.from('kept'))
    await bench.pass(1000)
    t.equal(await kept, 0)
    const recovering = outcome(bench.client(ours).recover(open.ledgerId))
    await bench.pass(20_000)
    t.match(await recovering, {
      code: 'QUIRE_RECOVERY_FAILED',
      message: sentence,
      cause: { code: 'QUIRE_UNAUTHORIZED' },
    })
    t.ok(before <= 60, `${before} connections in 40 s`)
  })
}

t.test('one bookie of four with another secret is left out', async (t) => {
  const bench = await benchOf(t, ['s3cret-word', 's3cret-word', 's3cret-word', 'another word'])
  const client = bench.client('s3cret-word')
  for (let round = 0; round < 6; round++) {
    const writer = await client.create()
    const added = writer.append(Buffer.from('kept'))
    await bench.pass(1000)
    t.equal(await added, 0)
    const closing = writer.close()
    await bench.pass(1000)
    await closing
  }
  t.match(bench.warnings.join('\n'), /bookie-3 and this client do not share a secret/)
})
