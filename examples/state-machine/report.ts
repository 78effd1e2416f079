// What a person sees: progress while commands run, and tables afterwards.

import { Presets, SingleBar } from 'cli-progress'
import Table from 'cli-table3'
import type { SqlRow } from '../../src/index.ts'

export interface Progress {
  update(done: number): void
  /** A line between two of the bar's. */
  say(line: string): void
  stop(): void
}

/** A bar on a terminal; a line for every thousand elsewhere. */
export function startProgress(total: number, done: number): Progress {
  if (process.stdout.isTTY) {
    const bar = new SingleBar({ format: '  {bar} {value}/{total} flights' }, Presets.shades_classic)
    bar.start(total, done)
    let last = done
    return {
      update(count) {
        last = count
        bar.update(count)
      },
      say(line) {
        bar.stop()
        say(line)
        bar.start(total, last)
      },
      stop: () => bar.stop(),
    }
  }
  let told = done
  return {
    update(count) {
      if (count - told < 1000 && count < total) return
      told = count
      say(`  ${number(count)} of ${number(total)} flights`)
    },
    say,
    stop: () => undefined,
  }
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

export function table(title: string, head: readonly string[], rows: readonly SqlRow[]): void {
  const out = new Table({
    head: [...head],
    colAligns: head.map((_, index) => (index === 0 ? 'left' : 'right')),
    style: process.stdout.isTTY ? { compact: true } : { compact: true, head: [], border: [] },
  })
  for (const row of rows) out.push(Object.values(row).map(String))
  say(`\n${title}\n${out.toString()}`)
}

export const number = (value: number): string => Math.round(value).toLocaleString('en-US')

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`

export const kilobytes = (bytes: number): string => `${number(bytes / 1024)} KiB`
