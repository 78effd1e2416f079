// Threads talk by messages only. A thread's program is a module of this package, named by its path
// under `src` without extension, that exports `run(port, io)`; so that a simulator can run the same
// program in its own thread.

export type Message = unknown

export interface ThreadPort {
  post(message: Message, transfer?: readonly ArrayBuffer[]): void
  /** One handler; messages that arrive before it is set are kept. */
  receive(handler: (message: Message) => void): void
}

export interface Thread extends ThreadPort {
  /**
   * Resolves, never rejects, when the thread ended: with the error that ended it, or undefined
   * after `terminate`.
   */
  readonly ended: Promise<Error | undefined>
  terminate(): Promise<void>
}

export interface Threads {
  /** Starts a program, `data` as its first message. */
  start(program: ThreadProgramName, data: Message): Thread
}

/** The programs that run on threads of their own. */
export type ThreadProgramName =
  | 'embedded/node-thread'
  | 'io/real/journal-thread'
  | 'io/real/tree-thread'
