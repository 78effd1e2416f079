// A pure core with a defect: a copy of its files, with a text replaced by another, loaded beside
// the real one. So a search is shown to see the defect.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root } from './source.ts'

export type Mutation = readonly [from: string, to: string]

/** What the search says when an invariant does not hold. */
export class Violation extends Error {
  readonly invariant: string

  constructor(invariant: string, detail: string) {
    super(`${invariant}: ${detail}`)
    this.invariant = invariant
  }
}

/** What was thrown by a model or by the code it drives. */
export function violationOf(error: unknown): Violation {
  if (error instanceof Violation) return error
  return new Violation('invariant in the code', error instanceof Error ? error.message : '')
}

/**
 * The exports of `files` of the core in `folder` (below src), as one object. `directory`: where the
 * copy is made, one for each mutation, for a module is loaded once.
 */
export async function loadMutated(
  folder: string,
  files: readonly string[],
  { directory, mutation }: { directory: string; mutation?: Mutation | undefined },
): Promise<object> {
  const from = join(root, 'src', folder)
  const to = join(directory, 'core')
  mkdirSync(to, { recursive: true })
  let applied = mutation === undefined
  for (const name of readdirSync(from)) {
    const text = readFileSync(join(from, name), 'utf8')
    const changed = mutation ? text.replace(mutation[0], () => mutation[1]) : text
    applied ||= changed !== text
    writeFileSync(join(to, name), outward(changed, from))
  }
  if (!applied) throw new Error(`nothing to mutate: ${mutation?.[0]}`)
  const modules: object[] = await Promise.all(
    files.map((name) => import(pathToFileURL(join(to, `${name}.ts`)).href)),
  )
  return Object.assign({}, ...modules)
}

/** Imports of what is not copied, made absolute. */
const outward = (text: string, folder: string): string =>
  text.replaceAll(
    /'(\.\.\/[^']+)'/g,
    (_, path: string) => `'${pathToFileURL(join(folder, path)).href}'`,
  )
