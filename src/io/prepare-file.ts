// A file of zeros, made so that its name never stands for less: written and synced under another
// name first.

import { dirname } from 'node:path'
import type { Files } from './files.ts'

const chunkBytes = 1024 * 1024
/**
 * Synced in steps, so that a commit to another file of the same disk never waits behind all of it.
 */
const syncEveryBytes = 4 * 1024 * 1024

/**
 * Makes `path` a file of `bytes` zeros unless it is there with that size. File and name are durable
 * on return. A process that ends meanwhile leaves `path.new`, which nobody needs.
 */
export async function prepareFile(files: Files, path: string, bytes: number): Promise<void> {
  const there = await files.facts(path)
  if (there?.kind === 'file' && there.bytes === bytes) {
    await syncExisting(files, path)
  } else {
    await fill(files, `${path}.new`, bytes)
    await files.rename(`${path}.new`, path)
  }
  await files.syncDirectory(dirname(path))
}

async function syncExisting(files: Files, path: string): Promise<void> {
  const file = await files.open(path, 'write')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

async function fill(files: Files, path: string, bytes: number): Promise<void> {
  await files.remove(path)
  const file = await files.open(path, 'create')
  try {
    const zeros = new Uint8Array(Math.min(chunkBytes, bytes))
    for (let at = 0; at < bytes; at += zeros.length) {
      await file.write(zeros.subarray(0, bytes - at), at)
      if (at % syncEveryBytes === 0) await file.datasync()
    }
    await file.sync()
  } finally {
    await file.close()
  }
}
