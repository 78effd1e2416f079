// npm run bench -- append|read [--bookies 3] [--size 1024] [--in-flight 1,64,256,1024] [--seconds
// 8] [--json]
// npm run bench -- metadata [--nodes 3] [--peer etcd] [--in-flight 1,64,256] [--beside]
//
// Measures the product: bookies are `quire start` as shipped, each in a process of its own, with
// nothing configured but directories and addresses; the client is the public ledger API, the
// promise of every append awaited, payloads all different. A figure means something only beside
// another of the same minute: see docs/measurements.md.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import { fromDist, startCluster, startGroup, type Cluster } from '../test/support/processes.ts'
import { runAppend } from './append.ts'
import { runEtcd, startEtcd, syncsOfEtcd } from './etcd.ts'
import { fsyncsOfBookie, type LevelFigures, type LevelOptions, type Meter } from './figures.ts'
import { runAppendsBeside, runMetadata } from './metadata.ts'
import { runRead } from './read.ts'

type Figures = LevelFigures & { readonly system: string; readonly mode: string }

/** A cluster of its own for each level, in this directory: no level inherits another's files. */
type Mode = (directory: string, level: LevelOptions) => Promise<Omit<Figures, 'mode'>>

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    bookies: { type: 'string', default: '3' },
    nodes: { type: 'string', default: '3' },
    /** `etcd`: the same work on it. */
    peer: { type: 'string', default: 'quire' },
    /** Bytes of an entry, or of a value. */
    size: { type: 'string' },
    'in-flight': { type: 'string' },
    /** Measures appends to a log while the metadata is written. */
    beside: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '8' },
    dir: { type: 'string', default: tmpdir() },
    json: { type: 'boolean', default: false },
  },
})

const ofBookies =
  (run: (cluster: Cluster, level: LevelOptions) => Promise<Meter>): Mode =>
  async (directory, level) => {
    const bookies = Number(values.bookies)
    const cluster = await startCluster(directory, bookies, { program: fromDist })
    try {
      const meter = await run(cluster, level)
      await cluster.stop()
      return { system: 'quire', ...meter.figures(bookies, fsyncsOfBookie(cluster)) }
    } finally {
      await cluster.stop()
    }
  }

async function ofGroup(directory: string, level: LevelOptions): Promise<Omit<Figures, 'mode'>> {
  const nodes = Number(values.nodes)
  const group = await startGroup(directory, nodes, { program: fromDist })
  try {
    const measuring = runMetadata(group, level)
    const appends = values.beside ? await runAppendsBeside(group, measuring) : undefined
    const meter = await measuring
    await group.stop()
    const figures = meter.figures(nodes, fsyncsOfBookie(group))
    return { system: 'quire', ...figures, ...(appends && { appends: appends.figures }) }
  } finally {
    await group.stop()
  }
}

async function ofEtcd(directory: string, level: LevelOptions): Promise<Omit<Figures, 'mode'>> {
  const nodes = Number(values.nodes)
  const etcd = await startEtcd(directory, nodes)
  try {
    const meter = await runEtcd(etcd, level)
    return { system: 'etcd', ...meter.figures(nodes, await syncsOfEtcd(etcd)) }
  } finally {
    await etcd.stop()
  }
}

const modes: Record<string, Mode> = {
  append: ofBookies(runAppend),
  read: ofBookies(runRead),
  metadata: values.peer === 'etcd' ? ofEtcd : ofGroup,
}

async function main(): Promise<number> {
  const mode = positionals[0] ?? 'append'
  const run = modes[mode]
  if (!run || !['quire', 'etcd'].includes(values.peer)) {
    process.stderr.write(
      `bench: the modes are ${Object.keys(modes).join(', ')}; the peer is etcd\n`,
    )
    return 2
  }
  const isMetadata = mode === 'metadata'
  const levels = values['in-flight'] ?? (isMetadata ? '1,64,256' : '1,64,256,1024')
  const size = Number(values.size ?? (isMetadata ? 256 : 1024))
  const rows: Figures[] = []
  for (const inFlight of levels.split(',').map(Number)) {
    const level = { inFlight, size, seconds: Number(values.seconds), warmUpMs: 2000 }
    const { system, ...figures } = await oneLevel(run, level)
    rows.push({ system, mode, ...figures })
    if (values.json) console.log(JSON.stringify({ system, mode, ...figures }))
    else process.stderr.write(`${mode} at ${inFlight} in flight: ${figures.ackedPerSecond}/s\n`)
  }
  if (!values.json) printTable(rows)
  return 0
}

async function oneLevel(run: Mode, level: LevelOptions): Promise<Omit<Figures, 'mode'>> {
  const directory = mkdtempSync(join(values.dir, 'quire-bench-'))
  try {
    return await run(directory, level)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function printTable(rows: readonly Figures[]): void {
  const table = new Table({
    head: [
      'in flight',
      'entries/s',
      'p50 ms',
      'p99 ms',
      'max ms',
      'fsyncs/s',
      'client µs',
      'bookie µs',
    ],
    style: { head: [], border: [] },
    colAligns: Array.from({ length: 8 }, () => 'right' as const),
  })
  for (const row of rows) {
    table.push([
      row.inFlight,
      row.ackedPerSecond,
      row.p50Ms,
      row.p99Ms,
      row.maxMs,
      row.fsyncsPerSecond,
      row.clientCpuUsPerEntry,
      row.bookieCpuUsPerEntry,
    ])
  }
  console.log(table.toString())
}

process.exitCode = await main()
