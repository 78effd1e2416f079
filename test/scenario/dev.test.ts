// `quire dev 3`: three nodes in one command, which are gone with it; and what a node by itself says.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import t from 'tap'
import { runQuire } from '../support/command.ts'
import { compiledOnce, fromSource, startQuire, type Line } from '../support/processes.ts'

t.setTimeout(180_000)

const secret = 'three nodes share this'

t.test('three nodes run until Ctrl-C, and nothing of them is left', async (t) => {
  const words = ['-u', 'NODE_OPTIONS', `QUIRE_SECRET=${secret}`, process.execPath, ...fromSource]
  const child = spawn('env', [...words, 'dev', '3', '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: compiledOnce,
  })
  const lines: Line[] = []
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  const ready = await new Promise<Line>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (text) => {
      const line = JSON.parse(text) as Line
      lines.push(line)
      if (line['event'] === 'ready') resolve(line)
    })
    void ended.then((status) => reject(new Error(`it ended with ${status}`)))
  })
  t.match(ready, { uri: /^quire:\/\//, dir: String, nodes: { length: 3 } })
  const nodes = ready['nodes'] as { address: string; pid: number; id: string; dir: string }[]
  for (const { dir } of nodes) t.ok(existsSync(dir))
  const [first] = nodes
  const node = first?.address ?? ''

  const members = await runQuire(['members', '--node', node], { secret })
  t.match(members, { status: 0, lines: [{ event: 'members', members: { length: 3 } }] })
  const stranger = await runQuire(['members', '--node', node], { secret: 'another secret' })
  t.match(stranger, { status: 1, lines: [{ event: 'error', code: 'QUIRE_UNAUTHORIZED' }] })

  child.kill('SIGINT')
  t.equal(await ended, 0)
  t.match(lines.at(-1), { event: 'closed' })
  t.notOk(existsSync(String(ready['dir'])), 'their directories are gone')
  for (const { pid } of nodes) t.throws(() => process.kill(pid, 0), { code: 'ESRCH' })
})

t.test('how many must be a number that makes sense', async (t) => {
  for (const count of ['0', 'three', '10']) {
    t.match(await runQuire(['dev', count]), {
      status: 2,
      lines: [{ event: 'error', code: 'QUIRE_BAD_OPTION' }],
    })
  }
})

t.test('a node by itself has no members, and says what it holds', async (t) => {
  const dir = t.testdir()
  const alone = startQuire(['--dir', dir, '--listen', '127.0.0.1:0'])
  const { id } = await alone.ready
  t.match(await runQuire(['status', '--dir', dir, '--ledgers']), {
    status: 0,
    lines: [
      {
        event: 'status',
        clusterId: null,
        members: [],
        bookies: { writable: [id], readOnly: [] },
        logs: 0,
        ledgers: { total: 0, count: 0 },
      },
    ],
  })
  t.match(await runQuire(['members', '--dir', dir]), {
    status: 1,
    lines: [{ event: 'error', code: 'QUIRE_METADATA_UNAVAILABLE' }],
  })
  t.equal(await alone.kill('SIGTERM'), 0)
  t.match(await runQuire(['rescue', '--dir', dir, '--dry-run']), {
    status: 2,
    lines: [{ event: 'error', code: 'QUIRE_BAD_OPTION' }],
  })
})
