// Texts for people: where two states part, and a value as one short line.

import { inspect } from 'node:util'

/** How much of a long line is shown before the place where two part, and in all. */
const beforeIt = 40
const most = 140

/** The first line in which they part, in both; of a long one what is around that place. */
export function difference(
  one: string,
  other: string,
  names: readonly [string, string] = ['here', 'there'],
): string {
  let at = 0
  while (at < one.length && one[at] === other[at]) at += 1
  const lineStart = at === 0 ? 0 : one.lastIndexOf('\n', at - 1) + 1
  const from = at - lineStart > most / 2 ? at - beforeIt : lineStart
  const cut = from > lineStart ? '…' : ''
  return `${cut}${lineFrom(one, from)} ${names[0]}, ${cut}${lineFrom(other, from)} ${names[1]}`
}

function lineFrom(text: string, from: number): string {
  const [line = ''] = text.slice(from, from + most + 1).split('\n')
  if (line === '') return 'nothing'
  return line.length > most ? `${line.slice(0, most)}…` : line
}

/** A value as one short line. */
export function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : inspect(value, { breakLength: Infinity })
  return text.length > most ? `${text.slice(0, most)}…` : text
}
