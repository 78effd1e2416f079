// A logger that says nothing: for trials whose faults are meant.
import type { Logger } from '../../src/index.ts'

export const quiet: Logger = {
  child: () => quiet,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
}
