// Bad days of one node, on real processes: each has its error with a code and a sentence, nothing is lost or overwritten, and
// the node starts again once the cause is gone.
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { connect } from '../../src/index.ts'
import { startQuire, type QuireProcess } from '../support/processes.ts'

const at = ['--listen', '127.0.0.1:0']

async function starts(dir: string, more: string[] = []): Promise<QuireProcess> {
  const node = startQuire(['--dir', dir, ...at, ...more])
  await node.ready
  return node
}

/** The start is refused: exit status 1, the code, and a sentence. */
async function refused(t: Test, args: string[], code: string): Promise<void> {
  const node = startQuire(args)
  t.equal(await node.ended, 1, `${code}: exit status`)
  t.match(
    node.stderr(),
    new RegExp(`quire: .{30,} \\[${code}\\]`, 's'),
    `${code}: sentence and code`,
  )
  t.match(node.lines.at(-1), { event: 'error', code })
}

async function put(node: QuireProcess, text: string): Promise<void> {
  await using client = await connect(`quire://${(await node.ready).listen}`)
  const log = await client.log('days')
  await using writer = await log.acquire()
  await writer.append(Buffer.from(text))
}

async function records(node: QuireProcess): Promise<string[]> {
  await using client = await connect(`quire://${(await node.ready).listen}`)
  const log = await client.log('days')
  const found: string[] = []
  for await (const { bytes } of log.read({ from: 0 })) found.push(bytes.toString())
  return found
}

/** A directory that holds one record and was closed in order. */
async function prepared(t: Test): Promise<string> {
  const dir = join(t.testdir(), 'node')
  const node = await starts(dir)
  await put(node, 'precious')
  t.equal(await node.kill('SIGTERM'), 0)
  return dir
}

async function stillThere(t: Test, dir: string, more: string[] = []): Promise<void> {
  const node = await starts(dir, more)
  t.same(await records(node), ['precious'], 'nothing was lost')
  t.equal(await node.kill('SIGTERM'), 0)
}

const filesOf = (dir: string, pattern: RegExp): string[] =>
  readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((name) => pattern.test(name))
    .map((name) => join(dir, name))
    .sort()

const hashOf = (paths: readonly string[]): string =>
  paths.map((path) => createHash('sha256').update(readFileSync(path)).digest('hex')).join()

function flip(path: string, offset: number): void {
  const file = openSync(path, 'r+')
  const byte = Buffer.alloc(1)
  readSync(file, byte, 0, 1, offset)
  byte[0] = (byte[0] ?? 0) ^ 0x10
  writeSync(file, byte, 0, 1, offset)
  closeSync(file)
}

t.test('a second process on the same directory', async (t) => {
  const dir = join(t.testdir(), 'node')
  const node = await starts(dir)
  await put(node, 'precious')
  await refused(t, ['--dir', dir, ...at], 'QUIRE_DIRECTORY_IN_USE')
  t.same(await records(node), ['precious'], 'the first one goes on')
  await node.kill('SIGKILL')
  await stillThere(t, dir)
})

t.test('wrong use exits with 2', async (t) => {
  for (const args of [
    ['--dir', 'x', '--listen', 'nonsense'],
    [],
    ['--no-such-flag'],
    ['--dir', 'x', '--listen', '0.0.0.0:0'],
  ]) {
    const node = startQuire(args)
    t.equal(await node.ended, 2, args.join(' '))
    t.match(node.stderr(), /\w+ .*\w+/)
  }
})

t.test('a ledger disk that is not there', async (t) => {
  const base = t.testdir()
  const [dir, disk] = [join(base, 'node'), join(base, 'disk')]
  mkdirSync(disk)
  const node = await starts(dir, ['--ledgers', disk])
  await put(node, 'precious')
  await node.kill('SIGTERM')
  renameSync(disk, `${disk}-unmounted`)
  await refused(t, ['--dir', dir, '--ledgers', disk, ...at], 'QUIRE_DIRECTORY_MISSING')
  renameSync(`${disk}-unmounted`, disk)
  await stillThere(t, dir, ['--ledgers', disk])
})

t.test('a ledger disk of another bookie', async (t) => {
  const base = t.testdir()
  const [a, b] = [join(base, 'a'), join(base, 'b')]
  for (const dir of [a, b]) await (await starts(dir)).kill('SIGTERM')
  await refused(t, ['--dir', a, '--ledgers', join(b, 'ledgers'), ...at], 'QUIRE_IDENTITY_MISMATCH')
  await (await starts(a)).kill('SIGTERM')
})

t.test('the wrong owner', async (t) => {
  const dir = await prepared(t)
  t.equal(process.getuid?.(), 0, 'this test changes owners: run it as root')
  const everything = filesOf(dir, /./)
  const own = (id: number): void => {
    for (const path of [...everything, dir]) chownSync(path, id, id)
  }
  own(65_534)
  for (const path of [dir, join(dir, 'journal')]) chmodSync(path, 0o500)
  const under = [
    'setpriv',
    '--bounding-set',
    '-all',
    '--inh-caps',
    '-all',
    '--reuid',
    '65533',
    '--clear-groups',
  ]
  chmodSync(dir, 0o700)
  const node = startQuire(['--dir', dir, ...at], { under })
  t.equal(await node.ended, 1)
  t.match(node.stderr(), /\[QUIRE_DIRECTORY_DENIED\]/)
  own(0)
  for (const path of [dir, join(dir, 'journal')]) chmodSync(path, 0o700)
  await stillThere(t, dir)
})

