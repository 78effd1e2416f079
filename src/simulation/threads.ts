// Simulated threads: inline ones, each a process of its own in the eyes of the scheduler, so that
// ending one ends its timers and the completions it waits for. Messages are delayed, in order, and
// cut by the end of either side.

import { createInlineThreads, type ThreadProgram } from '../io/inline-threads.ts'
import type { Io } from '../io/io.ts'
import type { Thread, ThreadProgramName, Threads } from '../io/threads.ts'
import type { SimulatedProcess } from './node.ts'

export type ThreadPrograms = Partial<Record<ThreadProgramName, ThreadProgram>>

export function createSimulatedThreads(
  task: SimulatedProcess,
  programs: ThreadPrograms,
  ioOf: (thread: SimulatedProcess) => Io,
): Threads {
  const { scheduler } = task.node
  const nextMs = new WeakMap<object, number>()
  const deliver = (lane: object, call: () => void) => {
    const atMs = scheduler.nowMs + scheduler.between(task.node.messageMs, 'thread.latency')
    const inOrderMs = Math.max(atMs, (nextMs.get(lane) ?? 0) + 1e-6)
    nextMs.set(lane, inOrderMs)
    scheduler.schedule(task, inOrderMs - scheduler.nowMs, { label: 'thread.message', call })
  }
  const ioFor = (thread: Thread): Io => {
    const inner = task.startThread()
    inner.onFailure = (error) => {
      inner.end(true)
      fail(thread, error)
    }
    void thread.ended.then(() => inner.end(true))
    return ioOf(inner)
  }
  return createInlineThreads({ programs, ioFor, deliver })
}

function fail(thread: Thread, error: unknown): void {
  if ('fail' in thread && typeof thread.fail === 'function') thread.fail(error)
}
