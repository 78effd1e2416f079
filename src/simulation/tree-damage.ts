// Damage to an entry of a replicated log at rest: what a database without checksums of its own
// reads back without noticing.

import { deserialize } from 'node:v8'
import { asBuffer } from '../wire/bytes.ts'
import type { Choose } from './crash.ts'
import type { Disk } from './disk.ts'
import { isStoredChanges, recordOf, recordsIn } from './tree-store.ts'

/**
 * Changes a byte of some entry that the log in the store at `path` holds. False: it holds none with
 * any bytes.
 */
export function damageEntry(disk: Disk, path: string, choose: Choose): boolean {
  const at = path.lastIndexOf('/')
  const [directory, name] = [path.slice(0, at), path.slice(at + 1)]
  const generations = [...disk.directory(directory).current.keys()]
    .filter((each) => each.startsWith(`${name}.`))
    .map((each) => Number(each.slice(name.length + 1)))
  const file = `${directory}/${name}.${Math.max(...generations)}`
  if (generations.length === 0) return false
  const bytes = Buffer.alloc(disk.file(file).current.size)
  disk.file(file).current.read(bytes, 0)
  const found = recordsIn(bytes).flatMap((record) => {
    const changes: unknown = deserialize(record.body)
    if (!isStoredChanges(changes)) return []
    const entries = changes.flatMap((change) => ('log' in change ? change.log.entries : []))
    return entries
      .filter(({ data }) => data.length > 0)
      .map((entry) => ({ record, changes, entry }))
  })
  const hit = found[choose(Math.max(found.length, 1), 'damage.entry')]
  if (hit === undefined) return false
  const data = asBuffer(hit.entry.data)
  const place = choose(data.length, 'damage.byte')
  data.writeUInt8(data.readUInt8(place) ^ 0x10, place)
  disk.overwrite(file, hit.record.at, recordOf(hit.changes))
  return true
}
