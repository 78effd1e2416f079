// The main job, as a person runs it: a process over a directory, whole, killed at several points,
// and again. Whatever happened before, the state equals a direct aggregation of the file, to the
// last flight.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { asUsersDo, compiledOnce } from '../support/processes.ts'
import { root } from '../support/source.ts'

const main = join(root, 'examples', 'state-machine', 'main.ts')

interface Run {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly output: string
}

/** Runs the example; kills it once its output has `killAt`, some moments later. */
const run = (dir: string, killAt?: string): Promise<Run> =>
  new Promise((resolve, reject) => {
    const words = [...asUsersDo, process.execPath, main, '--dir', dir]
    const child = spawn(words[0] ?? '', words.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: compiledOnce,
    })
    let output = ''
    const take = (chunk: Buffer): void => {
      output += chunk.toString()
      if (killAt !== undefined && output.includes(killAt)) {
        setTimeout(() => child.kill('SIGKILL'), Math.random() * 100)
      }
    }
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, output }))
  })

const equal = 'the state equals a direct SQL aggregation of the file'

/** Flights that a run found in the state when it began. */
const found = (output: string): number =>
  Number(/([\d,]+) of 20,000 flights are there already/.exec(output)?.[1]?.replaceAll(',', '') ?? 0)

t.test('a whole run, and another one over it', async (t) => {
  const dir = join(t.testdir(), 'data')
  const first = await run(dir)
  t.equal(first.code, 0, first.output)
  t.match(first.output, equal)
  t.match(first.output, /LAX → PHX +│ +59 │/, 'the busiest route')
  t.match(first.output, /Snapshot: +[\d,]+ KiB/)
  const second = await run(dir)
  t.equal(second.code, 0, second.output)
  t.equal(found(second.output), 20_000)
  t.match(second.output, equal)
})

t.test('killed again and again, it goes on and applies nothing twice', async (t) => {
  const dir = join(t.testdir(), 'data')
  let before = 0
  const points = ['Quire keeps', '  1,000 of', '  7,000 of', ' 20,000 of 20,000 flights\n']
  for (const point of points) {
    const killed = await run(dir, point)
    t.equal(killed.signal, 'SIGKILL', `${point}: ${killed.output}`)
    const there = found(killed.output)
    t.ok(there >= before, `nothing is lost: ${there} after ${before}`)
    const told = /([\d,]+) of 20,000 flights\n(?![^]*flights\n)/.exec(killed.output)?.[1]
    before = Math.max(there, Number(told?.replaceAll(',', '') ?? 0))
  }
  const last = await run(dir)
  t.equal(last.code, 0, last.output)
  t.ok(found(last.output) >= before, 'what was answered is there')
  t.match(last.output, equal)
})
