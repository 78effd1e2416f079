// One request against the tree: from the wire's words to the tree's and back. Nothing is thrown: an
// error is a result.

import { QuireError, messageOf } from '../../errors.ts'
import { metadataErrorNumber, metadataLimits } from '../../wire/metadata-messages.ts'
import type {
  MetadataResult,
  WireError,
  WireRead,
  WireReadResult,
  WireWatch,
} from '../../wire/metadata-messages.ts'
import { invariant } from '../../invariant.ts'
import type { MultiOperation, MultiResult, WatchEvent } from '../contract.ts'
import type { RequestPacket, ServerConnection } from './connection.ts'
import { treeError } from '../tree/errors.ts'
import type { TreeReadOptions, TreeWrite } from '../tree/tree.ts'
import type { StandingKind, TreeWatch } from '../tree/watches.ts'
import type { ServedTree } from './served-tree.ts'

export interface Execution {
  readonly tree: ServedTree
  readonly sessionId: bigint
  readonly packet: RequestPacket
  readonly connection: ServerConnection
}

const multiLimits = { operations: 10_000, answerBytesEach: 128 } as const

export async function execute(execution: Execution): Promise<MetadataResult> {
  try {
    return await run(execution)
  } catch (error) {
    return errorResult(error)
  }
}

async function run(execution: Execution): Promise<MetadataResult> {
  const { tree, packet, sessionId } = execution
  const { request } = packet
  switch (request.type) {
    case 'create':
    case 'set':
    case 'delete':
      return first(await write(execution, request))
    case 'multi':
      checkMulti(request)
      return { type: 'multi', results: await write(execution, request) }
    case 'get':
    case 'exists':
    case 'children':
      return read(execution, request)
    case 'multiRead':
      return { type: 'multiRead', results: await multiRead(execution, request) }
    case 'sync':
      await tree.sync()
      return { type: 'sync' }
    case 'setWatches':
      await Promise.all(request.watches.map((watch) => layAgain(execution, watch)))
      return { type: 'setWatches' }
    case 'addWatch':
      stand(execution, { ...request, watchId: packet.requestId })
      return { type: 'addWatch' }
    case 'removeWatch':
      execution.connection.remove(request.watchId)
      return { type: 'removeWatch' }
    case 'closeSession':
      await tree.endSession(sessionId, 'closed')
      return { type: 'closeSession' }
    case 'unknown':
      break
  }
  const text = `this metadata server does not know operation ${request.operation}`
  throw new QuireError('QUIRE_UNSUPPORTED', text)
}

function write({ tree, packet, sessionId }: Execution, change: TreeWrite): Promise<MultiResult[]> {
  const { requestId, answeredUpTo } = packet
  return tree.write({ sessionId, requestId, answeredUpTo }, change)
}

function first(results: readonly MultiResult[]): MultiResult {
  const [result] = results
  invariant(result !== undefined && results.length === 1, 'one change has one result')
  return result
}

/** Before it is proposed: a change that was made must have an answer that fits a frame. */
function checkMulti({ operations }: { operations: readonly MultiOperation[] }): void {
  let bytes = 0
  for (const { path } of operations) bytes += Buffer.byteLength(path) + multiLimits.answerBytesEach
  if (operations.length > multiLimits.operations || bytes > metadataLimits.frameBytes) {
    throw new QuireError(
      'QUIRE_FRAME_TOO_LARGE',
      `a multi has at most ${multiLimits.operations} operations, and paths for one frame: not done`,
      { facts: { operations: operations.length } },
    )
  }
}

async function read(execution: Execution, request: WireRead): Promise<MetadataResult> {
  const { tree, packet, connection } = execution
  const { linearizable } = request
  if (!request.watch) return readOnce(tree, request, { linearizable })
  checkWatches(connection)
  const watch = new Watching(execution, packet.requestId)
  const result = await readOnce(tree, request, { linearizable, watch: watch.call })
  watch.laid()
  return result
}

