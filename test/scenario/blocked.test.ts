// Nodes inside an application: a blocked thread, openings given up, directories taken twice, a disk
// that fails.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { openWith } from '../../src/embedded/open.ts'
import { connect, open, QuireError, type Node } from '../../src/index.ts'
import type { Io } from '../../src/io/index.ts'
import { createIo } from '../../src/io/real/index.ts'
import { asUsersDo, compiledOnce, startQuire } from '../support/processes.ts'
import { quiet } from '../support/quiet.ts'

const programs = {
  appender: new URL('../support/appender.ts', import.meta.url),
  aborter: new URL('../support/aborter.ts', import.meta.url),
}

const codeOf = (error: unknown): string => (QuireError.is(error) ? error.code : String(error))

function program(name: keyof typeof programs, ...args: string[]): ChildProcess {
  const path = fileURLToPath(programs[name])
  const [command = '', ...words] = [...asUsersDo, process.execPath, path, ...args]
  return spawn(command, words, { stdio: ['pipe', 'pipe', 'inherit'], env: compiledOnce })
}

/** Appends one record and reads it back. */
async function works(node: Pick<Node, 'log'>, record: string): Promise<boolean> {
  const log = await node.log('works')
  await using writer = await log.acquire()
  const position = await writer.append(Buffer.from(record))
  for await (const { bytes } of log.read({ from: position })) return bytes.toString() === record
  return false
}

/** With a node that goes on it takes less than a second; this ends a test that never would. */
const patienceMs = 60_000

t.test('a blocked application thread does not stop its node', async (t) => {
  const dir = t.testdir()
  await using node = await open({ dir: join(dir, 'node'), logger: quiet })
  const file = join(dir, 'seen')
  const other = program('appender', `quire://${node.listen}`, file)
  const { stdin, stdout } = other
  if (!stdin || !stdout) throw new Error('the program has no pipes')
  await once(stdout, 'data') // It appends.
  const seen = (): number => statSync(file).size
  const before = seen()
  const giveUpMs = Date.now() + patienceMs
  // Nothing else runs on this thread until it is over.
  while (seen() < before + 20 && Date.now() < giveUpMs) continue
  const meanwhile = seen() - before
  stdin.end()
  t.ok(meanwhile >= 20, `${meanwhile} records were appended and read meanwhile`)
  t.same(await once(other, 'close'), [0, null])
  t.ok(await works(node, 'afterwards'))
})

/** Appends, and lets nothing run on this thread until the append should have timed out long ago. */
async function appendedWhileBlocked(node: Node, addTimeoutMs: number): Promise<string> {
  const ledger = await node.ledgers.create()
  await ledger.append(Buffer.from('a connection is there'))
  const appended = ledger.append(Buffer.from('sent'))
  const outcome = appended.then(() => 'done', codeOf)
  for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate)
  const untilMs = Date.now() + 3 * addTimeoutMs
  while (Date.now() < untilMs) continue
  return outcome
}

t.test('answers that came while the thread was blocked are no silence', async (t) => {
  const addTimeoutMs = 500
  await using node = await open({ dir: join(t.testdir(), 'node'), addTimeoutMs, logger: quiet })
  const outcomes: string[] = []
  // A machine may be so slow that the answer was not there; it is not each time.
  for (let tries = 0; tries < 5 && !outcomes.includes('done'); tries++) {
    outcomes.push(await appendedWhileBlocked(node, addTimeoutMs))
  }
  t.ok(outcomes.includes('done'), outcomes.join(', '))
})

t.test('an opening that is given up leaves nothing behind', async (t) => {
  const child = program('aborter', join(t.testdir(), 'node'))
  const { stdout } = child
  if (!stdout) throw new Error('the program has no pipes')
  const ended = once(child, 'close')
  const counts = JSON.parse(await text(stdout))
  t.same(await ended, [0, null], 'the program ended by itself')
  t.ok(counts.aborted >= 3, JSON.stringify(counts))
})

for (const threads of ['worker', 'inline'] as const) {
  t.test(`nodes in one process, ${threads}`, async (t) => {
    const base = t.testdir()
    const options = { threads, logger: quiet }
    const [first, second] = [
      await open({ dir: join(base, 'a'), ...options }),
      await open({ dir: join(base, 'b'), ...options }),
    ]
    t.not(first.id, second.id)
    t.ok(await works(first, 'in the first'))
    t.ok(await works(second, 'in the second'))
    for (const again of ['worker', 'inline'] as const) {
      await t.rejects(open({ dir: join(base, 'a'), threads: again, logger: quiet }), {
        code: 'QUIRE_DIRECTORY_IN_USE',
        message: /in use by this process/,
      })
    }
    t.ok(await works(first, 'still in the first'))

    const stats = await first.close()
    t.ok(stats.entries > 0)
    t.same(await first.close(), stats, 'closed twice is closed')
    await t.rejects(works(first, 'too late'), { code: 'QUIRE_CLOSED' })
    const reopened = await open({ dir: join(base, 'a'), ...options })
    t.equal(reopened.id, first.id)
    await Promise.all([reopened.close(), reopened.close(), second.close()])
  })
}

/** The real world, but for syncs of the journal, which fail once they are told to. */
function failingDisk(): { io: Io; fail: () => void } {
  const io = createIo()
  const state = { fails: false }
  const journals: Io['journals'] = {
    async open() {
      const device = await io.journals.open()
      const error = new QuireError('QUIRE_FSYNC_FAILED', 'the disk could not say: check it')
      return {
        allocate: (bytes) => device.allocate(bytes),
        prepare: (path, bytes) => device.prepare(path, bytes),
        open: (path, image) => device.open(path, image),
        commit: (file, from, to, done) =>
          device.commit(file, from, to, (problem) => done(state.fails ? error : problem)),
        closeFile: (file) => device.closeFile(file),
        close: () => device.close(),
      }
    },
  }
  const fail = (): void => {
    state.fails = true
  }
  return { io: { ...io, journals }, fail }
}

t.test('after a failed sync the directory is for another process', async (t) => {
  const dir = join(t.testdir(), 'node')
  const { io, fail } = failingDisk()
  const node = await openWith({ io, logger: quiet }, { dir, threads: 'inline' })
  const client = await connect(`quire://${node.listen}`, { logger: quiet, sessionTimeoutMs: 500 })
  const ledger = await client.ledgers.create()
  await ledger.append(Buffer.from('safe'))
  fail()
  await t.rejects(ledger.append(Buffer.from('unknown')), { code: 'QUIRE_OUTCOME_UNKNOWN' })
  t.match(await node.failed, { code: 'QUIRE_FSYNC_FAILED' })
  await node.close()
  await client.close()
  for (const threads of ['worker', 'inline'] as const) {
    await t.rejects(open({ dir, threads, logger: quiet }), { code: 'QUIRE_DIRECTORY_POISONED' })
  }

  const other = startQuire(['--dir', dir, '--listen', '127.0.0.1:0'])
  const { id, listen } = await other.ready
  t.equal(id, node.id)
  await using reading = await connect(`quire://${listen}`, { logger: quiet })
  await using reader = await reading.ledgers.recover(ledger.ledgerId)
  for await (const { entryId, payload } of reader.read({ to: 0 }))
    t.same([entryId, payload.toString()], [0, 'safe'])
  t.ok(reader.lastAddConfirmed >= 0)
  t.equal(await other.kill('SIGTERM'), 0)
})
