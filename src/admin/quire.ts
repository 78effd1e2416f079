// The command `quire`. Nothing but the version guard is loaded before it ran, so that an old Node
// gets a sentence.
import { requireNodeVersion } from '../io/real/node-version.ts'

try {
  requireNodeVersion()
  const { main } = await import('./cli.ts')
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`quire: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
