// One table of commands: name, what it does, its flags. The command line is made from it.
import type { Output } from './output.ts'
import { start } from './start.ts'

export interface Flag {
  /** As commander writes it: `--dir <DIR>`. */
  readonly flags: string
  readonly about: string
  readonly default?: string
  readonly required?: boolean
}

export type Values = Readonly<Record<string, string | boolean | undefined>>

export interface Command {
  readonly name: string
  readonly about: string
  readonly flags: readonly Flag[]
  /** Resolves to the exit status: 0 done, 1 failed, 2 used wrongly. */
  run(values: Values, output: Output): Promise<number>
}

const json: Flag = { flags: '--json', about: 'print one JSON object a line, for programs' }

export const commands: readonly Command[] = [
  {
    name: 'start',
    about: 'Run a node until SIGTERM or SIGINT; QUIRE_SECRET holds what its cluster shares',
    flags: [
      { flags: '--dir <DIR>', about: 'where to keep everything' },
      { flags: '--journal <DIR>', about: 'the journal, on a disk of its own' },
      { flags: '--ledgers <DIRS>', about: 'the ledger disks, separated by commas' },
      {
        flags: '--listen <HOST:PORT>',
        about: 'the address of the one port (port 0 takes a free one)',
        default: '127.0.0.1:3181',
      },
      {
        flags: '--metadata <URI>',
        about:
          "be a bookie on another node's metadata, quire://HOST:PORT, " +
          'or of a BookKeeper cluster, zk+hierarchical://HOST:PORT/ledgers',
      },
      { flags: '--init', about: 'make the cluster in a ZooKeeper that holds none' },
      {
        flags: '--bookie-id <ID>',
        about: "a new bookie's id (in a ZooKeeper by default the address it listens on)",
      },
      {
        flags: '--peers <HOST:PORT,…>',
        about: 'keep the metadata together with these nodes; the same list on each, itself in it',
      },
      { flags: '--insecure', about: 'listen beyond this machine without a secret' },
      json,
    ],
    run: start,
  },
]
