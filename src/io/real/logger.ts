import { requireDependency } from './package-files.ts'
import type { Logger } from '../log.ts'

interface Pino {
  (options: { level: string; name: string }, destination: unknown): Logger
  destination(options: { dest: number; sync: boolean }): unknown
}

/**
 * What is used when nobody gives a logger: pino, to standard error, warnings and worse. Loaded in a
 * way that no bundler follows.
 */
export function createLogger(level: 'debug' | 'info' | 'warn' | 'error' = 'warn'): Logger {
  const pino = requireDependency('pino') as Pino
  return pino({ level, name: 'quire' }, pino.destination({ dest: 2, sync: true }))
}
