// Runs in processes of their own.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { RunResult } from './run.ts'

const main = join(import.meta.dirname, 'main.ts')
/** The lines of a process of its own; a status other than 0 says only that a seed failed. */
export async function simulateElsewhere(...args: string[]): Promise<RunResult[]> {
  const { results } = await runMain(args)
  return results
}

/** With what it wrote to standard error. */
export async function runMain(
  args: readonly string[],
): Promise<{ results: RunResult[]; stderr: string }> {
  const run = promisify(execFile)(process.execPath, [main, '--json', ...args], {
    maxBuffer: 2 ** 26,
  })
  const failed = (error: { code: unknown; stdout: string; stderr: string }) => {
    if (error.code !== 1 || error.stdout === '') throw error
    return error
  }
  const { stdout, stderr } = await run.catch(failed)
  const lines = stdout.trim().split('\n')
  return { results: lines.map((line) => JSON.parse(line)), stderr }
}
