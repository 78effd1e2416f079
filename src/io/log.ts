/** The part of pino's interface that Quire uses; whatever is given in its place needs no more. */
export interface Logger {
  child(bindings: Record<string, unknown>): Logger
  debug(facts: object, message: string): void
  info(facts: object, message: string): void
  warn(facts: object, message: string): void
  error(facts: object, message: string): void
}