t.test('both copies of the superblock corrupt', async (t) => {
  const dir = await prepared(t)
  const supers = filesOf(dir, /super\.[AB]$/)
  t.equal(supers.length, 2)
  const saved = supers.map((path) => readFileSync(path))
  for (const path of supers) flip(path, 20)
  const before = hashOf([...supers, ...filesOf(dir, /\.journal$/)])
  await refused(t, ['--dir', dir, ...at], 'QUIRE_SUPERBLOCK_CORRUPT')
  t.equal(hashOf([...supers, ...filesOf(dir, /\.journal$/)]), before, 'nothing was overwritten')
  supers.forEach((path, index) => writeFileSync(path, saved[index] ?? ''))
  await stillThere(t, dir)
})

t.test('one copy of the superblock corrupt', async (t) => {
  const dir = await prepared(t)
  for (const path of filesOf(dir, /super\.[AB]$/)) {
    flip(path, 20)
    await stillThere(t, dir)
  }
})

t.test('a lost journal file', async (t) => {
  const dir = await prepared(t)
  const holder =
    filesOf(dir, /\.journal$/).find((path) => readFileSync(path).includes('precious')) ?? ''
  renameSync(holder, `${holder}.aside`)
  await refused(t, ['--dir', dir, ...at], 'QUIRE_RANGE_LOST')
  renameSync(`${holder}.aside`, holder)
  await stillThere(t, dir)
})

t.test('an emptied journal disk never answers under the old identity', async (t) => {
  const dir = await prepared(t)
  renameSync(join(dir, 'journal'), join(dir, 'aside'))
  mkdirSync(join(dir, 'journal'))
  await refused(t, ['--dir', dir, ...at], 'QUIRE_IDENTITY_UNKNOWN')
  rmSync(join(dir, 'journal'), { recursive: true })
  renameSync(join(dir, 'aside'), join(dir, 'journal'))
  await stillThere(t, dir)
})

t.test('an old copy of the disk is refused', async (t) => {
  const base = t.testdir()
  const first = await starts(join(base, 'first'))
  const metadata = ['--metadata', `quire://${(await first.ready).listen}`]
  const dir = join(base, 'bookie')
  await (await starts(dir, metadata)).kill('SIGTERM')
  execFileSync('cp', ['-a', dir, join(base, 'copy')])
  await (await starts(dir, metadata)).kill('SIGTERM')
  await refused(t, ['--dir', join(base, 'copy'), ...metadata, ...at], 'QUIRE_STALE_DISK')
  await (await starts(dir, metadata)).kill('SIGTERM')
  await first.kill('SIGTERM')
})

t.test('an address that is taken', async (t) => {
  const base = t.testdir()
  const node = await starts(join(base, 'a'))
  const { listen } = await node.ready
  await refused(t, ['--dir', join(base, 'b'), '--listen', listen], 'QUIRE_ADDRESS_IN_USE')
  await node.kill('SIGTERM')
})

t.test('a full disk at the start, and under load', async (t) => {
  const mount = join(t.testdir(), 'small')
  mkdirSync(mount)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'quire-test', mount])
  t.teardown(() => execFileSync('umount', ['-l', mount]))
  const dir = join(mount, 'node')
  await refused(t, ['--dir', dir, ...at], 'QUIRE_DISK_FULL')
  execFileSync('mount', ['-o', 'remount,size=330m', mount])
  const node = await starts(dir)
  await put(node, 'precious')
  writeFileSync(join(mount, 'filler'), Buffer.alloc(120 << 20))
  await using client = await connect(`quire://${(await node.ready).listen}`)
  const outcome = await fillUp(client)
  t.not(outcome.error, undefined, 'a full disk refuses appends')
  t.same(await records(node), ['precious'], 'reads go on')
  rmSync(join(mount, 'filler'))
  await writesAgain(t, client)
  await using recovered = await client.ledgers.recover(outcome.ledgerId)
  t.ok(recovered.lastAddConfirmed >= outcome.lastAcked, 'what was acknowledged is there')
  await node.kill('SIGKILL')
  await stillThere(t, dir)
})

type Client = Awaited<ReturnType<typeof connect>>

async function fillUp(
  client: Client,
): Promise<{ ledgerId: bigint; lastAcked: number; error: unknown }> {
  const writer = await client.ledgers.create({ ensembleSize: 1, ackQuorumSize: 1 })
  const { ledgerId } = writer
  let lastAcked = -1
  try {
    for (let sent = 0; sent < 4000; sent++)
      lastAcked = await writer.append(Buffer.alloc(128 << 10, sent))
    return { ledgerId, lastAcked, error: undefined }
  } catch (error) {
    return { ledgerId, lastAcked, error }
  }
}

/** The node goes back to writing by itself when there is room. */
async function writesAgain(t: Test, client: Client): Promise<void> {
  for (let attempt = 1; attempt <= 100; attempt++) {
    try {
      const writer = await client.ledgers.create({ ensembleSize: 1, ackQuorumSize: 1 })
      await writer.append(Buffer.from('again'))
      t.pass(`appends are taken again at attempt ${attempt}`)
      return
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  t.fail('appends are refused although there is room')
}
