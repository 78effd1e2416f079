import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { QuireError } from '../../../src/errors.ts'
import type { JournalFile, Thread } from '../../../src/io/index.ts'
import type { JournalDevice } from '../../../src/io/index.ts'
import { fileError } from '../../../src/io/real/file-errors.ts'
import { files } from '../../../src/io/real/files.ts'
import { createIo } from '../../../src/io/real/index.ts'
import { createJournalDevices } from '../../../src/io/real/journal-device.ts'
import { requireNodeVersion } from '../../../src/io/real/node-version.ts'
import { openSqlite } from '../../../src/io/real/sqlite.ts'
import { startThread } from '../../../src/io/real/threads.ts'
import { ioSuite } from '../../conformance/io-suite.ts'

const threads = {
  start(_program: string, data: unknown): Thread {
    const thread = startThread('../test/support/thread-program')
    thread.post(data)
    return thread
  },
}

t.test('the real world keeps the contract', async (t) => {
  ioSuite(t, (t: Test) => ({
    io: createIo({ threads }),
    directory: t.testdir(),
    address: { host: '127.0.0.1', port: 0 },
    settle: keepAlive,
  }))
})

/** Timers of Quire do not keep a process alive; this one does. */
async function keepAlive<T>(promise: Promise<T>): Promise<T> {
  const timer = setInterval(() => undefined, 1000)
  try {
    return await promise
  } finally {
    clearInterval(timer)
  }
}

t.test('a directory is locked against other processes, and a poisoned one is theirs', async (t) => {
  const directory = t.testdir()
  const lock = await files.lock(directory)
  t.equal(lockElsewhere(directory), 'QUIRE_DIRECTORY_IN_USE')
  files.poison(directory)
  await lock.release()
  t.equal(lockElsewhere(directory), 'locked')
  t.ok(await rejects(files.lock(directory), 'QUIRE_DIRECTORY_POISONED'), 'still not by this one')
})

/** What a process of its own gets when it locks. */
function lockElsewhere(directory: string): string {
  const url = new URL('../../../src/io/real/files.ts', import.meta.url)
  const program = `
    const { files } = await import(${JSON.stringify(url.href)})
    const lock = files.lock(${JSON.stringify(directory)})
    const answer = await lock.then(() => 'locked', (error) => error.code)
    process.stdout.write(answer)`
  return execFileSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
  })
}

async function rejects(promise: Promise<unknown>, code: 'QUIRE_DIRECTORY_POISONED') {
  const [outcome] = await Promise.allSettled([promise])
  return outcome.status === 'rejected' && QuireError.is(outcome.reason, code)
}

t.test('a process that waits for a timer does not end before it', (t) => {
  const time = join(import.meta.dirname, '../../../src/io/real/time.ts')
  const script = `
    const { timers } = await import(${JSON.stringify(time)})
    await new Promise((resolve) => timers.after(20, resolve))
    timers.after(3_600_000, () => {}).cancel()
    console.log('waited')`
  const args = ['--input-type=module', '-e', script]
  t.equal(execFileSync(process.execPath, args, { encoding: 'utf8' }), 'waited\n')
  t.end()
})

t.test('a plain sentence, not a crash, when Node is too old', async (t) => {
  t.throws(() => requireNodeVersion('20.20.2'), { code: 'QUIRE_NODE_VERSION' })
  t.throws(() => requireNodeVersion('22.18.0'), { message: /Quire needs Node 22.19/ })
  t.doesNotThrow(() => requireNodeVersion('22.19.0'))
  t.doesNotThrow(() => requireNodeVersion('24.0.0'))
})

t.test('SQLite opens, and says what is wrong', async (t) => {
  const directory = t.testdir()
  const database = openSqlite(join(directory, 'db'))
  database.exec('create table t (x)')
  database.prepare('insert into t values (?)').run(7n)
  t.equal(database.prepare('select x from t').pluck().get(), 7)
  database.close()
  t.throws(() => openSqlite(join(directory, 'no', 'db')), { code: 'QUIRE_DIRECTORY_MISSING' })
  writeFileSync(join(directory, 'junk'), 'x'.repeat(5000))
  const junk = openSqlite(join(directory, 'junk'))
  t.throws(() => junk.exec('create table t (x)'))
  junk.close()
})

