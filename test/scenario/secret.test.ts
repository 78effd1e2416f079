// Nodes and clients with a secret, the same or not, over real ports: who has the right one works,
// everybody else gets one clear error and nothing else.
import t from 'tap'
import { connect, open, type Logger } from '../../src/index.ts'
import { createTestBookieClient } from '../support/raw-bookie.ts'
import { startQuire, type StartOptions } from '../support/processes.ts'
import { silent, startNodes, unheard } from '../support/nodes.ts'

const secret = 'correct horse battery'
const heard = unheard()
const short = { connectTimeoutMs: 1000, sessionTimeoutMs: 2000 }

t.test('nodes and a client that share a secret work as without one', async (t) => {
  const cluster = await startNodes(t, 3, { secret })
  await using client = await connect(cluster.uri, { secret, logger: silent })
  const writer = await client.ledgers.create({
    ensembleSize: 3,
    writeQuorumSize: 3,
    ackQuorumSize: 2,
  })
  for (let index = 0; index < 20; index++) await writer.append(Buffer.from(`entry ${index}`))
  await writer.close()
  const reader = await client.ledgers.recover(writer.ledgerId)
  const read: string[] = []
  for await (const { payload } of reader.read()) read.push(payload.toString())
  t.equal(read.length, 20)
  t.equal(read[19], 'entry 19')
})

t.test('another secret, or none, is one clear error at once', async (t) => {
  const lines: string[] = []
  const note = (facts: object, message: string): void => {
    lines.push(`${message} ${JSON.stringify(facts)}`)
  }
  const listening: Logger = {
    child: () => listening,
    debug: note,
    info: note,
    warn: note,
    error: note,
  }
  const { uri, nodes, dir } = await startNodes(t, 1, { secret, logger: listening })
  const wrong = { ...short, secret: 'something else', logger: listening }
  const error = { code: 'QUIRE_UNAUTHORIZED', retryable: false }
  await t.rejects(connect(uri, wrong), { ...error, message: /give both the same one/ })
  await t.rejects(connect(uri, { ...short, logger: silent }), {
    ...error,
    message: /node has a secret/,
  })
  const joining = { dir: `${dir}/joining`, metadata: uri, threads: 'inline' as const }
  await t.rejects(open({ ...joining, ...wrong }), error, 'nor does a node join')
  t.notMatch(lines.join('\n'), new RegExp(`${secret}|something else`), 'no log shows a secret')
  const said = lines.filter((line) => line.startsWith('a connection was refused'))
  t.equal(said.length, 3, 'each tried once')
  const bookie = await createTestBookieClient(nodes[0]?.listen ?? '')
  t.equal(await bookie.add({ ledgerId: 5n, entryId: 0, payload: Buffer.from('x') }), 502)
  t.equal(await bookie.readStatus({ ledgerId: 5n, entryId: 0 }), 502)
  bookie.close()
  await using client = await connect(uri, { secret, logger: silent })
  t.notOk(await client.ledgers.exists(5n), 'nothing came of it, and the node is well')
})

t.test('a client with a secret takes no node without one', async (t) => {
  const { uri } = await startNodes(t, 1)
  await t.rejects(connect(uri, { ...short, secret, logger: silent }), {
    code: 'QUIRE_UNAUTHORIZED',
    message: /has no secret/,
  })
  await using client = await connect(uri, { logger: silent })
  t.ok(client, 'and one without works as before')
})

t.test(
  'processes: beyond this machine with a secret from the environment, not without',
  async (t) => {
    const dir = t.testdir()
    const reachable = ['--dir', `${dir}/a`, '--listen', '0.0.0.0:0']
    const open = startQuire(reachable)
    t.equal(await open.ended, 2)
    t.match(open.lines, [{ code: 'QUIRE_BAD_OPTION', message: /QUIRE_SECRET/ }])
    const under = (value: string): StartOptions => ({ under: ['env', `QUIRE_SECRET=${value}`] })
    const first = startQuire(reachable, under(secret))
    t.teardown(() => first.kill('SIGKILL'))
    const port = (await first.ready).listen.split(':').at(-1)
    const uri = `quire://127.0.0.1:${port}`
    const bookie = (name: string): string[] => [
      '--dir',
      `${dir}/${name}`,
      '--listen',
      '127.0.0.1:0',
      '--metadata',
      uri,
    ]
    const second = startQuire(bookie('b'), under(secret))
    t.teardown(() => second.kill('SIGKILL'))
    const stranger = startQuire(bookie('c'), under('something else'))
    t.equal(await stranger.ended, 1)
    t.match(stranger.lines, [{ event: 'error', code: 'QUIRE_UNAUTHORIZED' }])
    await second.ready
    await t.rejects(connect(uri, { ...short, logger: silent }), { code: 'QUIRE_UNAUTHORIZED' })
    await using client = await connect(uri, { secret, logger: silent })
    const log = await client.log('orders')
    await (await log.acquire()).append(Buffer.from('first'))
    // The node comes back with a life of its own and the same secret: the client goes on.
    await first.kill('SIGKILL')
    const again = startQuire(['--dir', `${dir}/a`, '--listen', `0.0.0.0:${port}`], under(secret))
    t.teardown(() => again.kill('SIGKILL'))
    await again.ready
    await (await log.acquire()).append(Buffer.from('second'))
    const records: string[] = []
    for await (const { bytes } of log.read()) records.push(String(bytes))
    t.same(records, ['first', 'second'])
    t.notMatch(
      first.stderr() + stranger.stderr() + again.stderr(),
      new RegExp(`${secret}|something else`),
    )
  },
)

t.test('nobody heard of anything else', async (t) => {
  t.same(heard, [])
})
