// One schema for what a person may configure: it validates, gives the types and feeds
// docs/options.md (a test compares them).
import { resolve } from 'node:path'
import * as v from 'valibot'
import { QuireError } from '../errors.ts'
import { formatAddress } from '../io/address.ts'
import type { Logger } from '../io/index.ts'
import { parseAddress } from './address.ts'
import { isValidBookieId } from '../wire/bookie-id.ts'

/** Every number that a person may change, with its default and the reason for it. */
export const defaults = {
  /** Only this machine can reach a node until somebody says otherwise; port 0 takes a free one. */
  listen: '127.0.0.1:0',
  /** Big enough that a roll is rare, small enough that four of them fit in memory. */
  segmentBytes: 33_554_432,
  /**
   * Silence after which a session's ephemerals go: long enough for a stop-the-world pause, short
   * enough to notice a death.
   */
  sessionTimeoutMs: 10_000,
  /** How often deleted ledgers are looked for; space comes back within two rounds. */
  collectIntervalMs: 30_000,
  /** Memory of the bookie's index, about 16 bytes an entry: beyond it, adds wait. */
  indexBytesMax: 1_073_741_824,
  /** A bookie connects within this, or is taken as gone. */
  connectTimeoutMs: 5_000,
  /** An add that a bookie has not answered by then counts as a failure of that bookie. */
  addTimeoutMs: 5_000,
  readTimeoutMs: 5_000,
} as const

/** What a client of a cluster may set; a node's own client side takes the same. */
export interface ClientSettings {
  readonly sessionTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly addTimeoutMs: number
  readonly readTimeoutMs: number
  /**
   * What all nodes and clients of a cluster share, at least 8 characters: who does not know it gets
   * nothing. It is asked for and shown on every connection, and never sent.
   */
  readonly secret?: string | undefined
}

/** What a program hands over rather than writes down. */
interface Handed {
  /**
   * A pino logger, or anything with its `child`, `debug`, `info`, `warn` and `error`. Default: pino
   * at level `warn`.
   */
  readonly logger?: Logger | undefined
  /** Aborts the opening; nothing is left behind. */
  readonly signal?: AbortSignal | undefined
}

export interface ConnectOptions extends Partial<ClientSettings>, Handed {
  /** Where local files of databases are kept. Not needed without databases. */
  readonly dir?: string | undefined
}

export interface OpenOptions extends Partial<ClientSettings>, Handed {
  /** Where the node keeps everything, unless `journal` and `ledgers` name other disks. */
  readonly dir?: string | undefined
  readonly journal?: string | undefined
  readonly ledgers?: readonly string[] | undefined
  /** `HOST:PORT` of the node's one port. Default: a free port that only this machine can reach. */
  readonly listen?: string
  /**
   * Keep no metadata here, but be a bookie on another node's (`quire://HOST:PORT`), or of a
   * BookKeeper cluster (`zk+hierarchical://HOST:PORT/ledgers`).
   */
  readonly metadata?: string | undefined
  /**
   * `HOST:PORT` of each node that keeps the metadata together with this one, and its own: the same
   * list on all of them. They found a cluster once all of them have answered.
   */
  readonly peers?: readonly string[] | undefined
  /** Make the cluster in a ZooKeeper that holds none. */
  readonly init?: boolean
  /**
   * A new bookie's id, for good. Default: generated; in a ZooKeeper the address of `listen`, as
   * BookKeeper's own bookies have it.
   */
  readonly bookieId?: string | undefined
  /** Listens beyond this machine without a `secret`. */
  readonly insecure?: boolean
  /** `inline` runs the node on the caller's thread: for tests. */
  readonly threads?: 'worker' | 'inline'
  readonly segmentBytes?: number
  readonly collectIntervalMs?: number
  readonly indexBytesMax?: number
}

interface NodeEntries extends ClientSettings {
  readonly dir?: string | undefined
  readonly journal?: string | undefined
  readonly ledgers?: string[] | undefined
  readonly listen: string
  readonly metadata?: string | undefined
  readonly peers?: string[] | undefined
  readonly init: boolean
  readonly bookieId?: string | undefined
  readonly insecure: boolean
  readonly threads: 'worker' | 'inline'
  readonly segmentBytes: number
  readonly collectIntervalMs: number
  readonly indexBytesMax: number
}

const text = v.pipe(v.string(), v.nonEmpty('it is empty'))
const milliseconds = v.pipe(v.number(), v.integer(), v.minValue(10))
const atLeast = (bytes: number): v.GenericSchema<number> =>
  v.pipe(v.number(), v.integer(), v.minValue(bytes))

/** Says nothing of what was given. */
const secret = v.pipe(
  v.string('it must be a text'),
  v.minLength(8, 'it must have at least 8 characters'),
)

