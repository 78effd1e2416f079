// Paths of the tree, by ZooKeeper's rules (PathUtils.validatePath).

/** What is wrong with a path, undefined when nothing is. */
export function pathProblem(path: string): string | undefined {
  if (!path.startsWith('/')) return 'a path begins with a slash'
  if (path === '/') return undefined
  if (path.endsWith('/')) return 'a path does not end with a slash'
  for (const name of path.slice(1).split('/')) {
    if (name === '') return 'a path has no empty names'
    if (name === '.' || name === '..') return 'a path has no relative names'
  }
  return refused.test(path) ? 'a path has no control characters or private ones' : undefined
}

// Control characters, surrogates and the private area, specials: what ZooKeeper refuses. Hence no
// pair outside the BMP.
// oxlint-disable-next-line no-control-regex
const refused = /[\u0000-\u001f\u007f-\u009f\ud800-\uf8ff\ufff0-\uffff]/

/** The path above; of `/` there is none. */
export function parentOf(path: string): string {
  const at = path.lastIndexOf('/')
  return at <= 0 ? '/' : path.slice(0, at)
}

/** The last name of a path. */
export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/**
 * A sequential name's ten digits, as Java's `%010d`: the sign counts as one, and the smallest
 * number has eleven.
 */
export function sequenceDigits(sequence: number): string {
  return sequence < 0
    ? `-${String(-sequence).padStart(9, '0')}`
    : String(sequence).padStart(10, '0')
}
