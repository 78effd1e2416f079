// The guard before anything native is loaded: better-sqlite3 13 ends Node 20 with a segmentation
// fault, not an error.

import { QuireError } from '../../errors.ts'

const least = { major: 22, minor: 19 }

/** Throws QUIRE_NODE_VERSION, with a sentence, when this Node is older than 22.19. */
export function requireNodeVersion(version: string = process.versions.node): void {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major > least.major || (major === least.major && minor >= least.minor)) return
  const needed = `Quire needs Node ${least.major}.${least.minor} or newer`
  const text = `${needed}, and this is Node ${version}: install a newer Node and start again`
  throw new QuireError('QUIRE_NODE_VERSION', text, { facts: { version } })
}
