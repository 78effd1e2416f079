// What the commands share that ask a running node: where it is, the secret, how far it has come.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { styleText } from 'node:util'
import { SingleBar } from 'cli-progress'
import { parseAddress } from '../../embedded/address.ts'
import type { MembershipParts, Step } from '../../embedded/operations/membership.ts'
import type { LedgersFound } from '../../embedded/operations/with-metadata.ts'
import { withSecret, type Address, type Io, type Logger } from '../../io/index.ts'
import { createIo } from '../../io/real/index.ts'
import { createLogger } from '../../io/real/logger.ts'
import { SharedSecret } from '../../wire/handshake.ts'
import type { Flag, Values } from '../commands.ts'
import { codeOf, type Output } from '../output.ts'

/** Where a node that was started said that it listens. */
const listenFile = 'LISTEN'
const usual = '127.0.0.1:3181'

export const nodeFlags: readonly Flag[] = [
  {
    flags: '--node <HOST:PORT,…>',
    about: `a node of the cluster (default: what --dir says, then ${usual})`,
  },
  { flags: '--dir <DIR>', about: "a node's directory on this machine, to find the node by" },
]

export const text = (value: string | boolean | undefined): string | undefined =>
  typeof value === 'string' ? value : undefined

/** For the commands that are given this directory later. */
export function rememberListen({ dir, listen }: { dir: string; listen: string }): void {
  writeFileSync(join(dir, listenFile), `${listen}\n`)
}

/** The nodes to ask. QUIRE_BAD_OPTION for what is no address. */
function seedsOf(values: Values): Address[] {
  const dir = text(values['dir'])
  const named = text(values['node']) ?? (dir === undefined ? undefined : listenOf(dir)) ?? usual
  return named.split(',').map(parseAddress)
}

function listenOf(dir: string): string | undefined {
  try {
    return readFileSync(join(dir, listenFile), 'utf8')
      .trim()
      .replace(/^(?:0\.0\.0\.0|\[::\]):/, '127.0.0.1:')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** The outside world, as the secret of the cluster lets in. */
export function outside(): { io: Io; logger: Logger } {
  const secret = process.env['QUIRE_SECRET']
  const io = createIo()
  return {
    io: secret === undefined ? io : withSecret(io, new SharedSecret(secret)),
    logger: createLogger(),
  }
}

export function partsOf(values: Values): MembershipParts {
  return { ...outside(), seeds: seedsOf(values) }
}

function sentenceOf(step: Exclude<Step, { type: 'catching-up' }>): string {
  switch (step.type) {
    case 'learner':
      return `${step.id} gets the log, and does not count yet`
    case 'voter':
      return `${step.id} counts from now on`
    case 'leader-moves':
      return `${step.id} is to lead`
    case 'checking-ledgers':
      break
  }
  return 'looking at the ledgers'
}

/** Tells steps: to programs each as a line, to people as sentences and a bar, on standard error. */
export function progressOf(output: Output): { progress: (step: Step) => void; done: () => void } {
  if (output.json) {
    const progress = ({ type, ...facts }: Step): void =>
      output.event({ event: 'progress', step: type, ...facts }, '')
    return { progress, done() {} }
  }
  const format = 'catching up {bar} {value} of {total} entries'
  const bar = new SingleBar({
    format,
    clearOnComplete: true,
    stream: process.stderr,
    hideCursor: true,
  })
  let last = ''
  return {
    progress(step) {
      if (step.type === 'catching-up') {
        if (!bar.isActive) bar.start(step.lastIndex, 0)
        bar.setTotal(Math.max(1, step.lastIndex))
        bar.update(step.match)
        return
      }
      const sentence = sentenceOf(step)
      if (bar.isActive) bar.stop()
      if (sentence !== last) process.stderr.write(`${styleText('dim', sentence)}\n`)
      last = sentence
    },
    done() {
      if (bar.isActive) bar.stop()
    },
  }
}

/** For programs: ids are texts, since they may be larger than a number. */
export function ledgersFacts({ total, count, atRisk, ledgers }: LedgersFound): object {
  const named = ledgers.map(({ ledgerId, state, copies }) => ({
    ledgerId: String(ledgerId),
    state,
    copies,
  }))
  return { total, count, atRisk, ledgers: named }
}

/** For people. */
export function ledgersSentence({ count, atRisk, ledgers }: LedgersFound): string {
  if (count === 0) return 'No ledger lacks a copy by that.'
  const names = ledgers.slice(0, 20).map(({ ledgerId }) => String(ledgerId))
  const more = count > names.length ? ` and ${count - names.length} more` : ''
  const risk = atRisk === 0 ? '' : ` ${atRisk} of them may have entries that are nowhere else now.`
  return `${count} ledgers lack a copy that was there: ${names.join(', ')}${more}.${risk}`
}
