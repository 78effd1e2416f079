// The command `quire`. Nothing but the version guard is loaded before it ran, so that an old Node
// gets a sentence.
import { requireNodeVersion } from '../io/real/node-version.ts'

try {
  requireNodeVersion()
  const { main } = await import('./cli.ts')
  // What a failed node left running (a thread that waits for its disk) does not keep the process.
  process.exit(await main(process.argv.slice(2)))
} catch (error) {
  process.stderr.write(`quire: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
