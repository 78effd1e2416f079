// The journal's way to its disk: writes spans of shared memory and syncs them, away from the
// caller's thread.

/** A segment file that is open for writing, with the memory that holds its image. */
export interface JournalFile {
  readonly path: string
  /**
   * The whole file's image; shared with the device's thread. Offset in the image = offset in the
   * file.
   */
  readonly image: Uint8Array
}

export interface JournalDevice {
  /** Memory that `commit` can write from without a copy. */
  allocate(bytes: number): Uint8Array
  /**
   * Creates `path` with `bytes` zeros if it does not exist with that size; file and name are
   * durable on return.
   */
  prepare(path: string, bytes: number): Promise<void>
  open(path: string, image: Uint8Array): Promise<JournalFile>
  /**
   * Writes image[from, to) to the same offsets, syncs the file, and calls `done`: without an error
   * when the span is durable, with QUIRE_DISK_FULL when nothing was written, with
   * QUIRE_FSYNC_FAILED when that cannot be known (the device is then dead and every later call
   * fails the same way). Calls complete in the order they were made; the caller keeps at most one
   * in flight if it wants group commit. The image bytes must not change before `done`.
   */
  commit(file: JournalFile, from: number, to: number, done: (error?: Error) => void): void
  closeFile(file: JournalFile): Promise<void>
  close(): Promise<void>
}

export interface JournalDevices {
  open(): Promise<JournalDevice>
}
