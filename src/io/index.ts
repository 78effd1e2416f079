export type { Io } from './io.ts'
export type { DirectoryLock, FileFacts, Files, OpenFile, OpenMode } from './files.ts'
export type { JournalDevice, JournalDevices, JournalFile } from './journal-device.ts'
export type { Address, Connection, ConnectionHandler, Listener, Network } from './network.ts'
export type { SqlRow, SqlTransaction, SqlValue, StateStore, StateStores } from './state-store.ts'
export type { Message, Thread, ThreadPort, ThreadProgramName, Threads } from './threads.ts'
export type { Clock, Random, Timer, Timers } from './time.ts'
export type {
  LogChange,
  LogEntry,
  ReplicatedTreeStore,
  TreeBatch,
  TreeRow,
  TreeStore,
  TreeStores,
} from './tree-store.ts'
export type {
  ZooKeeperAnswer,
  ZooKeeperConnection,
  ZooKeeperDial,
  ZooKeeperEvent,
  ZooKeeperGreeting,
  ZooKeeperHandler,
  ZooKeeperMultiResult,
  ZooKeeperOperation,
  ZooKeeperRequest,
  ZooKeeperResult,
  ZooKeepers,
  ZooKeeperStat,
} from './zookeeper.ts'
export type { Logger } from './log.ts'
export { withSecret } from './authenticated-network.ts'
export { shakeHands, type Carrier } from './client-handshake.ts'
export { createFilesJournalDevices } from './files-journal-device.ts'
export {
  createInlineThreads,
  type InlineThreadOptions,
  type ThreadProgram,
} from './inline-threads.ts'
export { prepareFile } from './prepare-file.ts'
