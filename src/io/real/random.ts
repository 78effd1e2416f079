import { randomBytes, randomInt, randomUUID } from 'node:crypto'
import type { Random } from '../time.ts'

export const random: Random = {
  bytes: (count) => randomBytes(count),
  below: (below) => randomInt(below),
  uuid: () => randomUUID(),
}
