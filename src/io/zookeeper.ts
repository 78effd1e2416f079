// Connections to the servers of a ZooKeeper, one at a time: each carries one session on, or begins
// one. Nothing here tries again, waits, or decides what an answer means: that is the driver's
// (src/metadata/zookeeper).

import type { QuireError } from '../errors.ts'
import type { Address } from './network.ts'

/** ZooKeeper's stat as it is on the wire. */
export interface ZooKeeperStat {
  readonly czxid: bigint
  readonly mzxid: bigint
  readonly pzxid: bigint
  readonly ctimeMs: bigint
  readonly mtimeMs: bigint
  readonly version: number
  readonly cversion: number
  readonly aversion: number
  readonly ephemeralOwner: bigint
  readonly dataLength: number
  readonly childCount: number
}

export type ZooKeeperOperation =
  | {
      readonly type: 'create'
      readonly path: string
      readonly data: Buffer
      /** 1: ephemeral, 2: sequential, 3: both. */
      readonly flags: number
    }
  | {
      readonly type: 'set'
      readonly path: string
      readonly data: Buffer
      readonly version: number
    }
  | { readonly type: 'delete'; readonly path: string; readonly version: number }
  | { readonly type: 'check'; readonly path: string; readonly version: number }

export type ZooKeeperRequest =
  | Exclude<ZooKeeperOperation, { type: 'check' }>
  | {
      readonly type: 'get' | 'exists' | 'children'
      readonly path: string
      readonly watch: boolean
    }
  /** What is asked behind it on this connection shows all that was committed before it. */
  | { readonly type: 'sync'; readonly path: string }
  | { readonly type: 'multi'; readonly operations: readonly ZooKeeperOperation[] }
  /** Lays watches again: what changed after `zxid` is told at once. */
  | {
      readonly type: 'setWatches'
      readonly zxid: bigint
      readonly data: readonly string[]
      readonly exist: readonly string[]
      readonly children: readonly string[]
    }
  | { readonly type: 'ping' }
  | { readonly type: 'closeSession' }

export type ZooKeeperResult =
  | { readonly type: 'create'; readonly path: string; readonly stat: ZooKeeperStat }
  | { readonly type: 'get'; readonly data: Buffer; readonly stat: ZooKeeperStat }
  | { readonly type: 'exists'; readonly stat: ZooKeeperStat }
  | { readonly type: 'set'; readonly stat: ZooKeeperStat }
  | { readonly type: 'children'; readonly names: readonly string[]; readonly stat: ZooKeeperStat }
  | { readonly type: 'multi'; readonly results: readonly ZooKeeperMultiResult[] }
  | { readonly type: 'delete' }
  | { readonly type: 'sync' | 'setWatches' | 'ping' | 'closeSession' }

export type ZooKeeperMultiResult =
  | Extract<ZooKeeperResult, { type: 'create' }>
  | { readonly type: 'set'; readonly stat: ZooKeeperStat }
  | { readonly type: 'delete' | 'check' }
  /** 0 for an operation that would have been done, had the others not failed. */
  | { readonly type: 'error'; readonly error: number }

export interface ZooKeeperAnswer {
  /** The newest change that the server had seen; 0 when it does not say. */
  readonly zxid: bigint
  /** ZooKeeper's number, whether or not anybody knows it; 0 is success. */
  readonly error: number
  /** Of the kind that was asked for; undefined with an error. */
  readonly result: ZooKeeperResult | undefined
}

export interface ZooKeeperEvent {
  readonly type: 'created' | 'deleted' | 'changed' | 'children'
  readonly path: string
}

export interface ZooKeeperGreeting {
  readonly sessionId: bigint
  readonly password: Buffer
  /** As the server grants it. */
  readonly timeoutMs: number
}

export interface ZooKeeperDial {
  readonly address: Address
  /** The session's time-out that is asked for. */
  readonly timeoutMs: number
  /** 0 begins a session, another number carries that one on. */
  readonly sessionId: bigint
  readonly password: Buffer
  /** A server that is behind this refuses. */
  readonly lastZxid: bigint
}

/** Told what comes, in its order, and never within `connect` itself. */
export interface ZooKeeperHandler {
  /** Once, before everything else. */
  opened(greeting: ZooKeeperGreeting): void
  /** In its place: the session that was to go on is gone. */
  expired(): void
  event(event: ZooKeeperEvent): void
  /** Once, unless the owner ended it: nothing more comes, answers neither. */
  closed(error: QuireError): void
}

export interface ZooKeeperConnection {
  /** Only between `opened` and the end. Answers come in the order of requests. */
  send(request: ZooKeeperRequest, answered: (answer: ZooKeeperAnswer) => void): void
  /** Ends at once; the handler hears nothing more. */
  destroy(): void
}

export interface ZooKeepers {
  /** Dials at once. The first call loads what is needed: QUIRE_UNSUPPORTED when it cannot be. */
  connect(dial: ZooKeeperDial, handler: ZooKeeperHandler): ZooKeeperConnection
}
