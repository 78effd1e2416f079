// What stands where no store was given: a call says so.

import { QuireError } from '../errors.ts'
import type { StateStores } from './state-store.ts'
import type { TreeStores } from './tree-store.ts'

export const missingStores: TreeStores & StateStores = {
  open: async (path) => missing(path),
  restore: async (path) => missing(path),
  remove: async (path) => missing(path),
}

function missing(path: string): never {
  throw new QuireError('QUIRE_UNSUPPORTED', `no store was given for ${path}`)
}
