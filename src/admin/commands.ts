// One table of commands: name, what it does, its flags. The command line is made from it.
import { dev } from './commands/dev.ts'
import { members, status } from './commands/members.ts'
import { add, lead, remove, replace } from './commands/membership.ts'
import { nodeFlags } from './commands/outside.ts'
import { rescue } from './commands/rescue.ts'
import type { Output } from './output.ts'
import { start } from './start.ts'

export interface Flag {
  /** As commander writes it: `--dir <DIR>`. */
  readonly flags: string
  readonly about: string
  readonly default?: string
  readonly required?: boolean
}

/** A word behind the command's name. */
export interface Argument {
  /** Its place among the values. */
  readonly name: string
  readonly about: string
  readonly default?: string
}

export type Values = Readonly<Record<string, string | boolean | undefined>>

export interface Command {
  readonly name: string
  readonly about: string
  readonly arguments?: readonly Argument[]
  readonly flags: readonly Flag[]
  /** Resolves to the exit status: 0 done, 1 failed, 2 used wrongly. */
  run(values: Values, output: Output): Promise<number>
}

const json: Flag = { flags: '--json', about: 'print one JSON object a line, for programs' }
const member: Argument = { name: 'member', about: 'the id or the address of a member' }
const asking = [...nodeFlags, json]

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
  {
    name: 'status',
    about:
      'Say how the cluster fares: members, bookies, logs, and with --ledgers what lacks copies',
    flags: [{ flags: '--ledgers', about: 'look at every ledger' }, ...asking],
    run: status,
  },
  {
    name: 'members',
    about: 'List who belongs to the cluster, and who leads it',
    flags: asking,
    run: members,
  },
  {
    name: 'add',
    about: 'Let a node in that was started with the peers of the cluster and waits',
    arguments: [{ name: 'address', about: 'HOST:PORT of the node that waits' }],
    flags: asking,
    run: add,
  },
  {
    name: 'remove',
    about: 'Take a member out for good: it stops, and its id never comes back',
    arguments: [member],
    flags: [
      { flags: '--forget', about: 'forget its bookie too, once no ledger names it' },
      { flags: '--force', about: 'also where ledgers may lose entries by it' },
      ...asking,
    ],
    run: remove,
  },
  {
    name: 'replace',
    about: 'Let a node that waits take the place of a dead member, as one operation',
    arguments: [member],
    flags: [
      { flags: '--with <HOST:PORT>', about: 'the node that waits', required: true },
      ...asking,
    ],
    run: replace,
  },
  {
    name: 'lead',
    about: 'Hand leadership to a member',
    arguments: [member],
    flags: asking,
    run: lead,
  },
  {
    name: 'rescue',
    about: 'When most nodes are lost for good: make a new cluster of what one node has',
    flags: [
      { flags: '--dir <DIR>', about: "the node's directory; it must not run", required: true },
      { flags: '--journal <DIR>', about: 'its journal, where that is on another disk' },
      { flags: '--dry-run', about: 'say what may be lost, and change nothing' },
      json,
    ],
    run: rescue,
  },
  {
    name: 'dev',
    about: 'Run nodes in temporary directories, for trying things out, until Ctrl-C',
    arguments: [{ name: 'count', about: 'how many', default: '3' }],
    flags: [json],
    run: dev,
  },
]
