// Three nodes on one metadata execute commands at the same time, on whichever node a program happens
// to be: one owns each log, the others bring it their commands. The owner is killed in the middle.
import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { connect, open } from '../../src/index.ts'
import { executeUntil, type States } from '../support/executing.ts'
import { asUsersDo, compiledOnce } from '../support/processes.ts'
import { quiet } from '../support/quiet.ts'

t.setTimeout(180_000)

interface Line {
  readonly event: string
  readonly of?: 'list' | 'table'
  readonly name?: string
  readonly place?: number
  readonly code?: string
  readonly id?: string
}

/** All that was told to programs, by whom it may be. */
class Told {
  readonly acked: Record<'list' | 'table', Map<string, number>> = {
    list: new Map(),
    table: new Map(),
  }
  readonly failed: Line[] = []
  readonly #waiting: (() => void)[] = []

  take(line: Line): void {
    if (line.event === 'failed') this.failed.push(line)
    if (line.event === 'acked' && line.of) this.acked[line.of].set(line.name ?? '', line.place ?? 0)
    for (const wake of this.#waiting.splice(0)) wake()
  }

  /** Commands of a process that were answered, in both states. */
  countOf(prefix: string): number {
    const names = [...this.acked.list.keys(), ...this.acked.table.keys()]
    return names.filter((name) => name.startsWith(`${prefix}.`)).length
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }
}

interface Executor {
  readonly child: ChildProcess
  readonly id: Promise<string>
  readonly states: Promise<States>
  readonly ended: Promise<number | string>
}

function start(t: Test, args: readonly string[], told: Told): Executor {
  const program = fileURLToPath(new URL('../support/executor.ts', import.meta.url))
  const [command = '', ...words] = [...asUsersDo, process.execPath, program, ...args]
  const child = spawn(command, words, { stdio: ['pipe', 'pipe', 'inherit'], env: compiledOnce })
  t.teardown(() => child.kill('SIGKILL'))
  const id = Promise.withResolvers<string>()
  const states = Promise.withResolvers<States>()
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = JSON.parse(text) as Line & States
    if (line.event === 'ready') id.resolve(line.id ?? '')
    else if (line.event === 'states') states.resolve({ list: line.list, table: line.table })
    else told.take(line)
  })
  const ended = new Promise<number | string>((resolve) => {
    child.on('close', (code, signal) => resolve(code ?? signal ?? 'unknown'))
  })
  return { child, id: id.promise, states: states.promise, ended }
}

t.test('all execute at once, and the owner dies', async (t) => {
  const dir = t.testdir()
  const told = new Told()
  await using first = await open({ dir: join(dir, 'a'), logger: quiet, sessionTimeoutMs: 4000 })
  const uri = `quire://${first.listen}`
  // The first to execute owns both logs.
  const b = start(t, [join(dir, 'b'), uri, 'b'], told)
  await told.until(() => told.countOf('b') > 20)
  const c = start(t, [join(dir, 'c'), uri, 'c'], told)
  const stop = new AbortController()
  const own = executeUntil(stop.signal, {
    node: first,
    prefix: 'a',
    say: (line) => told.take(line as Line),
  })
  await told.until(() => ['a', 'b', 'c'].every((who) => told.countOf(who) > 100))

  await using client = await connect(uri, { logger: quiet })
  const logs = [await client.log('list'), await client.log('table')]
  const epochs = async (): Promise<string[]> => {
    const facts = await Promise.all(logs.map((log) => log.facts()))
    return facts.map(({ ownerId, ownerEpoch }) => `${ownerId} ${ownerEpoch}`)
  }
  const owner = `${await b.id}/1 1`
  t.same(await epochs(), [owner, owner], 'three execute, and nobody took the logs from another')

  b.child.kill('SIGKILL')
  t.equal(await b.ended, 'SIGKILL')
  const after = ['a', 'c'].map((who) => [who, told.countOf(who)] as const)
  await told.until(() => after.every(([who, count]) => told.countOf(who) > count + 100))
  const later = await epochs()
  t.ok(
    later.every((each) => each.endsWith(' 2')),
    `followed once each: ${later.join(', ')}`,
  )

  const again = start(t, [join(dir, 'b'), uri, 'b2'], told)
  await told.until(() => told.countOf('b2') > 50)
  t.same(await epochs(), later, 'who comes back brings its commands too')
  stop.abort()
  for (const { child } of [c, again]) child.stdin?.write('stop')
  const seen = [await own, await c.states, await again.states]
  for (const { child } of [c, again]) child.stdin?.end()
  t.same([await c.ended, await again.ended], [0, 0])
  t.same(told.failed, [], 'no program was told of an error')
  const [truth] = seen
  for (const state of ['list', 'table'] as const) {
    const names = truth?.[state] ?? []
    // The last to look saw all that was answered; nobody saw another order.
    const longest = seen.map((each) => each[state]).reduce((a, b) => (a.length > b.length ? a : b))
    for (const each of seen) t.same(each[state], longest.slice(0, each[state].length), state)
    t.equal(new Set(longest).size, longest.length, 'nothing took effect twice')
    for (const [name, place] of told.acked[state]) {
      if (longest[place] !== name)
        t.fail(`${name} was answered as ${place}, there is ${longest[place]}`)
    }
    t.ok(told.acked[state].size > 400 && names.length > 400, `${longest.length} commands`)
  }
})
