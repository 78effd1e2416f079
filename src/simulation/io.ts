// The simulated outside world of one node, put together: the same shape as the real one.

import { createFilesJournalDevices } from '../io/files-journal-device.ts'
import type { Io } from '../io/io.ts'
import type { StateStores } from '../io/state-store.ts'
import type { TreeStores } from '../io/tree-store.ts'
import { createSimulatedFiles } from './files.ts'
import { createSimulatedNetwork } from './network.ts'
import { simulatedClock, randomFrom, simulatedTimers, type SimulatedProcess } from './node.ts'
import { createSimulatedThreads, type ThreadPrograms } from './threads.ts'
import { createSimulatedTreeStores } from './tree-store.ts'
import type { World } from './world.ts'
import { noZooKeepers } from './zookeepers.ts'

export interface SimulatedParts {
  /** The programs that its threads run, by name. */
  readonly programs?: ThreadPrograms
  readonly trees?: (task: SimulatedProcess) => TreeStores
  /**
   * By default databases in memory that belong to the node, and may lose their last commits with
   * it.
   */
  readonly states?: (task: SimulatedProcess) => StateStores
  readonly environment?: Readonly<Record<string, string>>
}

/**
 * The world as a new process on the node sees it. The process that ran there before must have been
 * killed, or lost its power.
 */
export function createSimulatedIo(world: World, nodeName: string, parts: SimulatedParts = {}): Io {
  return ioOf(world, world.node(nodeName).boot(), parts)
}

function ioOf(world: World, task: SimulatedProcess, parts: SimulatedParts): Io {
  const files = createSimulatedFiles(task)
  const inner = (thread: SimulatedProcess) => ioOf(world, thread, parts)
  return {
    files,
    network: createSimulatedNetwork(world.cables, task),
    clock: simulatedClock(task),
    timers: simulatedTimers(task),
    random: randomFrom(task.random),
    threads: createSimulatedThreads(task, parts.programs ?? {}, inner),
    journals: createFilesJournalDevices(files),
    trees: parts.trees?.(task) ?? createSimulatedTreeStores(task),
    states: parts.states?.(task) ?? statesOf(world, task),
    zookeepers: noZooKeepers,
    environment: (name) => parts.environment?.[name],
  }
}

function statesOf(world: World, task: SimulatedProcess): StateStores {
  const states = world.statesOf(task.node.name)
  // A process that is killed loses nothing really; here it may, as with the power: the log repeats
  // it.
  if (task.parent === undefined) task.onEnd.push(() => states.crash())
  return states.on(task)
}
