// Bad days of one node, on real processes: each has its error with a code and a sentence, nothing
// is lost or overwritten, and the node starts again once the cause is gone. What disks do is in
// disk.test.ts, damaged bytes in damage.test.ts.
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { join } from 'node:path'
import t from 'tap'
import {
  at,
  filesOf,
  flip,
  hashOf,
  prepared,
  put,
  records,
  refused,
  starts,
  stillThere,
} from '../support/one-node.ts'
import { startQuire } from '../support/processes.ts'

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
  await refused(t, ['--dir', dir, ...at], 'QUIRE_IDENTITY_UNKNOWN')
  rmSync(join(dir, 'journal'), { recursive: true, force: true })
  mkdirSync(join(dir, 'journal'))
  await refused(t, ['--dir', dir, ...at], 'QUIRE_IDENTITY_UNKNOWN')
  rmSync(join(dir, 'journal'), { recursive: true })
  renameSync(join(dir, 'aside'), join(dir, 'journal'))
  await stillThere(t, dir)
})

t.test('lost metadata, and metadata that is none', async (t) => {
  const dir = await prepared(t)
  renameSync(join(dir, 'metadata'), join(dir, 'aside'))
  await refused(t, ['--dir', dir, ...at], 'QUIRE_IDENTITY_MISMATCH')
  rmSync(join(dir, 'metadata'), { recursive: true })
  renameSync(join(dir, 'aside'), join(dir, 'metadata'))
  const tree = join(dir, 'metadata/tree.sqlite')
  const saved = readFileSync(tree)
  for (const damage of [Buffer.from('garbage'), saved.subarray(0, 5000)]) {
    writeFileSync(tree, damage)
    await refused(t, ['--dir', dir, ...at], 'QUIRE_IO')
    t.same(readFileSync(tree), damage, 'nothing was overwritten')
  }
  writeFileSync(tree, saved)
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

t.test(
  'SIGTERM closes in order also while the metadata hangs, a second one ends at once',
  async (t) => {
    const base = t.testdir()
    const first = await starts(join(base, 'first'))
    const metadata = ['--metadata', `quire://${(await first.ready).listen}`]
    const [patient, hurried] = [
      await starts(join(base, 'patient'), metadata),
      await starts(join(base, 'hurried'), metadata),
    ]
    first.child.kill('SIGSTOP')
    const closed = patient.kill('SIGTERM')
    hurried.child.kill('SIGTERM')
    await sleep(500)
    t.equal(hurried.child.exitCode, null, 'it waits for the metadata')
    t.equal(await hurried.kill('SIGTERM'), 1)
    t.notMatch(hurried.lines.at(-1), { event: 'closed' })
    t.equal(await closed, 0)
    t.match(patient.lines.at(-1), { event: 'closed' })
    await first.kill('SIGKILL')
  },
)
