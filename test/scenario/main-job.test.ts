// The main job, as a person runs it: three processes over a directory, of which one after the other
// is killed; and all of it killed at several points, and started again. Whatever happened before,
// the states of all three are one, and equal a direct aggregation of the file, to the last flight.
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
const run = (args: readonly string[], killAt?: string): Promise<Run> =>
  new Promise((resolve, reject) => {
    const words = [...asUsersDo, process.execPath, main, ...args]
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

/** Of the states, and of one of them and the file. */
const equal = [/all three have the hash \w{16}/, /the state equals a direct SQL aggregation/]

const trials = [
  /kill -9 of (\w), which leads the metadata[^]*\1 is back after .+; \w leads now/,
  /kill -9 of (\w), which owns the log[^]*\1 is back after .+; \w owns it now/,
  /kill -9 of (\w), which submits the flights[^]*\1 is back after/,
]

/** Flights that a run found in the state when it began. */
const found = (output: string): number =>
  Number(/([\d,]+) of [\d,]+ flights are there already/.exec(output)?.[1]?.replaceAll(',', '') ?? 0)

t.setTimeout(600_000)

t.test('a whole run with three kills, and another run over it', async (t) => {
  const args = ['--dir', join(t.testdir(), 'data')]
  const first = await run(args)
  t.equal(first.code, 0, first.output)
  for (const text of [...trials, ...equal]) t.match(first.output, text)
  t.match(first.output, /LAX → PHX +│ +59 │/, 'the busiest route')
  t.match(first.output, /Snapshot: +[\d,]+ KiB/)
  const second = await run(args)
  t.equal(second.code, 0, second.output)
  t.equal(found(second.output), 20_000)
  t.notMatch(second.output, /kill -9 of/, 'there was nothing left to do')
  for (const text of equal) t.match(second.output, text)
})

t.test('all of it killed again and again, it goes on and applies nothing twice', async (t) => {
  const args = ['--dir', join(t.testdir(), 'data'), '--flights', '4000']
  let before = 0
  for (const point of ['Quire keeps', '  1,000 of', 'which submits', '4,000 of 4,000 flights\n']) {
    const killed = await run(args, point)
    t.equal(killed.signal, 'SIGKILL', `${point}: ${killed.output}`)
    const there = found(killed.output)
    t.ok(there >= before, `nothing is lost: ${there} after ${before}`)
    const told = [...killed.output.matchAll(/([\d,]+) of 4,000 flights\n/g)].at(-1)?.[1]
    before = Math.max(there, Number(told?.replaceAll(',', '') ?? 0))
  }
  const last = await run(args)
  t.equal(last.code, 0, last.output)
  t.ok(found(last.output) >= before, 'what was answered is there')
  for (const text of equal) t.match(last.output, text)
})
