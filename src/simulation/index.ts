export { createSimulatedIo, type SimulatedParts } from './io.ts'
export { World, type WorldOptions } from './world.ts'
export type { ChoiceLists } from './choices.ts'
export { afterPowerLoss, type CrashMode } from './crash.ts'
export type { Disk, DiskOptions } from './disk.ts'
export type { DiskFaults, NetworkFaults, NextFault } from './faults.ts'
export type { SimulatedNode, SimulatedProcess } from './node.ts'
export type { ThreadPrograms } from './threads.ts'
export { createSimulatedStateStores, type SimulatedStateStores } from './state-store.ts'
export { createSimulatedTreeStores } from './tree-store.ts'
export {
  createMemoryMetadata,
  type MemoryMetadataOptions,
} from '../metadata/memory/memory-metadata.ts'
export { Operator, SimulatedCluster, type ClusterOptions, type WrapIo } from './cluster.ts'
export { faultKinds, Nemesis, type FaultKind, type NemesisOptions } from './nemesis.ts'
export { readReplay, writeReplay, type Plan, type Replay } from './replay.ts'
export { shrink, type ShrinkOptions } from './shrink.ts'
