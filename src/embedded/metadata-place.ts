// Where metadata is, as a URI says it: at nodes of Quire, or in a ZooKeeper as BookKeeper's own
// URIs name it (metadata 1.1).
import { QuireError } from '../errors.ts'
import type { Address, Io, Logger } from '../io/index.ts'
import { connectMetadata } from '../metadata/client/index.ts'
import type { ClusterOptions } from '../metadata/cluster.ts'
import type { MetadataStore } from '../metadata/contract.ts'
import { pathProblem } from '../metadata/tree/path.ts'
import { connectZooKeeper } from '../metadata/zookeeper/store.ts'
import { parseAddress } from './address.ts'

export interface MetadataPlace {
  readonly type: 'quire' | 'zookeeper'
  /** Servers of one cluster, any of which will do. */
  readonly addresses: readonly Address[]
  /** `layout` is undefined when the URI names none: the one that is there counts. */
  readonly cluster: Pick<ClusterOptions, 'root' | 'layout'>
}

/** QUIRE_BAD_OPTION for what names neither; QUIRE_UNSUPPORTED for a layout that we cannot read. */
export function parseMetadataUri(uri: string): MetadataPlace {
  return /^zk(?:\+|:)/i.test(uri) ? parseZooKeeperUri(uri) : parseQuireUri(uri)
}

/** Nodes of Quire at the addresses. */
export function quirePlace(addresses: readonly Address[]): MetadataPlace {
  return { type: 'quire', addresses, cluster: {} }
}

/** Opens nothing yet. `instanceId`: the cluster of nodes of Quire that is meant. Default: any. */
export function connectPlace(
  { type, addresses }: MetadataPlace,
  parts: { io: Io; logger: Logger; timeoutMs: number; instanceId?: string | undefined },
): MetadataStore {
  const { io, instanceId, ...rest } = parts
  const options = { ...io, ...rest, addresses }
  return type === 'quire' ? connectMetadata({ ...options, instanceId }) : connectZooKeeper(options)
}

function parseQuireUri(uri: string): MetadataPlace {
  const match = /^quire:\/\/([^/?#]+)\/?$/.exec(uri)
  if (!match?.[1]) {
    const what =
      'write quire://HOST:PORT with several nodes separated by commas, or ' +
      'zk+hierarchical://HOST:PORT/ledgers for a ZooKeeper'
    throw badUri({ uri, what })
  }
  return quirePlace(match[1].split(/[,;]/).map(parseAddress))
}

const layouts = {
  hierarchical: 'hierarchical',
  longhierarchical: 'longhierarchical',
  flat: 'flat',
  null: undefined,
} as const

const zooKeeperPort = 2181

function parseZooKeeperUri(uri: string): MetadataPlace {
  const match = /^zk(?:\+([^:/?#]*))?:\/\/([^/?#]*)(\/[^?#]*)?$/i.exec(uri)
  const [, scheme = 'null', authority = '', root = ''] = match ?? []
  if (!match || authority === '')
    throw badUri({ uri, what: 'write zk+hierarchical://HOST:PORT/ledgers' })
  // BookKeeper looks at the first manager that is named, and at no other.
  const manager = scheme.toLowerCase().split('+')[0] ?? ''
  if (manager === 'ms') {
    throw new QuireError('QUIRE_UNSUPPORTED', `"${uri}": ledgers of a MetaStore cannot be read`)
  }
  if (!isManager(manager)) {
    throw badUri({ uri, what: `${manager} is none of ${Object.keys(layouts).join(', ')}` })
  }
  if (root === '' || root === '/' || pathProblem(root) !== undefined) {
    throw badUri({ uri, what: 'it must end with the path of the cluster, for example /ledgers' })
  }
  const addresses = authority.split(/[,;]/).map(zooKeeperAddress)
  return { type: 'zookeeper', addresses, cluster: { root, layout: layouts[manager] } }
}

const isManager = (name: string): name is keyof typeof layouts => Object.hasOwn(layouts, name)

function zooKeeperAddress(text: string): Address {
  const hasPort = /:\d+$/.test(text) && !/^[^[].*:.*:/.test(text)
  return parseAddress(hasPort ? text : `${text}:${zooKeeperPort}`)
}

function badUri({ uri, what }: { uri: string; what: string }): QuireError {
  return new QuireError('QUIRE_BAD_OPTION', `"${uri}" does not name metadata: ${what}`, {
    facts: { option: 'metadata' },
  })
}
