// DIR/IDENTITY: which bookie lives here. The journal may be on another disk; when that one comes up
// empty, this file still says under which identity it must not answer.
import { QuireError } from '../../errors.ts'
import type { Files } from '../../io/index.ts'

export interface NodeIdentity {
  readonly bookieId: string
  readonly clusterId: string
}

const bytesMax = 4096

export async function readIdentity(
  files: Files,
  directory: string,
): Promise<NodeIdentity | undefined> {
  const path = `${directory}/IDENTITY`
  if ((await files.facts(path)) === undefined) return undefined
  const file = await files.open(path, 'read')
  try {
    const bytes = Buffer.alloc(bytesMax)
    const count = await file.read(bytes, 0)
    return parse({ text: bytes.toString('utf8', 0, count), path })
  } finally {
    await file.close()
  }
}

/** Durable on return. */
export async function writeIdentity(
  files: Files,
  directory: string,
  identity: NodeIdentity,
): Promise<void> {
  const path = `${directory}/IDENTITY`
  await files.remove(`${path}.new`)
  const file = await files.open(`${path}.new`, 'create')
  try {
    await file.write(Buffer.from(`${JSON.stringify({ format: 'quire-node-1', ...identity })}\n`), 0)
    await file.sync()
  } finally {
    await file.close()
  }
  await files.rename(`${path}.new`, path)
  await files.syncDirectory(directory)
}

function parse({ text, path }: { text: string; path: string }): NodeIdentity {
  const refuse = (cause?: unknown): never => {
    throw new QuireError(
      'QUIRE_IDENTITY_MISMATCH',
      `${path} cannot be read: restore it from a copy`,
      {
        cause,
        facts: { path },
      },
    )
  }
  try {
    const found: unknown = JSON.parse(text)
    if (typeof found !== 'object' || found === null) return refuse()
    const { format, bookieId, clusterId } = { format: '', bookieId: '', clusterId: '', ...found }
    if (format !== 'quire-node-1' || bookieId === '' || clusterId === '') return refuse()
    return { bookieId, clusterId }
  } catch (error) {
    return refuse(error)
  }
}
