// What a round of the kill trial writes, and the judgement of what is there afterwards.
//
// Two loads at once: one through the public ledger API, whose acknowledgement stands for an ack
// quorum, and one to each bookie alone, past the client, whose acknowledgement is that bookie's own
// word.
import { randomBytes } from 'node:crypto'
import { connect, type Client, type LedgerWriter } from '../../src/index.ts'
import type { Cluster } from '../support/processes.ts'
import { quiet } from '../support/quiet.ts'
import { createTestBookieClient, type TestBookieClient } from '../support/raw-bookie.ts'

const inFlight = 32
const lanes = 8

/** What one bookie acknowledged itself, of the ledger `aloneId`. */
export interface Alone {
  readonly listen: string
  readonly acked: Map<number, Buffer>
}

/** What was acknowledged: all that a check needs, also rounds later. */
export interface Claims {
  readonly ledgerId: bigint
  readonly aloneId: bigint
  readonly acked: Map<number, Buffer>
  /** Everything sent, acknowledged or not: what is there must be one of these. */
  readonly sent: Buffer[]
  readonly alone: readonly Alone[]
}

export interface Load {
  readonly claims: Claims
  /** Errors of appends, the outcome of which is unknown or "no". */
  readonly failures: unknown[]
  /** Entry ids that were acknowledged twice. */
  readonly twice: number[]
  stop(): void
  /** Resolves when every append and add has ended, one way or the other. */
  readonly ended: Promise<unknown>
}

export async function startLoad(client: Client, cluster: Cluster): Promise<Load> {
  const ensembleSize = cluster.processes.length
  const writer = await client.ledgers.create({ ensembleSize })
  // Never written through the client: its entries are those of the lanes below.
  const alone = await client.ledgers.create({ ensembleSize })
  await alone.close()
  const claims: Claims = {
    ledgerId: writer.ledgerId,
    aloneId: alone.ledgerId,
    acked: new Map(),
    sent: [],
    alone: cluster.listens.map((listen) => ({ listen, acked: new Map() })),
  }
  const running: Running = { claims, writer, failures: [], twice: [], stopped: false }
  const loops = [
    ...Array.from({ length: inFlight }, () => appendLoop(running)),
    ...claims.alone.map((one) => aloneLoop(running, one)),
  ]
  const stop = (): void => {
    running.stopped = true
  }
  const { failures, twice } = running
  return { claims, failures, twice, stop, ended: Promise.all(loops) }
}

interface Running {
  readonly claims: Claims
  readonly writer: LedgerWriter
  readonly failures: unknown[]
  readonly twice: number[]
  stopped: boolean
}

async function appendLoop(running: Running): Promise<void> {
  const { claims, writer, failures, twice } = running
  while (!running.stopped) {
    const payload = randomBytes(200 + (claims.sent.length % 1500))
    claims.sent.push(payload)
    try {
      const entryId = await writer.append(payload)
      if (claims.acked.has(entryId)) twice.push(entryId)
      claims.acked.set(entryId, payload)
    } catch (error) {
      failures.push(error)
      return
    }
  }
}

async function aloneLoop(running: Running, { listen, acked }: Alone): Promise<void> {
  const bookie = await createTestBookieClient(listen)
  const ledgerId = running.claims.aloneId
  const lane = async (first: number): Promise<void> => {
    for (let entryId = first; !running.stopped; entryId += lanes) {
      const payload = randomBytes(300 + (entryId % 700))
      if (!(await isAcknowledged(bookie, { ledgerId, entryId, payload }))) return
      acked.set(entryId, payload)
    }
  }
  await Promise.all(Array.from({ length: lanes }, (_, first) => lane(first)))
  bookie.close()
}

async function isAcknowledged(
  bookie: TestBookieClient,
  entry: { ledgerId: bigint; entryId: number; payload: Buffer },
): Promise<boolean> {
  try {
    return (await bookie.add(entry)) === 0
  } catch {
    return false // The connection ended with the process.
  }
}

export interface Verdict {
  lost: number
  differing: number
}

/** Reads everything that was claimed: through the client, and from each bookie alone. */
export async function verify(uri: string, claims: Claims): Promise<Verdict> {
  const verdict = { lost: 0, differing: 0 }
  await using client = await connect(uri, { logger: quiet })
  await using reader = await client.ledgers.recover(claims.ledgerId)
  const held = new Map<number, Buffer>()
  const sent = new Set(claims.sent.map((payload) => payload.toString('latin1')))
  for await (const { entryId, payload } of reader.read()) {
    if (entryId !== held.size) verdict.differing++ // Ids are dense.
    if (!sent.has(payload.toString('latin1'))) verdict.differing++
    held.set(entryId, Buffer.from(payload))
  }
  if (held.size !== reader.lastAddConfirmed + 1) verdict.differing++
  compare(claims.acked, held, verdict)
  for (const one of claims.alone) {
    compare(one.acked, await heldAlone(one, claims.aloneId), verdict)
  }
  return verdict
}

async function heldAlone({ listen, acked }: Alone, ledgerId: bigint): Promise<Map<number, Buffer>> {
  const bookie = await createTestBookieClient(listen)
  const held = new Map<number, Buffer>()
  const ask = async (entryId: number): Promise<void> => {
    const payload = await bookie.read({ ledgerId, entryId })
    if (payload) held.set(entryId, payload)
  }
  const ids = [...acked.keys()]
  for (let at = 0; at < ids.length; at += 64) {
    await Promise.all(ids.slice(at, at + 64).map(ask))
  }
  bookie.close()
  return held
}

function compare(
  acked: ReadonlyMap<number, Buffer>,
  held: ReadonlyMap<number, Buffer>,
  verdict: Verdict,
): void {
  for (const [entryId, payload] of acked) {
    const found = held.get(entryId)
    if (!found) verdict.lost++
    else if (!found.equals(payload)) verdict.differing++
  }
}

/** Removes what was written, so that the disk does not grow with the rounds. */
export async function forget(uri: string, claims: Claims): Promise<void> {
  await using client = await connect(uri, { logger: quiet })
  await client.ledgers.delete(claims.ledgerId)
  await client.ledgers.delete(claims.aloneId)
}
