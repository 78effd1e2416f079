// Which bookie this is: what the disk says, what the metadata knows, and that both agree before
// anything is served.
import type { BookieIdentity, KnownIdentity } from '../../bookie/index.ts'
import { QuireError } from '../../errors.ts'
import type { Io } from '../../io/index.ts'
import { claimIncarnation, readIncarnation } from '../../metadata/incarnations.ts'
import type { MetadataSession } from '../../metadata/contract.ts'
import { cookieDifference, encodeDirectories, type Cookie } from '../../wire/cookie.ts'
import type { NodeSettings } from '../options.ts'
import { readIdentity, writeIdentity, type NodeIdentity } from './identity-file.ts'
import type { NodeMetadata } from './metadata.ts'

export interface IdentityParts {
  readonly io: Pick<Io, 'files' | 'random'>
  readonly directory: string
  readonly metadata: Pick<NodeMetadata, 'managers' | 'instanceId' | 'session'>
  /** Under which it belongs to a group. Otherwise what the disk says, or a new one. */
  readonly bookieId?: string | undefined
}

export class Identity {
  readonly #io: IdentityParts['io']
  readonly #directory: string
  readonly #metadata: IdentityParts['metadata']
  readonly #session: MetadataSession
  readonly #wanted: string | undefined

  constructor({ io, directory, metadata, bookieId }: IdentityParts) {
    this.#wanted = bookieId
    this.#io = io
    this.#directory = directory
    this.#metadata = metadata
    this.#session = metadata.session
  }

  /** What the metadata says of the bookie whose disk this is, or of the new one that it becomes. */
  async check(onDisk: BookieIdentity | undefined): Promise<KnownIdentity> {
    const clusterId = this.#metadata.instanceId
    const named = await readIdentity(this.#io.files, this.#directory)
    const known = named?.bookieId ?? onDisk?.bookieId
    const bookieId = known ?? this.#wanted ?? this.#newId()
    if (named !== undefined && named.clusterId !== clusterId) throw this.#otherCluster(named)
    if (this.#wanted !== undefined && bookieId !== this.#wanted) throw this.#otherNode(bookieId)
    // A journal of another cluster is refused: this directory may just not be the mounted one.
    const isForeign = onDisk !== undefined && onDisk.clusterId !== clusterId
    if (named === undefined && !isForeign)
      await writeIdentity(this.#io.files, this.#directory, { bookieId, clusterId })
    const incarnation = await readIncarnation(this.#session, bookieId)
    const cookie = await this.#metadata.managers.cookies.read(bookieId)
    const isKnown = incarnation !== undefined || cookie !== undefined
    return { clusterId, bookieId, isKnown, incarnation: incarnation ?? 0 }
  }

  /** Records this start in the metadata; only then may it serve. */
  async settle(identity: BookieIdentity, settings: NodeSettings): Promise<void> {
    const { bookieId, incarnation } = identity
    await claimIncarnation(this.#session, { bookieId, incarnation })
    const { cookies } = this.#metadata.managers
    const cookie: Cookie = {
      bookieId,
      journalDirectories: settings.journal,
      ledgerDirectories: encodeDirectories(settings.ledgers),
      instanceId: this.#metadata.instanceId,
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

  #newId(): string {
    return `quire-${this.#io.random.bytes(8).toString('hex')}`
  }

  #otherNode(bookieId: string): QuireError {
    return new QuireError(
      'QUIRE_IDENTITY_MISMATCH',
      `the disks of ${this.#directory} are those of bookie ${bookieId}, and its metadata is ` +
        `that of node ${this.#wanted}: mount the disks that belong together`,
      { facts: { path: this.#directory, bookieId } },
    )
  }

  #otherCluster(named: NodeIdentity): QuireError {
    return new QuireError(
      'QUIRE_IDENTITY_MISMATCH',
      `${this.#directory} belongs to bookie ${named.bookieId} of cluster ${named.clusterId}, ` +
        `and the metadata is that of cluster ${this.#metadata.instanceId}: check --metadata, or ` +
        'whether the metadata directory was lost',
      { facts: { path: this.#directory, ...named } },
    )
  }
}
