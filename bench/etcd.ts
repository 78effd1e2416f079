// Three members of etcd, as Debian packages it, with its defaults, and a client that speaks gRPC to
// their leader over one connection.
import { spawn, type ChildProcess } from 'node:child_process'
import { connect as connectHttp2, constants, type ClientHttp2Session } from 'node:http2'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { asUsersDo } from '../test/support/processes.ts'
import { Meter, type LevelOptions } from './figures.ts'
import { runWrites } from './metadata.ts'

export interface Etcd {
  readonly processes: readonly { readonly pid: number }[]
  readonly clientUrls: readonly string[]
  stop(): Promise<void>
}

export async function startEtcd(directory: string, count: number): Promise<Etcd> {
  const network = `127.${129 + ((process.pid >> 8) & 63)}.${process.pid & 255}`
  const hosts = Array.from({ length: count }, (_, index) => `${network}.${index + 1}`)
  const cluster = hosts.map((host, index) => `m${index}=http://${host}:2380`).join(',')
  const children = hosts.map((host, index) => startMember({ directory, host, index, cluster }))
  const clientUrls = hosts.map((host) => `http://${host}:2379`)
  await Promise.all(clientUrls.map(isHealthy))
  const stop = async (): Promise<void> => {
    await Promise.all(children.map(end))
  }
  return { processes: children.map(({ pid }) => ({ pid: pid ?? 0 })), clientUrls, stop }
}

interface MemberOptions {
  readonly directory: string
  readonly host: string
  readonly index: number
  readonly cluster: string
}

function startMember({ directory, host, index, cluster }: MemberOptions): ChildProcess {
  const [client, peer] = [`http://${host}:2379`, `http://${host}:2380`]
  const options = {
    name: `m${index}`,
    'data-dir': join(directory, `etcd-${index}`),
    'listen-client-urls': client,
    'advertise-client-urls': client,
    'listen-peer-urls': peer,
    'initial-advertise-peer-urls': peer,
    'initial-cluster': cluster,
    'log-level': 'error',
  }
  const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`)
  const [command = '', ...words] = [...asUsersDo, 'etcd', ...args]
  return spawn(command, words, { stdio: 'ignore' })
}

function end(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) {
      resolve()
      return
    }
    child.once('exit', () => resolve())
    child.kill('SIGTERM')
  })
}

async function isHealthy(url: string): Promise<void> {
  for (let attempts = 1; attempts <= 300; attempts++) {
    const answer = await fetch(`${url}/health`).catch(() => undefined)
    if (answer?.ok === true) return
    await sleep(100)
  }
  throw new Error(`etcd at ${url} does not become healthy: is etcd-server installed?`)
}

/** Its own count of the syncs of its log and of its tree, over all members, for one of them. */
export async function syncsOfEtcd({ clientUrls }: Etcd): Promise<number> {
  const counters = [
    'etcd_disk_wal_fsync_duration_seconds_count',
    'etcd_disk_backend_commit_duration_seconds_count',
  ]
  let total = 0
  for (const url of clientUrls) {
    const text = await (await fetch(`${url}/metrics`)).text()
    for (const name of counters) {
      const line = text.split('\n').find((each) => each.startsWith(`${name} `))
      if (line === undefined) throw new Error(`${url} does not tell ${name}`)
      total += Number(line.split(' ')[1])
    }
  }
  return total / clientUrls.length
}

export async function runEtcd(etcd: Etcd, level: LevelOptions): Promise<Meter> {
  const session = connectHttp2(await leaderOf(etcd))
  try {
    const meter = new Meter(etcd, level)
    const write = (number: number, value: Uint8Array): Promise<void> =>
      put(session, Buffer.from(`bench/${number}`), value)
    await runWrites(write, meter, level)
    return meter
  } finally {
    session.close()
  }
}

/** The member that leads: nobody has to pass its writes on. */
async function leaderOf({ clientUrls }: Etcd): Promise<string> {
  for (const url of clientUrls) {
    const answer = await fetch(`${url}/v3/maintenance/status`, { method: 'POST', body: '{}' })
    const status = (await answer.json()) as { leader: string; header: { member_id: string } }
    if (status.leader === status.header.member_id) return url
  }
  throw new Error('no member of etcd leads')
}

const headers = {
  [constants.HTTP2_HEADER_METHOD]: 'POST',
  [constants.HTTP2_HEADER_PATH]: '/etcdserverpb.KV/Put',
  'content-type': 'application/grpc',
  te: 'trailers',
}

/** One call of gRPC: a message behind its length, and a status in the trailers. */
function put(session: ClientHttp2Session, key: Uint8Array, value: Uint8Array): Promise<void> {
  const stream = session.request(headers)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  stream.on('trailers', (trailers) => {
    if (trailers['grpc-status'] === '0') resolve()
    else reject(new Error(`etcd: ${String(trailers['grpc-message'])}`))
  })
  stream.on('error', reject)
  stream.resume()
  stream.end(grpcMessage(Buffer.concat([field(1, key), field(2, value)])))
  return promise
}

function grpcMessage(body: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(body.length, 1)
  return Buffer.concat([head, body])
}

/** A bytes field of protobuf. */
function field(number: number, bytes: Uint8Array): Buffer {
  const length: number[] = []
  for (let left = bytes.length; ; left >>= 7) {
    length.push(left > 127 ? (left & 127) | 128 : left)
    if (left <= 127) break
  }
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), bytes])
}
