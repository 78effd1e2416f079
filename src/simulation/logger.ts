// What nodes and clients log, as lines of the trace.

import { messageOf } from '../errors.ts'
import type { Logger } from '../io/log.ts'

/** `tell` takes each line; undefined when nobody reads them. */
export function createTraceLogger(
  machine: string,
  tell: ((line: string) => void) | undefined,
): Logger {
  const line = (level: string) => (facts: object, message: string) =>
    tell?.(`${machine} ${level} ${message} ${factsOf(facts)}`)
  const logger: Logger = {
    child: () => logger,
    debug: line('debug'),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
  }
  return logger
}

function factsOf(facts: object): string {
  return JSON.stringify(facts, (_name, value: unknown) => {
    if (typeof value === 'bigint') return String(value)
    if (!(value instanceof Error)) return value
    return value.cause === undefined
      ? value.message
      : `${value.message} < ${messageOf(value.cause)}`
  })
}
