// Three real processes as a cluster, looked after from the command line: what each command prints
// with --json, a dead node that is replaced, two disks that are lost, and a rescue.
import { rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { connect } from '../../src/index.ts'
import { runQuire, type Ran } from '../support/command.ts'
import { startQuire, type Line, type QuireProcess } from '../support/processes.ts'

t.setTimeout(300_000)

const quire = (...args: string[]): Promise<Ran> => runQuire(args)

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve) => {
          server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port))
        }),
    ),
  )
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

const dir = t.testdir()
const addresses = (await freePorts(3)).map((port) => `127.0.0.1:${port}`)
const peers = addresses.join(',')
const dirOf = (index: number): string => join(dir, `node-${index}`)
const start = (index: number, list: string = peers): QuireProcess =>
  startQuire(['--dir', dirOf(index), '--listen', addresses[index] ?? '', '--peers', list])
const nodes = [start(0), start(1), start(2)]
const uri = `quire://${peers}`
const members = (line: Line | undefined) =>
  line?.['members'] as { id: string; role: string; state: string }[]

async function append(to: string, text: string): Promise<void> {
  await using client = await connect(to)
  const log = await client.log('orders')
  const writer = await log.acquire()
  await writer.append(Buffer.from(text))
  await writer.close()
}

async function read(from: string): Promise<string[]> {
  await using client = await connect(from)
  const log = await client.log('orders')
  const texts: string[] = []
  for await (const { bytes } of log.read({ from: 0 })) texts.push(bytes.toString())
  return texts
}

const ids: string[] = []

t.test('who belongs to it, and how it fares', async (t) => {
  for (const node of nodes) ids.push((await node.ready).id)
  await append(uri, 'one')
  const said = await quire('members', '--dir', dirOf(1))
  t.equal(said.status, 0, said.stderr)
  t.match(said.lines, [{ event: 'members', clusterId: String, leader: String, term: Number }])
  t.same(new Set(members(said.lines[0]).map(({ id }) => id)), new Set(ids))
  for (const member of members(said.lines[0])) {
    t.match(member, { address: /^127/, role: 'voter', state: 'in-touch', behind: Number })
  }
  const status = await quire('status', '--node', addresses[0] ?? '', '--ledgers')
  t.match(status, {
    status: 0,
    lines: [
      {
        event: 'status',
        bookies: { writable: { length: 3 }, readOnly: [] },
        logs: 1,
        ledgers: { total: Number, count: 0, atRisk: 0, ledgers: [] },
      },
    ],
  })
})

t.test('what is refused, and what is used wrongly', async (t) => {
  const [first = ''] = addresses
  const refused = await quire('remove', 'nobody', '--node', first)
  t.match(refused, {
    status: 1,
    lines: [{ event: 'error', code: 'QUIRE_CHANGE_REFUSED', reason: 'unknown-member' }],
  })
  t.match(await quire('replace', ids[2] ?? '', '--node', first), { status: 2 })
  t.match(await quire('members', '--node', 'nonsense'), {
    status: 2,
    lines: [{ event: 'error', code: 'QUIRE_BAD_OPTION' }],
  })
  t.match(await quire('members', '--node', '127.0.0.1:1'), {
    status: 1,
    lines: [{ event: 'error', code: 'QUIRE_METADATA_UNAVAILABLE' }],
  })
  t.match(await quire('rescue', '--dir', dirOf(0), '--dry-run'), {
    status: 1,
    lines: [{ event: 'error', code: 'QUIRE_DIRECTORY_IN_USE' }],
  })
})

t.test('leadership moves to whom it is given', async (t) => {
  const lead = await quire('lead', ids[0] ?? '', '--node', peers)
  t.equal(lead.status, 0, lead.stderr)
  t.match(lead.lines.at(-1), { event: 'leads', id: ids[0] ?? '' })
})

t.test('a node whose disk is lost is replaced by itself with an empty one', async (t) => {
  await nodes[2]?.kill('SIGKILL')
  rmSync(dirOf(2), { recursive: true })
  const back = start(2)
  nodes[2] = back
  const args = ['replace', ids[2] ?? '', '--with', addresses[2] ?? '', '--node', peers] as const
  // Until the others have noticed that the old one is gone, and the new one waits.
  let replaced = await quire(...args)
  for (let tries = 20; tries > 0 && replaced.status !== 0; tries--) replaced = await quire(...args)
  t.equal(replaced.status, 0, replaced.stderr)
  t.ok(replaced.lines.some(({ event, step }) => event === 'progress' && step === 'learner'))
  t.match(replaced.lines.at(-1), {
    event: 'replaced',
    old: ids[2] ?? '',
    id: /^quire-/,
    lacking: { total: Number, count: Number, atRisk: 0, ledgers: [{ ledgerId: String }] },
  })
  const { id } = await back.ready
  t.not(id, ids[2])
  t.equal(id, replaced.lines.at(-1)?.['id'])
  ids[2] = id
  await append(uri, 'two')
  t.same(await read(uri), ['one', 'two'])
})

t.test('two of three disks are lost: what is left of the third is rescued', async (t) => {
  await nodes[0]?.kill('SIGKILL')
  await nodes[1]?.kill('SIGKILL')
  await nodes[2]?.kill('SIGKILL')
  const plan = await quire('rescue', '--dir', dirOf(0), '--dry-run')
  t.equal(plan.status, 0, plan.stderr)
  t.match(plan.lines, [
    {
      event: 'rescue-plan',
      id: ids[0] ?? '',
      bookieId: ids[0] ?? '',
      lost: { length: 2 },
      log: { term: Number, applied: Number, committed: Number, appended: Number },
      ledgers: { total: Number, whole: Number, lacking: { count: Number }, open: {}, gone: {} },
      logs: [{ name: 'orders', ownerEpoch: Number }],
    },
  ])
  const rescued = await quire('rescue', '--dir', dirOf(0))
  t.equal(rescued.status, 0, rescued.stderr)
  t.match(rescued.lines, [{ event: 'rescued', newClusterId: String, newId: String, aside: String }])
  const [first = ''] = addresses
  const alone = start(0, first)
  nodes[0] = alone
  t.equal((await alone.ready).id, ids[0])
  t.same(await read(`quire://${first}`), ['one', 'two'], 'what has a copy here is read')
  await append(`quire://${first}`, 'three')

  const late = start(1)
  nodes[1] = late
  t.equal(await late.ended, 1)
  t.match(late.lines.at(-1), { event: 'error', code: 'QUIRE_CLUSTER_RESCUED' })

  rmSync(dirOf(1), { recursive: true })
  nodes[1] = start(1, `${first},${addresses[1]}`)
  const args = ['add', addresses[1] ?? '', '--node', first] as const
  let added = await quire(...args)
  for (let tries = 20; tries > 0 && added.status !== 0; tries--) added = await quire(...args)
  t.equal(added.status, 0, added.stderr)
  t.match(added.lines.at(-1), { event: 'added', id: /^quire-/, address: addresses[1] ?? '' })
  const { id } = (await nodes[1]?.ready) ?? { id: '' }
  const removed = await quire('remove', id, '--forget', '--node', first)
  t.match(removed.lines.at(-1), {
    event: 'removed',
    id,
    forgotten: true,
    lacking: { count: 0, ledgers: [] },
  })
  t.equal(await nodes[1]?.ended, 1, 'it stops')
})

t.teardown(async () => {
  for (const node of nodes) await node.kill('SIGKILL')
})
