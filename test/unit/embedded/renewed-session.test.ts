// A session of a client lives on for its callers when the one underneath has expired.
import t from 'tap'
import { createIo } from '../../../src/io/real/index.ts'
import { RenewedSession } from '../../../src/embedded/renewed-session.ts'
import type { MetadataStore } from '../../../src/metadata/contract.ts'
import { MemoryTreeStore } from '../../../src/metadata/memory/tree-store.ts'
import { TreeMetadata } from '../../../src/metadata/tree-metadata.ts'
import { openTree } from '../../../src/metadata/tree/tree.ts'
import { silent } from '../../support/metadata-bench.ts'

const io = { ...createIo(), logger: silent }
const options = { timeoutMs: 1000 }

async function bench() {
  const tree = await openTree({ ...io, store: new MemoryTreeStore() })
  const metadata = new TreeMetadata(tree)
  const opened: bigint[] = []
  const state = { reachable: true }
  const store: Pick<MetadataStore, 'session'> = {
    async session() {
      if (!state.reachable) throw new Error('nobody answers')
      const session = await metadata.session()
      opened.push(session.sessionId)
      return session
    },
  }
  return { tree, metadata, opened, state, store }
}

t.test('a call that meets the expiry is made on the next session', async (t) => {
  const { tree, metadata, opened, store } = await bench()
  const session = await RenewedSession.open(store, options)
  await session.create('/a', Buffer.from('1'))
  await tree.endSession(session.sessionId, 'expired')
  const { data } = await session.get('/a', { linearizable: true })
  t.equal(Buffer.from(data).toString(), '1')
  const ending = tree.endSession(session.sessionId, 'expired')
  t.equal((await session.set('/a', Buffer.from('2'), 0)).version, 1, 'behind the end in one group')
  await ending
  t.equal(opened.length, 3)
  await session.close()
  t.same(await tree.sessions(), [])
  await metadata.close()
})

t.test('many that find it gone open one session, also after a failed try', async (t) => {
  const { tree, metadata, opened, state, store } = await bench()
  const session = await RenewedSession.open(store, options)
  state.reachable = false
  await tree.endSession(session.sessionId, 'expired')
  await t.rejects(session.exists('/'), { message: 'nobody answers' })
  state.reachable = true
  await Promise.all(Array.from({ length: 20 }, () => session.exists('/')))
  t.equal(opened.length, 2)
  await session.close()
  await t.rejects(session.exists('/'), { code: 'QUIRE_CLOSED' })
  await metadata.close()
})
