import { styleText } from 'node:util'
import { QuireError } from '../errors.ts'

/** Where a command prints: sentences for people, JSON lines for programs. */
export interface Output {
  readonly json: boolean
  /** A JSON line when asked for, else the sentence. */
  event(facts: Record<string, unknown>, sentence: string): void
  /** A failure, with what to do next. */
  problem(error: unknown): void
}

export function createOutput(json: boolean): Output {
  const line = (stream: NodeJS.WriteStream, text: string): void => {
    stream.write(`${text}\n`)
  }
  return {
    json,
    event: (facts, sentence) => line(process.stdout, json ? JSON.stringify(facts) : sentence),
    problem(error) {
      const message = error instanceof Error ? error.message : String(error)
      const code = codeOf(error)
      const reason = reasonOf(error)
      if (json) line(process.stdout, JSON.stringify({ event: 'error', code, reason, message }))
      const mark = styleText('red', 'quire:', { stream: process.stderr })
      line(
        process.stderr,
        code === undefined ? `${mark} ${message}` : `${mark} ${message} [${code}]`,
      )
    },
  }
}

/** Why a change was refused, in a word. */
function reasonOf(error: unknown): string | undefined {
  const reason = QuireError.is(error) ? error.facts['reason'] : undefined
  return typeof reason === 'string' ? reason : undefined
}

/** The stable code of an error, if it has one. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
