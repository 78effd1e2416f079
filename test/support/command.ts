// Commands of `quire` for tests: run with --json, to their end.
import { execFile } from 'node:child_process'
import { compiledOnce, fromSource, type Line } from './processes.ts'

export interface Ran {
  readonly status: number
  readonly lines: readonly Line[]
  readonly stderr: string
}

export interface CommandOptions {
  /** Default: none, whatever the test's own environment says. */
  readonly secret?: string | undefined
}

export function runQuire(args: readonly string[], { secret }: CommandOptions = {}): Promise<Ran> {
  const words = ['-u', 'NODE_OPTIONS', '-u', 'QUIRE_SECRET']
  const shared = secret === undefined ? [] : [`QUIRE_SECRET=${secret}`]
  const command = [...words, ...shared, process.execPath, ...fromSource, ...args, '--json']
  return new Promise((resolve) => {
    execFile('env', command, { env: compiledOnce }, (error, stdout, stderr) => {
      const lines = stdout.split('\n').filter((line) => line !== '')
      const status = error ? Number(error.code) : 0
      resolve({ status, lines: lines.map((line) => JSON.parse(line) as Line), stderr })
    })
  })
}