t.test('errors of the system have their codes, and sentences that say what to do', async (t) => {
  const full = await files.open('/dev/full', 'write')
  const facts = { writtenBytes: 0, path: '/dev/full' }
  await t.rejects(full.write(new Uint8Array(10), 0), { code: 'QUIRE_DISK_FULL', facts })
  await full.close()
  await t.rejects(files.makeDirectory('/proc/quire/journal'), { code: 'QUIRE_DIRECTORY_MISSING' })
  // The system refuses to sync a device.
  const device = await files.open('/dev/null', 'write')
  await t.rejects(device.datasync(), { code: 'QUIRE_FSYNC_FAILED', message: /end this process/ })
  await t.rejects(device.sync(), { code: 'QUIRE_FSYNC_FAILED' })
  await device.close()
  const codes = { EACCES: 'DIRECTORY_DENIED', EROFS: 'DIRECTORY_DENIED', EDQUOT: 'DISK_FULL' }
  for (const [code, ours] of Object.entries(codes)) {
    const cause = Object.assign(new Error('no'), { code })
    const error = fileError(cause, '/data', 'open')
    t.match(error, { code: `QUIRE_${ours}`, cause, message: /^could not open \/data: no; \w/ })
  }
  t.match(fileError(new Error('odd'), '/data', 'open'), { code: 'QUIRE_IO' })
  const own = new QuireError('QUIRE_CLOSED', 'closed')
  t.equal(fileError(own, '/data', 'open'), own, 'an error of ours stays as it is')
})

t.test('the journal and a disk that fails', async (t) => {
  let thread: Thread | undefined
  const start = () => (thread = startThread('io/real/journal-thread'))
  const devices = createJournalDevices(files, start)

  await t.test('no space: said, and the device goes on', async (t) => {
    const device = await devices.open()
    const image = device.allocate(4096)
    const full = await device.open('/dev/full', image)
    t.ok(QuireError.is(await commit(device, full), 'QUIRE_DISK_FULL'))
    const path = join(t.testdir(), 'journal')
    await device.prepare(path, 4096)
    t.equal(await commit(device, await device.open(path, image)), undefined)
    await device.close()
  })

  await t.test('a file is closed while commits of another go on', async (t) => {
    const devices = createJournalDevices(files, () => startThread('io/real/journal-thread'))
    const device = await devices.open()
    const open = async (name: string): Promise<JournalFile> => {
      const path = join(t.testdirName, name)
      await device.prepare(path, 8192)
      return device.open(path, device.allocate(8192))
    }
    t.testdir()
    const [busy, idle] = [await open('busy'), await open('idle')]
    const state = { commits: 0, stopped: false }
    const stopped = new Promise<void>((resolve) => {
      const again = (): void => {
        state.commits++
        if (state.stopped) resolve()
        else device.commit(busy, 0, 4096, again)
      }
      device.commit(busy, 0, 4096, again)
    })
    await device.closeFile(idle)
    t.ok(state.commits < 1000)
    state.stopped = true
    await stopped
    await device.closeFile(busy)
    await device.close()
  })

  await t.test('a sync that fails: dead for good', async (t) => {
    const device = await devices.open()
    const image = device.allocate(4096)
    const path = join(t.testdir(), 'journal')
    await device.prepare(path, 4096)
    const good = await device.open(path, image)
    // The system takes writes there, and refuses to sync them.
    const bad = await device.open('/dev/null', image)
    const outcomes = await Promise.all([good, bad, good].map((file) => commit(device, file)))
    t.equal(outcomes[0], undefined)
    t.ok(QuireError.is(outcomes[1], 'QUIRE_FSYNC_FAILED'))
    t.ok(QuireError.is(outcomes[2], 'QUIRE_FSYNC_FAILED'), 'also to what would have worked')
    t.ok(QuireError.is(await commit(device, good), 'QUIRE_FSYNC_FAILED'))
    await device.close()
  })

  await t.test('its thread dies: what is pending is unknown', async (t) => {
    const device = await devices.open()
    const image = device.allocate(1 << 20)
    const path = join(t.testdir(), 'journal')
    await device.prepare(path, 1 << 20)
    const file = await device.open(path, image)
    const outcomes = Array.from({ length: 100 }, () => commit(device, file))
    await thread?.terminate()
    const last = (await Promise.all(outcomes)).at(-1)
    t.ok(QuireError.is(last, 'QUIRE_FSYNC_FAILED'))
    t.ok(QuireError.is(await commit(device, file), 'QUIRE_FSYNC_FAILED'))
  })
})

function commit(device: JournalDevice, file: JournalFile): Promise<Error | undefined> {
  return new Promise((resolve) => device.commit(file, 0, file.image.length, resolve))
}

t.test('a snapshot that is let go of before it was read holds nothing', async (t) => {
  const path = join(t.testdir(), 'state.sqlite')
  const store = await createIo({ threads }).states.open(path)
  await store.transact((tx) => tx.script('create table one (value)'))
  const checkpoint = (): unknown => {
    const database = openSqlite(path, { timeoutMs: 0 })
    const [row] = database.pragma('wal_checkpoint(TRUNCATE)') as { busy: number }[]
    database.close()
    return row?.busy
  }
  const chunks = store.snapshot(65_536)[Symbol.asyncIterator]()
  await store.transact((tx) => tx.run('insert into one values (1)'))
  t.equal(checkpoint(), 1, 'held: its log cannot be cut')
  await chunks.return?.()
  t.equal(checkpoint(), 0)
  await store.close()
})
