export { createSimulatedIo, type SimulatedParts } from './io.ts'
export { World, type WorldOptions } from './world.ts'
export type { ChoiceLists } from './choices.ts'
export { afterPowerLoss, type CrashMode } from './crash.ts'
export { Disk, type DiskOptions } from './disk.ts'
export type { DiskFaults, NetworkFaults, NextFault } from './faults.ts'
export type { SimulatedNode, SimulatedProcess } from './node.ts'
export type { ThreadPrograms } from './threads.ts'
export { createSimulatedStateStores, type SimulatedStateStores } from './state-store.ts'
export { createSimulatedTreeStores } from './tree-store.ts'
export {
  createMemoryMetadata,
  type MemoryMetadataOptions,
} from '../metadata/memory/memory-metadata.ts'
export {
  clusterPort,
  drawSecret,
  Operator,
  SimulatedCluster,
  type ClusterOptions,
  type WrapIo,
} from './cluster.ts'
export { damageKinds, type Damage, type DamageKind } from './damage.ts'
export { journalOn, type StoredRecord } from './journals.ts'
export { SimulatedGroup, type GroupOptions } from './group.ts'
export { faultKinds, Nemesis, type FaultKind, type NemesisOptions } from './nemesis.ts'
export { moments, type Aim, type Moment } from './moments.ts'
export { lanes, type LanesOptions } from './lanes.ts'
export { readReplay, writeReplay, type Plan, type Replay } from './replay.ts'
export { shrink, type ShrinkOptions } from './shrink.ts'
export { Host } from './host.ts'
export { allStarted, quiet, restartAll } from './ending.ts'
export { createTraceLogger } from './logger.ts'
export type { Told } from './scheduler.ts'
