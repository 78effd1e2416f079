// Real nodes for scenarios: several in one process, each with a directory, a journal and a port of
// its own, the first with the metadata of all. And an ear for what a program must never hear of:
// rejections that nobody handled, or handled too late.
import { join } from 'node:path'
import { inspect } from 'node:util'
import type { Test } from 'tap'
import { parseMetadataUri } from '../../src/embedded/metadata-place.ts'
import { openManagers } from '../../src/embedded/managers.ts'
import { open, type Logger, type Node, type OpenOptions } from '../../src/index.ts'
import { createIo } from '../../src/io/real/index.ts'
import { connectMetadata } from '../../src/metadata/client/index.ts'
import type { LedgerMetadata } from '../../src/wire/ledger-metadata.ts'

const nothing = (): void => undefined

export const silent: Logger = {
  child: () => silent,
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
}

export interface Nodes {
  /** Where their directories are: `node-INDEX`. */
  readonly dir: string
  /** By index; the first keeps the metadata. */
  readonly nodes: readonly Node[]
  /** `quire://…` of the first. */
  readonly uri: string
  nodeOf(bookieId: string): Node
  /** Ends the node of an index in order. */
  stop(index: number): Promise<void>
  /** Starts it again in its directory, at a free port unless `options` name one. */
  start(index: number, options?: Partial<OpenOptions>): Promise<Node>
}

/** Closed at the end of the test, the first one last. */
export async function startNodes(
  t: Test,
  count: number,
  options: Partial<OpenOptions> = {},
): Promise<Nodes> {
  const nodes: (Node | undefined)[] = []
  const uriOf = (): string => `quire://${nodes[0]?.listen}`
  const stop = async (index: number): Promise<void> => {
    const node = nodes[index]
    nodes[index] = undefined
    await node?.close()
  }
  // Before the directory is made: so it is removed after the nodes have ended.
  t.teardown(async () => {
    for (let index = nodes.length - 1; index >= 0; index--) await stop(index)
  })
  const dir = t.testdir()
  const start = async (index: number, own: Partial<OpenOptions> = {}): Promise<Node> => {
    const node = await open({
      dir: join(dir, `node-${index}`),
      threads: 'inline',
      segmentBytes: 4 << 20,
      logger: silent,
      ...(index === 0 ? {} : { metadata: uriOf() }),
      ...options,
      ...own,
    })
    nodes[index] = node
    return node
  }
  for (let index = 0; index < count; index++) await start(index)
  return {
    dir,
    get nodes() {
      return nodes.filter((node) => node !== undefined)
    },
    get uri() {
      return uriOf()
    },
    nodeOf(bookieId) {
      const found = nodes.find((node) => node?.id === bookieId)
      if (found === undefined) throw new Error(`no node runs as ${bookieId}`)
      return found
    },
    start,
    stop,
  }
}

/** What the cluster has recorded of a ledger. */
export async function recorded(uri: string, ledgerId: bigint): Promise<LedgerMetadata> {
  const io = createIo()
  await using store = connectMetadata({
    ...io,
    logger: silent,
    addresses: parseMetadataUri(uri).addresses,
  })
  await using session = await store.session()
  const { ledgers } = await openManagers(session, { io })
  return (await ledgers.read(ledgerId)).value
}

/** Collects every rejection that was not handled in the turn it came, and every warning. */
export function unheard(): readonly string[] {
  const heard: string[] = []
  const note = (what: string) => (reason: unknown) => {
    const text = reason instanceof Error ? (reason.stack ?? reason.message) : inspect(reason)
    heard.push(`${what}: ${text}`)
  }
  process.on('unhandledRejection', note('unhandled rejection'))
  process.on('rejectionHandled', note('rejection handled too late'))
  process.on('warning', note('warning'))
  return heard
}
