// Commander on the table of commands. Exit status: 0 done, 1 failed, 2 used wrongly.
import { readFileSync } from 'node:fs'
import { CommanderError, Command as Program } from 'commander'
import { commands, type Command, type Values } from './commands.ts'
import { codeOf, createOutput } from './output.ts'

/** Runs one command line; resolves to the exit status. */
export async function main(args: readonly string[]): Promise<number> {
  const outcome = { status: 0 }
  const program = new Program('quire')
    .description('An embeddable, replicated log, wire-compatible with Apache BookKeeper.')
    .version(version(), '--version')
    .exitOverride()
    .showHelpAfterError('(quire help shows how)')
  for (const command of commands) addCommand(program, command, outcome)
  try {
    if (args.length === 0) {
      program.outputHelp({ error: true })
      return 2
    }
    await program.parseAsync([...args], { from: 'user' })
    return outcome.status
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    throw error
  }
}

function addCommand(program: Program, command: Command, outcome: { status: number }): void {
  const sub = program.command(command.name).description(command.about).exitOverride()
  const words = command.arguments ?? []
  for (const { name, about, default: value } of words) {
    sub.argument(value === undefined ? `<${name}>` : `[${name}]`, about, value)
  }
  for (const flag of command.flags) {
    if (flag.required === true) sub.requiredOption(flag.flags, flag.about, flag.default)
    else sub.option(flag.flags, flag.about, flag.default)
  }
  sub.action(async () => {
    const given = words.map(({ name }, index) => [name, sub.processedArgs[index]] as const)
    const values: Values = { ...sub.opts<Values>(), ...Object.fromEntries(given) }
    const output = createOutput(values['json'] === true)
    try {
      outcome.status = await command.run(values, output)
    } catch (error) {
      output.problem(error)
      outcome.status = codeOf(error) === 'QUIRE_BAD_OPTION' ? 2 : 1
    }
  })
}

/** From package.json, which lies above both `src/admin/` and `dist/`. */
function version(): string {
  for (const place of ['../package.json', '../../package.json']) {
    try {
      const text = readFileSync(new URL(place, import.meta.url), 'utf8')
      const found: unknown = JSON.parse(text)
      const { name, version } = { name: '', version: '', ...Object(found) }
      if (name === 'quire-log') return String(version)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
    }
  }
  return 'unknown'
}
