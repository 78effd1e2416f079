// The bytes of a configuration, in config entries and wherever else one is kept:
//
//  u8 version (1), then five lists: voters, outgoing, learners, learnersNext, retired.
//  A list is u32 count, then for each id u32 length and UTF-8.

import { ByteReader, ByteWriter } from '../../../wire/bytes.ts'
import { QuireError } from '../../../errors.ts'
import type { Configuration, NodeId } from './types.ts'

const version = 1
const idBytesMax = 1_024

export function encodeConfiguration(configuration: Configuration): Uint8Array {
  const { voters, outgoing, learners, learnersNext, retired } = configuration
  const writer = new ByteWriter(64).u8(version)
  for (const ids of [voters, outgoing, learners, learnersNext, retired]) {
    writer.u32(ids.length)
    for (const id of ids) writer.utf8(id)
  }
  return writer.finish()
}

/** Throws QUIRE_BAD_FRAME for bytes that are none, or of a newer version (F3.79). */
export function decodeConfiguration(bytes: Uint8Array): Configuration {
  const reader = new ByteReader(bytes)
  const found = reader.u8()
  if (found !== version) {
    throw new QuireError('QUIRE_BAD_FRAME', `a configuration of version ${found} is not known`, {
      facts: { version: found },
    })
  }
  const configuration = {
    voters: idsFrom(reader),
    outgoing: idsFrom(reader),
    learners: idsFrom(reader),
    learnersNext: idsFrom(reader),
    retired: idsFrom(reader),
  }
  if (reader.remaining === 0) return configuration
  throw new QuireError('QUIRE_BAD_FRAME', 'malformed configuration: more than its lists', {
    facts: { left: reader.remaining },
  })
}

function idsFrom(reader: ByteReader): NodeId[] {
  const ids: NodeId[] = []
  for (let left = reader.u32(); left > 0; left--) ids.push(reader.utf8(idBytesMax))
  return ids
}
