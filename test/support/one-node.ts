// One node on real processes, for bad days: started, refused, filled with something precious,
// damaged.
import { closeSync, openSync, readdirSync, readFileSync, readSync, writeSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import type { Test } from 'tap'
import { connect } from '../../src/index.ts'
import { startQuire, type QuireProcess, type StartOptions } from './processes.ts'
import { quiet } from './quiet.ts'

export const at: readonly string[] = ['--listen', '127.0.0.1:0']

export async function starts(
  dir: string,
  more: readonly string[] = [],
  options: StartOptions = {},
): Promise<QuireProcess> {
  const node = startQuire(['--dir', dir, ...at, ...more], options)
  await node.ready
  return node
}

/** The start is refused: exit status 1, the code, and a sentence. */
export async function refused(t: Test, args: readonly string[], code: string): Promise<void> {
  const node = startQuire(args)
  t.equal(await node.ended, 1, `${code}: exit status`)
  t.match(
    node.stderr(),
    new RegExp(`quire: .{30,} \\[${code}\\]`, 's'),
    `${code}: sentence and code`,
  )
  t.match(node.lines.at(-1), { event: 'error', code })
}

export async function put(node: QuireProcess, text: string): Promise<void> {
  await using client = await connect(`quire://${(await node.ready).listen}`, { logger: quiet })
  const log = await client.log('days')
  await using writer = await log.acquire()
  await writer.append(Buffer.from(text))
}

export async function records(node: QuireProcess): Promise<string[]> {
  await using client = await connect(`quire://${(await node.ready).listen}`, { logger: quiet })
  const log = await client.log('days')
  const found: string[] = []
  for await (const { bytes } of log.read({ from: 0 })) found.push(bytes.toString())
  return found
}

/** A directory that holds one record and was closed in order. */
export async function prepared(t: Test): Promise<string> {
  const dir = join(t.testdir(), 'node')
  const node = await starts(dir)
  await put(node, 'precious')
  t.equal(await node.kill('SIGTERM'), 0)
  return dir
}

export async function stillThere(
  t: Test,
  dir: string,
  more: readonly string[] = [],
): Promise<void> {
  const node = await starts(dir, more)
  t.same(await records(node), ['precious'], 'nothing was lost')
  t.equal(await node.kill('SIGTERM'), 0)
}

export const filesOf = (dir: string, pattern: RegExp): string[] =>
  readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((name) => pattern.test(name))
    .map((name) => join(dir, name))
    .sort()

export const hashOf = (paths: readonly string[]): string =>
  paths.map((path) => createHash('sha256').update(readFileSync(path)).digest('hex')).join()

export function flip(path: string, offset: number): void {
  const file = openSync(path, 'r+')
  const byte = Buffer.alloc(1)
  readSync(file, byte, 0, 1, offset)
  byte[0] = (byte[0] ?? 0) ^ 0x10
  writeSync(file, byte, 0, 1, offset)
  closeSync(file)
}
