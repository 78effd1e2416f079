// The loader that makes a canary's mistake.

import { registerHooks } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { mutate, type Canary } from './canary.ts'

/** From now on the canary's files are loaded with its mistake. None of them may be loaded yet. */
export function release({ id, edits }: Canary): void {
  const root = join(import.meta.dirname, '..', '..', 'src')
  const mutated = new Map(
    Object.entries(edits).map(([file, each]) => [pathToFileURL(join(root, file)).href, each]),
  )
  registerHooks({
    load(url, context, next) {
      const loaded = next(url, context)
      const each = mutated.get(url)
      if (each === undefined) return loaded
      return { ...loaded, source: mutate(textOf(loaded.source), each, id) }
    },
  })
}

function textOf(source: string | ArrayBuffer | NodeJS.TypedArray | undefined): string {
  if (typeof source === 'string') return source
  return new TextDecoder().decode(source)
}
