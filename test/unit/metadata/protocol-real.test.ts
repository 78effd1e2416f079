// The metadata protocol on real sockets, over a tree in SQLite.

import { join } from 'node:path'
import t from 'tap'
import type { Address, Listener } from '../../../src/io/network.ts'
import { createIo } from '../../../src/io/real/index.ts'
import { connectMetadata } from '../../../src/metadata/client/index.ts'
import { createMetadataServer } from '../../../src/metadata/server/index.ts'
import { openTree } from '../../../src/metadata/tree/tree.ts'
import { silent } from '../../support/metadata-bench.ts'

const io = createIo()
const parts = { ...io, logger: silent }

/** What serves a tree file on a port, as one thing to open and close. */
async function serve(
  path: string,
  at: Address,
): Promise<{ listener: Listener; close: () => Promise<void> }> {
  const tree = await openTree({ ...parts, store: await io.trees.open(path) })
  const server = await createMetadataServer({ ...parts, tree, instanceId: 'real' })
  const listener = await io.network.listen(at, (connection) =>
    connection.start({
      data: (chunk) => server.accept(connection, chunk),
      drain: () => undefined,
      close: () => undefined,
    }),
  )
  const close = async (): Promise<void> => {
    await listener.close()
    await server.close()
    await tree.close()
  }
  return { listener, close }
}

t.test(
  'sessions, ephemerals and calls in flight live through a restart of the server',
  async (t) => {
    const path = join(t.testdir(), 'tree.sqlite')
    const first = await serve(path, { host: '127.0.0.1', port: 0 })
    const { address } = first.listener
    const store = connectMetadata({ ...parts, addresses: [address] })
    const [session, other] = [await store.session(), await store.session()]
    await session.create('/e', Buffer.from('mine'), { mode: 'ephemeral' })
    const large = Buffer.alloc(1_000_000, 3)
    await session.create('/large', large)
    t.same((await other.get('/large')).data, large, 'many chunks make one frame')
    const told = new Promise((resolve) => {
      void session.exists('/during-0000000104', { watch: resolve })
    })
    const calls = Array.from({ length: 200 }, () =>
      other.create('/during-', Buffer.from('x'), { mode: 'persistent-sequential' }),
    )
    await calls[20]
    await first.close()
    const second = await serve(path, address)
    const paths = (await Promise.all(calls)).map((made) => made.path)
    t.same(paths, [...paths].sort(), 'in their order')
    const names = (await session.children('/')).names.filter((name) => name.startsWith('during-'))
    t.equal(names.length, 200, 'each once')
    t.equal(Buffer.from((await other.get('/e')).data).toString(), 'mine')
    t.match(await told, { type: 'created', path: '/during-0000000104' })
    await session.close()
    t.equal(await other.exists('/e'), undefined)
    await store.close()
    await second.close()
  },
)
