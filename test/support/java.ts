// Java programs beside Quire: their libraries (`npm run java` fetches them), started and ended by
// their own id.
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { endWithParent } from './processes.ts'
import { root } from './source.ts'

const folder = join(root, 'test/java')

/** Without what tap puts there; nothing of a user's own Java settings either. */
const environment = { PATH: process.env['PATH'] ?? '', LANG: 'C.UTF-8' }

function classPath(): string {
  const libraries = join(folder, 'lib')
  if (!existsSync(libraries) || readdirSync(libraries).length === 0) {
    throw new Error('the libraries of the Java programs are missing: npm run java')
  }
  return `${folder}:${libraries}/*`
}

/** A program of the libraries, or a source file of test/java, which Java compiles by itself. */
export function startJava(
  program: readonly string[],
  options: readonly string[] = [],
  input: 'ignore' | 'pipe' = 'ignore',
): ChildProcess {
  const flags = [
    '-Xmx256m',
    '-Djava.net.preferIPv4Stack=true',
    '-XX:TieredStopAtLevel=1',
    ...options,
  ]
  const child = spawn('java', [...flags, '-cp', classPath(), ...program], {
    env: environment,
    stdio: [input, 'pipe', 'pipe'],
  })
  endWithParent(child)
  return child
}

export const javaSource = (name: string): string => join(folder, name)

/** Runs one to its end; resolves to what it printed. */
export async function runJava(
  program: readonly string[],
  options: readonly string[] = [],
): Promise<string> {
  const child = startJava(program, options)
  const out: Buffer[] = []
  const errors: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => errors.push(chunk))
  const status = await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve(code ?? signal))
  })
  const text = Buffer.concat(out).toString()
  if (status === 0) return text
  throw new Error(
    `${program.join(' ')} ended with ${String(status)}: ${text}${Buffer.concat(errors).toString()}`,
  )
}
