// Which bookie this is: what the disk says, what the metadata knows, and that both agree before
// anything is served.
import type { BookieIdentity, KnownIdentity } from '../../bookie/index.ts'
import { QuireError } from '../../errors.ts'
import type { Io } from '../../io/index.ts'
import { claimIncarnation, readIncarnation } from '../../metadata/incarnations.ts'
import type { MetadataSession } from '../../metadata/contract.ts'
import { cookieDifference, encodeDirectories, type Cookie } from '../../wire/cookie.ts'
import { instanceIdInCookie } from '../managers.ts'
import type { NodeSettings } from '../options.ts'
import { readIdentity, writeIdentity, type NodeIdentity } from './identity-file.ts'
import type { NodeMetadata } from './metadata.ts'

export interface IdentityParts {
  readonly io: Pick<Io, 'files'>
  readonly directory: string
  /** For a new bookie that nobody named. */
  readonly newId: () => string
  readonly metadata: Pick<NodeMetadata, 'managers' | 'instanceId' | 'session'>
  /** Under which it belongs to a group, or is asked for. Disks of another one are refused. */
  readonly bookieId?: string | undefined
}

export class Identity {
  readonly #parts: IdentityParts
  readonly #session: MetadataSession
  readonly #root: string

  constructor(parts: IdentityParts) {
    this.#parts = parts
    this.#session = parts.metadata.session
    this.#root = parts.metadata.managers.root
  }

  /** What the metadata says of the bookie whose disk this is, or of the new one that it becomes. */
  async check(onDisk: BookieIdentity | undefined): Promise<KnownIdentity> {
    const { io, directory, metadata } = this.#parts
    const clusterId = metadata.instanceId
    const named = await readIdentity(io.files, directory)
    const bookieId = this.#choose(named?.bookieId ?? onDisk?.bookieId)
    if (named !== undefined && named.clusterId !== clusterId) throw this.#otherCluster(named)
    // A journal of another cluster is refused: this directory may just not be the mounted one.
    const isForeign = onDisk !== undefined && onDisk.clusterId !== clusterId
    if (named === undefined && !isForeign)
      await writeIdentity(io.files, directory, { bookieId, clusterId })
    const incarnation = await readIncarnation(this.#session, bookieId, { root: this.#root })
    const cookie = await metadata.managers.cookies.read(bookieId)
    const isKnown = incarnation !== undefined || cookie !== undefined
    return { clusterId, bookieId, isKnown, incarnation: incarnation ?? 0 }
  }

  /** Records this start in the metadata; only then may it serve. */
  async settle(identity: BookieIdentity, settings: NodeSettings): Promise<void> {
    const { bookieId, incarnation } = identity
    await claimIncarnation(this.#session, { bookieId, incarnation }, { root: this.#root })
    const { managers, instanceId } = this.#parts.metadata
    const { cookies } = managers
    const cookie: Cookie = {
      bookieId,
      journalDirectories: settings.journal,
      ledgerDirectories: encodeDirectories(settings.ledgers),
      instanceId: instanceIdInCookie(instanceId),
      indexDirectories: undefined,
    }
    const found = await cookies.read(bookieId)
    if (found === undefined) await cookies.create(bookieId, cookie)
    // The disks carry the identity themselves, so they may be mounted elsewhere: the cookie
    // follows.
    else if (cookieDifference(found.value, cookie) !== undefined) {
      await cookies.write(bookieId, { value: cookie, version: found.version })
    }
  }

  /** An identity is for good: what the disks say counts, or nothing starts. */
  #choose(onDisk: string | undefined): string {
    const { bookieId: wanted, newId, directory } = this.#parts
    if (onDisk === undefined || wanted === undefined) return onDisk ?? wanted ?? newId()
    if (wanted === onDisk) return onDisk
    throw new QuireError(
      'QUIRE_IDENTITY_MISMATCH',
      `the disks of ${directory} are those of bookie ${onDisk}, not of ${wanted}: mount the ` +
        'disks that belong together, or name the bookie that they are of',
      { facts: { path: directory, bookieId: onDisk } },
    )
  }

  #otherCluster(named: NodeIdentity): QuireError {
    const { directory, metadata } = this.#parts
    return new QuireError(
      'QUIRE_IDENTITY_MISMATCH',
      `${directory} belongs to bookie ${named.bookieId} of cluster ${named.clusterId}, ` +
        `and the metadata is that of cluster ${metadata.instanceId}: check --metadata, or ` +
        'whether the metadata directory was lost',
      { facts: { path: directory, ...named } },
    )
  }
}
