// The file system as Quire needs it. Durability is explicit: nothing written counts before
// `datasync` or `sync` of the file resolved, and no name counts before `syncDirectory` of its
// directory resolved.

export type OpenMode =
  /** Existing file, read only. */
  | 'read'
  /** Existing file, read and write. */
  | 'write'
  /** New file, read and write; fails when the name exists. */
  | 'create'

export interface FileFacts {
  readonly kind: 'file' | 'directory' | 'other'
  readonly bytes: number
}

export interface OpenFile {
  /**
   * Reads up to `into.length` bytes from offset `at`; resolves to the count, smaller at the end of
   * the file.
   */
  read(into: Uint8Array, at: number): Promise<number>
  /**
   * Writes all of `bytes` at offset `at`. The bytes are captured by the call's end, not at its
   * start: do not change them.
   */
  write(bytes: Uint8Array, at: number): Promise<void>
  /** Makes data written before the call durable, and the size needed to read it. */
  datasync(): Promise<void>
  sync(): Promise<void>
  truncate(bytes: number): Promise<void>
  bytes(): Promise<number>
  close(): Promise<void>
}

/** An exclusive claim on a directory, held until released or until the process ends. */
export interface DirectoryLock {
  release(): Promise<void>
}

/**
 * All failures are `QuireError`: QUIRE_DIRECTORY_MISSING (no such file or directory),
 * QUIRE_DIRECTORY_DENIED (permission), QUIRE_DISK_FULL (no space, or quota: `facts.writtenBytes` of
 * a write counts what was written), QUIRE_FSYNC_FAILED (any failure of a sync), QUIRE_IO
 * (everything else), with the system's error as cause and `facts.path`.
 */
export interface Files {
  open(path: string, mode: OpenMode): Promise<OpenFile>
  /** Resolves to undefined when there is nothing under that name. */
  facts(path: string): Promise<FileFacts | undefined>
  /** Names in a directory, sorted by code unit. */
  list(directory: string): Promise<string[]>
  /** Creates the directory and missing parents, and makes the new names durable. */
  makeDirectory(path: string): Promise<void>
  rename(from: string, to: string): Promise<void>
  /** Removes a file; a missing one is no error. */
  remove(path: string): Promise<void>
  /** Makes creations, renames and removals in the directory durable. */
  syncDirectory(path: string): Promise<void>
  /**
   * Takes the exclusive lock of a directory, against other processes and other holders in this one.
   * Fails with QUIRE_DIRECTORY_IN_USE while somebody holds it, QUIRE_DIRECTORY_POISONED once
   * `poison` named it.
   */
  lock(directory: string): Promise<DirectoryLock>
  /** After an fsync error: this process never locks the directory again, whatever is released. */
  poison(directory: string): void
  space(directory: string): Promise<{ freeBytes: number; totalBytes: number }>
}
