// Where this package's own files are at run time: beside this module, or, when a user's program was
// bundled and `import.meta.url` is the bundle, wherever the package is installed.

import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { QuireError } from '../../errors.ts'

const here: string | undefined = import.meta.url

/** True when this module runs from its own file, as `.ts` or as `.js`. */
function isOwnFile(url: string | undefined): url is string {
  return url !== undefined && /\/io\/real\/package-files\.[jt]s$/.test(url)
}

/** The URL of the module that threads start with. */
export function threadMainUrl(): URL {
  if (isOwnFile(here)) return new URL(`./thread-main${here.slice(-3)}`, here)
  return pathToFileURL(installed('quire-log/thread'))
}

/** Loads a dependency of this package in a way that no bundler follows. */
export function requireDependency(name: string): unknown {
  const from = isOwnFile(here) ? here : installed('quire-log/thread')
  return createRequire(from)(name)
}

function installed(specifier: string): string {
  const bases = [here, process.argv[1], join(process.cwd(), 'package.json')]
  let cause: unknown
  for (const base of bases) {
    if (base === undefined) continue
    try {
      return createRequire(base).resolve(specifier)
    } catch (error) {
      cause = error
    }
  }
  throw new QuireError(
    'QUIRE_IO',
    `${specifier} was not found: a bundled program still needs quire-log installed beside it`,
    { cause },
  )
}
