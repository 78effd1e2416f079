// npm run bench -- append|read [--bookies 3] [--size 1024] [--in-flight 1,64,256,1024] [--seconds
// 8] [--json]
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
import { fromDist, startCluster, type Cluster } from '../test/support/processes.ts'
import { runAppend } from './append.ts'
import { fsyncsOfBookie, type LevelFigures, type LevelOptions, type Meter } from './figures.ts'
import { runRead } from './read.ts'

const modes: Record<string, (cluster: Cluster, level: LevelOptions) => Promise<Meter>> = {
  append: runAppend,
  read: runRead,
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    bookies: { type: 'string', default: '3' },
    size: { type: 'string', default: '1024' },
    'in-flight': { type: 'string', default: '1,64,256,1024' },
    seconds: { type: 'string', default: '8' },
    dir: { type: 'string', default: tmpdir() },
    json: { type: 'boolean', default: false },
  },
})

async function main(): Promise<number> {
  const mode = positionals[0] ?? 'append'
  const run = modes[mode]
  if (!run) {
    process.stderr.write(`bench: unknown mode ${mode}: ${Object.keys(modes).join(', ')}\n`)
    return 2
  }
  const rows: (LevelFigures & { mode: string })[] = []
  for (const inFlight of values['in-flight'].split(',').map(Number)) {
    const figures = await oneLevel(run, inFlight)
    rows.push({ mode, ...figures })
    if (values.json) console.log(JSON.stringify({ system: 'quire', mode, ...figures }))
    else process.stderr.write(`${mode} at ${inFlight} in flight: ${figures.ackedPerSecond}/s\n`)
  }
  if (!values.json) printTable(rows)
  return 0
}

/** A cluster of its own for each level: no level inherits the other's files. */
async function oneLevel(
  run: (cluster: Cluster, level: LevelOptions) => Promise<Meter>,
  inFlight: number,
): Promise<LevelFigures> {
  const directory = mkdtempSync(join(values.dir, 'quire-bench-'))
  const bookies = Number(values.bookies)
  const cluster = await startCluster(directory, bookies, { program: fromDist })
  try {
    const level = {
      inFlight,
      size: Number(values.size),
      seconds: Number(values.seconds),
      warmUpMs: 2000,
    }
    const meter = await run(cluster, level)
    await cluster.stop()
    return meter.figures(bookies, fsyncsOfBookie(cluster))
  } finally {
    await cluster.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

function printTable(rows: readonly (LevelFigures & { mode: string })[]): void {
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
