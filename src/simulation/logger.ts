// What nodes and clients log, told with the rest of what happens.

import { messageOf } from '../errors.ts'
import type { Logger } from '../io/log.ts'
import type { World } from './world.ts'

/** `heard` is called with each message, whether anybody listens to the world or not. */
export function createTraceLogger(
  machine: string,
  world: World,
  heard?: (message: string) => void,
): Logger {
  const line = (level: string) => (facts: object, message: string) => {
    heard?.(message)
    world.scheduler.tell(() => `${level}: ${message} ${factsOf(facts)}`, { machine })
  }
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
