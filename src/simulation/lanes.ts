// The story of a run as a picture in text: a lane for each machine, time downwards.

import type { Told } from './scheduler.ts'

export interface LanesOptions {
  /** In this order from left to right. Those that nothing is told of are left out. */
  readonly machines: readonly string[]
  /** What a checker said: only what it names is shown, beside what befell the machines. */
  readonly reason: string
  /** How many events about that are shown: the last ones. Default 40. */
  readonly last?: number
  /** Width of the whole. Default 150. */
  readonly columns?: number
}

export function lanes(story: readonly Told[], options: LanesOptions): string {
  const shown = around(story, options)
  const machines = options.machines.filter((name) => shown.some((told) => told.machine === name))
  const columns = options.columns ?? 150
  const width = Math.max(12, Math.floor((columns - timeWidth) / Math.max(1, machines.length)) - 3)
  const row = (time: string, cells: readonly string[]) =>
    [time.padStart(timeWidth), ...cells.map((cell) => cell.padEnd(width))].join(' | ').trimEnd()
  const lines = [
    row('ms', machines),
    row(
      '',
      machines.map(() => '-'.repeat(width)),
    ),
  ]
  for (const told of shown) {
    const time = told.timeMs.toFixed(1)
    const isSomewhere = machines.includes(told.machine)
    if (!isSomewhere) lines.push(`${time.padStart(timeWidth)} | == ${told.text} ==`)
    const pieces = isSomewhere ? wrapped(told.text, width) : []
    for (const [index, piece] of pieces.entries()) {
      const cells = machines.map((name) => (name === told.machine ? piece : ''))
      lines.push(row(index === 0 ? time : '', cells))
    }
  }
  return `${lines.join('\n')}\n`
}

const timeWidth = 10

/** The last events about what the reason names, and what befell the machines meanwhile. */
function around(story: readonly Told[], options: LanesOptions): Told[] {
  const { reason, last = 40 } = options
  const named = (about: string) => wordsOf(reason).includes(wordsOf(about))
  const about = story.filter((told) => told.about !== undefined && named(told.about)).slice(-last)
  const rest = story.filter((told) => told.about === undefined)
  const firstMs = about[0]?.timeMs ?? 0
  const meanwhile = rest.filter(({ timeMs }) => timeMs >= firstMs).slice(-last)
  const shown = new Set([...about, ...meanwhile])
  return story.filter((told) => shown.has(told))
}

/** So that `ledger 5` is not found in `ledger 51`. */
function wordsOf(text: string): string {
  return ` ${text.replaceAll(/[^\w/]+/g, ' ').trim()} `
}

/** Pieces of at most `width`, cut between words where there are any. */
function wrapped(text: string, width: number): string[] {
  const pieces: string[] = []
  let piece = ''
  for (const word of text.split(/\s+/)) {
    const longer = piece === '' ? word : `${piece} ${word}`
    if (longer.length <= width) {
      piece = longer
      continue
    }
    if (piece !== '') pieces.push(piece)
    for (piece = word; piece.length > width; piece = piece.slice(width)) {
      pieces.push(piece.slice(0, width))
    }
  }
  return [...pieces, piece]
}
