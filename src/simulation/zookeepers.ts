// A ZooKeeper is another program, with sockets and a disk of its own: the simulator has none.

import { QuireError } from '../errors.ts'
import type { ZooKeepers } from '../io/zookeeper.ts'

export const noZooKeepers: ZooKeepers = {
  connect() {
    throw new QuireError(
      'QUIRE_UNSUPPORTED',
      'the simulator has no ZooKeeper: simulate a node with its own metadata, or use a real one',
    )
  },
}