async function readOnce(
  tree: ServedTree,
  { type, path }: { type: 'get' | 'exists' | 'children'; path: string },
  options: TreeReadOptions,
): Promise<MetadataResult> {
  if (type === 'get') return { type, ...(await tree.get(path, options)) }
  if (type === 'exists') return { type, stat: await tree.exists(path, options) }
  return { type, ...(await tree.children(path, options)) }
}

async function multiRead(
  { tree }: Execution,
  request: { linearizable: boolean; reads: readonly { type: 'get' | 'children'; path: string }[] },
): Promise<WireReadResult[]> {
  if (request.linearizable) await tree.sync()
  const results = await tree.multiRead(request.reads)
  return results.map((result, index) => {
    if (result.type === 'get' || result.type === 'children') return result
    const path = request.reads[index]?.path ?? '/'
    invariant(result.type === 'none', 'a read is answered by its own kind', { path })
    return errorResult(treeError({ code: result.code, path, index }))
  })
}

/**
 * Lays a watch of an earlier connection again, or tells it at once if its node does not look as the
 * client saw it last. Zxids are compared for equality: whatever happened to the node has changed
 * them, and no other order of events can.
 */
async function layAgain(execution: Execution, laid: WireWatch): Promise<void> {
  const { tree, connection } = execution
  const { watchId, path, kind, zxid } = laid
  if (kind === 'node' || kind === 'tree') {
    stand(execution, { watchId, path, kind })
    // Nobody can tell any more which of the changes since then it would have told.
    if (tree.lastZxid !== zxid) connection.fire(watchId, { type: 'missed', path }, false)
    return
  }
  checkWatches(connection)
  const watch = new Watching(execution, watchId)
  const now = await zxidNow(tree, laid, watch.call)
  if (now === zxid) {
    watch.laid()
    return
  }
  const changed = kind === 'children' ? 'children' : 'changed'
  const appeared = zxid === 0 ? 'created' : changed
  watch.tell({ type: now === 0 ? 'deleted' : appeared, path })
}

function stand(
  { tree, connection }: Execution,
  { watchId, path, kind }: { watchId: number; path: string; kind: StandingKind },
): void {
  checkWatches(connection)
  const call: TreeWatch = (event) => connection.fire(watchId, event, false)
  tree.stand(kind, path, call)
  connection.laid(watchId, () => tree.unwatch(call))
}

async function zxidNow(tree: ServedTree, laid: WireWatch, watch: TreeWatch): Promise<number> {
  const options = { linearizable: false, watch }
  if (laid.kind === 'data') return (await tree.exists(laid.path, options))?.mzxid ?? 0
  try {
    return (await tree.children(laid.path, options)).stat.pzxid
  } catch (error) {
    if (QuireError.is(error, 'QUIRE_NO_NODE')) return 0
    throw error
  }
}

/**
 * A watch on its way from the tree to the client: the tree may tell it before the read that lays it
 * has returned.
 */
class Watching {
  readonly #execution: Execution
  readonly #watchId: number
  #told = false

  constructor(execution: Execution, watchId: number) {
    this.#execution = execution
    this.#watchId = watchId
  }

  readonly call: TreeWatch = (event) => {
    if (this.#told) return
    this.#told = true
    this.#execution.connection.fire(this.#watchId, event, true)
  }

  /** The read has returned: from now on the connection's end takes the watch back. */
  laid(): void {
    const { connection, tree } = this.#execution
    if (!this.#told) connection.laid(this.#watchId, () => tree.unwatch(this.call))
  }

  tell(event: WatchEvent): void {
    this.#execution.tree.unwatch(this.call)
    this.call(event)
  }
}

function checkWatches(connection: ServerConnection): void {
  if (connection.watchesLeft > 0) return
  const text =
    'the server keeps no more watches for this session: read without one, or use another session'
  throw new QuireError('QUIRE_BACKPRESSURE', text)
}

export function errorResult(error: unknown): WireError {
  const known = QuireError.is(error) ? error : undefined
  const path = known?.facts['path']
  const index = known?.facts['index']
  return {
    type: 'error',
    code: metadataErrorNumber(known?.code ?? ''),
    message: messageOf(error),
    path: typeof path === 'string' ? path : undefined,
    index: typeof index === 'number' ? index : undefined,
  }
}