const clientEntries = {
  sessionTimeoutMs: v.optional(milliseconds, defaults.sessionTimeoutMs),
  connectTimeoutMs: v.optional(milliseconds, defaults.connectTimeoutMs),
  addTimeoutMs: v.optional(milliseconds, defaults.addTimeoutMs),
  readTimeoutMs: v.optional(milliseconds, defaults.readTimeoutMs),
  secret: v.optional(secret),
}
const nodeEntries = {
  dir: v.optional(text),
  journal: v.optional(text),
  ledgers: v.optional(v.pipe(v.array(text), v.minLength(1))),
  listen: v.optional(text, defaults.listen),
  metadata: v.optional(text),
  peers: v.optional(v.pipe(v.array(text), v.minLength(1), v.maxLength(9))),
  init: v.optional(v.boolean(), false),
  bookieId: v.optional(
    v.pipe(
      text,
      v.regex(/^[a-zA-Z0-9._:-]+$/, 'an id is of letters, digits and . _ : -'),
      v.check(isValidBookieId, 'readonly is the name of a directory'),
    ),
  ),
  insecure: v.optional(v.boolean(), false),
  threads: v.optional(v.picklist(['worker', 'inline']), 'worker'),
  segmentBytes: v.optional(atLeast(64 * 1024), defaults.segmentBytes),
  collectIntervalMs: v.optional(milliseconds, defaults.collectIntervalMs),
  indexBytesMax: v.optional(atLeast(1024 * 1024), defaults.indexBytesMax),
}
const clientSchema: v.GenericSchema<unknown, ClientSettings & { dir?: string | undefined }> =
  v.strictObject({ ...clientEntries, dir: v.optional(text) })
const nodeSchema: v.GenericSchema<unknown, NodeEntries> = v.strictObject({
  ...nodeEntries,
  ...clientEntries,
})

/** Options with defaults filled in, and the directories told apart. */
export interface NodeSettings extends Omit<
  v.InferOutput<typeof nodeSchema>,
  'dir' | 'journal' | 'ledgers'
> {
  /** Metadata and what is small. */
  readonly dir: string
  readonly journal: string
  readonly ledgers: readonly string[]
}

export const optionNames: readonly string[] = Object.keys({
  ...nodeEntries,
  ...clientEntries,
}).sort()

function parse<T>(schema: v.GenericSchema<unknown, T>, options: Handed): T {
  const { logger: _logger, signal: _signal, ...rest } = options
  const result = v.safeParse(schema, rest)
  if (result.success) return result.output
  const [issue] = result.issues
  const path = v.getDotPath(issue) ?? ''
  const known = optionNames.includes(path.split('.')[0] ?? '')
  const hint = known ? `option ${path}: ${issue.message}` : `unknown option ${path}${nearest(path)}`
  throw new QuireError('QUIRE_BAD_OPTION', hint, { facts: { option: path } })
}

export function parseOpenOptions(options: OpenOptions): NodeSettings {
  const { dir, journal, ledgers, ...settings } = parse(nodeSchema, options)
  const home = dir ?? journal
  if (home === undefined) {
    throw new QuireError('QUIRE_BAD_OPTION', 'say where to keep data: { dir: "./data" }', {
      facts: { option: 'dir' },
    })
  }
  const directories = {
    // Without a directory for what is small, that is on the journal's disk, beside it.
    journal: dir !== undefined && journal !== undefined ? journal : `${home}/journal`,
    ledgers: ledgers ?? [`${home}/ledgers`],
  }
  if ([directories.journal, ...directories.ledgers].some((one) => resolve(one) === resolve(home))) {
    throw new QuireError(
      'QUIRE_BAD_OPTION',
      `${home} is the node's own directory: the journal and the ledgers each need another one`,
      { facts: { option: 'dir' } },
    )
  }
  checkPeers(settings)
  return { ...settings, dir: home, ...directories }
}

function checkPeers({ peers, metadata, listen, bookieId }: Omit<NodeEntries, 'dir'>): void {
  if (peers === undefined) return
  const refuse = (why: string): never => {
    throw new QuireError('QUIRE_BAD_OPTION', `option peers: ${why}`, { facts: { option: 'peers' } })
  }
  if (metadata !== undefined) refuse('the metadata is either with the peers or elsewhere, not both')
  if (bookieId !== undefined) refuse('they name themselves: leave bookieId out')
  const addresses = peers.map(parseAddress)
  if (addresses.some(({ port }) => port === 0)) refuse('each address needs its port')
  if (new Set(addresses.map(formatAddress)).size < addresses.length) refuse('list each node once')
  if (parseAddress(listen).port === 0) {
    refuse('say with listen at which of these addresses this node is')
  }
}

export function parseConnectOptions(
  options: ConnectOptions,
): ClientSettings & { dir?: string | undefined } {
  return parse(clientSchema, options)
}

/** A sentence part that names the option most like a mistyped one. */
function nearest(name: string): string {
  const close = optionNames
    .map((known) => ({ known, distance: editDistance([known.toLowerCase(), name.toLowerCase()]) }))
    .toSorted((a, b) => a.distance - b.distance)[0]
  return close && close.distance <= 3 ? `: did you mean ${close.known}?` : ''
}

function editDistance([a, b]: readonly [string, string]): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
