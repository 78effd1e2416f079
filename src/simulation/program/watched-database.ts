// A program's database with an observer: commands carry the id of their call, and each is applied
// twice, the second time under a savepoint that is undone.

import type { SqlTransaction } from '../../io/index.ts'
import type { DatabaseDefinition, SqlCommands } from '../../embedded/replica/databases.ts'
import type { SqlCommand } from '../../snapshot/sqlite-state.ts'
import type { ApplyContext } from '../../snapshot/state.ts'
import { attempt, judge, resultText, type Attempt, type Effect } from './attempt.ts'
import { shown } from './difference.ts'
import type { WatchParts } from './watched-machine.ts'
import { sqlImage, type WatchedStates } from './watched-states.ts'

/** The argument of a command in the log of a simulated run. */
export interface SqlEnvelope {
  readonly id: string
  readonly args: unknown
}

type Result = ReturnType<typeof JSON.parse>

/** Commands of envelopes. */
export type WatchedCommands = Readonly<Record<string, SqlCommand<SqlEnvelope, Result>>>

export interface WatchedDatabaseParts extends WatchParts {
  readonly states: WatchedStates
}

export function watchedDefinition<Commands extends SqlCommands>(
  parts: WatchedDatabaseParts,
  definition: DatabaseDefinition<Commands>,
): DatabaseDefinition<WatchedCommands> {
  for (const [index, sql] of definition.migrations.entries()) {
    const used = usedBySql(sql)
    if (used === undefined) continue
    parts.oracle.violated('determinism', `migration ${index} uses ${used}: it differs by replica`)
  }
  const commands = Object.entries(definition.commands).map(([name, command]: [string, unknown]) => {
    if (typeof command !== 'function') throw new TypeError(`the command ${name} is no function`)
    const call = (...args: readonly unknown[]): unknown => command(...args)
    return [name, watched(parts, name, call)] as const
  })
  return { ...definition, commands: Object.fromEntries(commands) }
}

type Call = (tx: SqlTransaction, args: unknown, context: ApplyContext) => unknown

function watched(
  parts: WatchedDatabaseParts,
  name: string,
  call: Call,
): SqlCommand<SqlEnvelope, Result> {
  return (tx, { id, args }, context) => {
    const { oracle, who, states } = parts
    const { running } = states
    const before = sqlImage(running)
    oracle.begins(context.position, { who, before, chained: false })
    const used = new Set<string>()
    const noted = noting(tx, used)
    const copy = structuredClone(args)
    running.run('savepoint quire_again')
    const again = attempt(parts, 'later', () => done(call(noted, copy, context)))
    const effectAgain = effect(again, before, running)
    running.run('rollback to quire_again')
    running.run('release quire_again')
    const first = attempt(parts, 'now', () => done(call(noted, args, context)))
    const command = `${name} ${shown(args)}`
    const entry = { position: context.position, id, command, who, before }
    const allUsed = new Set([...used, ...first.used, ...again.used])
    judge(
      oracle,
      { ...entry, ...effect(first, before, running) },
      { ...effectAgain, used: allUsed, to: 'the same state' },
    )
    if (first.error) throw first.error.thrown
    return first.value?.value
  }
}

interface Done {
  readonly value: unknown
  readonly text: string
}

function done(value: unknown): Done {
  if (!(value instanceof Promise)) return { value, text: resultText(value) }
  value.catch(() => undefined)
  throw new TypeError('a command returned a promise; commands are synchronous')
}

/** What threw is undone. */
function effect(of: Attempt<Done>, before: string, running: SqlTransaction): Effect {
  if (of.value === undefined) return { after: before, result: undefined }
  return { after: sqlImage(running), result: of.value.text }
}

/** SQLite has a clock and random numbers of its own, which no surroundings replace. */
function noting(tx: SqlTransaction, used: Set<string>): SqlTransaction {
  const note = (sql: string): string => {
    const what = usedBySql(sql)
    if (what !== undefined) used.add(what)
    return sql
  }
  return {
    run: (sql, ...values) => tx.run(note(sql), ...values),
    get: (sql, ...values) => tx.get(note(sql), ...values),
    all: (sql, ...values) => tx.all(note(sql), ...values),
    script: (sql) => tx.script(note(sql)),
  }
}

const keywords = /\bcurrent_(?:timestamp|date|time)\b|\brandom(?:blob)?\s*\([^()]*\)/i
const functionsOfNow =
  /\b(?:date|time|datetime|julianday|unixepoch|strftime)\s*\((?:\s*|[^()]*'now'[^()]*)\)/i

function usedBySql(sql: string): string | undefined {
  const found = (keywords.exec(sql) ?? functionsOfNow.exec(sql))?.[0]
  return found === undefined ? undefined : `${found} of SQL`
}
