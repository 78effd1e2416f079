// The metadata contract on a tree of this very thread.

import { QuireError, abortedError } from '../errors.ts'
import { withSignal } from './abort.ts'
import type { MetadataCapability, MetadataSession, MetadataStore } from './contract.ts'
import { TreeMetadataSession } from './session.ts'
import type { Tree } from './tree/tree.ts'

/** Nobody resumes these sessions. Those of an earlier process are recognised by it. */
const noPassword = new Uint8Array(16)

/** Sessions on `tree`. Closing it closes the sessions it gave, and the tree. */
export class TreeMetadata implements MetadataStore {
  readonly capabilities: ReadonlySet<MetadataCapability> = new Set([
    'container',
    'ttl',
    'multi-read',
    'standing-watch',
  ] as const)
  readonly #tree: Promise<Tree>
  readonly #sessions = new Set<TreeMetadataSession>()
  #closed = false

  constructor(tree: Tree | Promise<Tree>) {
    this.#tree = Promise.resolve(tree)
    // Whoever asks for a session is told why the tree did not open.
    this.#tree.catch(() => {})
  }

  async session(
    options: { timeoutMs?: number; signal?: AbortSignal | undefined } = {},
  ): Promise<MetadataSession> {
    const { timeoutMs = 30_000, signal } = options
    return withSignal(signal, async () => {
      if (this.#closed) throw new QuireError('QUIRE_CLOSED', 'the metadata store was closed')
      const tree = await this.#tree
      const sessionId = await tree.openSession({ timeoutMs, password: noPassword, local: true })
      if (signal?.aborted) {
        await tree.endSession(sessionId, 'closed')
        throw abortedError(signal)
      }
      const session = new TreeMetadataSession(tree, sessionId)
      this.#sessions.add(session)
      void session.ended.then(() => this.#sessions.delete(session))
      return session
    })
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const [opened] = await Promise.allSettled([this.#tree])
    if (opened.status === 'rejected') return
    const tree = opened.value
    await Promise.allSettled([...this.#sessions].map((session) => session.close()))
    await tree.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
