// The driver of a real ZooKeeper against a real ZooKeeper.
import { join } from 'node:path'
import t from 'tap'
import { createIo } from '../../src/io/real/index.ts'
import { connectZooKeeper } from '../../src/metadata/zookeeper/store.ts'
import { metadataSuite } from '../conformance/metadata-suite.ts'
import { quiet } from '../support/quiet.ts'
import { startZooKeeper } from '../support/zookeeper.ts'

const io = { ...createIo(), logger: quiet }
const server = await startZooKeeper(join(t.testdir(), 'zookeeper'))
t.teardown(() => server.stop())

metadataSuite(t, {
  name: 'a real ZooKeeper',
  capabilities: [],
  async open() {
    const store = connectZooKeeper({ ...io, addresses: [server.address] })
    return { store, close: () => store.close() }
  },
})
