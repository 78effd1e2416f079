// I11 and I9 without waiting for luck (semantics G5): when a bookie has just acknowledged something,
// its disk is cloned, the power of the clone fails, and the real start-up runs on what is left, in a
// little world of its own: what was acknowledged must be there. Draws from a source of its own and
// is looked at after the run, which it does not change.

import { createBookie, openBookieStore } from '../../src/bookie/index.ts'
import { decodeSuperblock } from '../../src/bookie/identity/superblock-codec.ts'
import { messageOf } from '../../src/errors.ts'
import {
  afterPowerLoss,
  createSimulatedIo,
  World,
  type CrashMode,
  type Disk,
} from '../../src/simulation/index.ts'
import type { Report } from '../../src/simulation/report.ts'
import type { BookieEntry, Held } from './checkers/bookies.ts'
import { openProbe } from './probe.ts'

export interface Promised {
  /** The newest copies that it acknowledged, with what it just did last. */
  readonly held: readonly Held[]
  readonly fences: readonly Pick<BookieEntry, 'bookie' | 'ledgerId'>[]
}

interface Clone {
  readonly machine: string
  readonly timeMs: number
  readonly disk: Disk
  readonly bookieId: string
  readonly clusterId: string
  /** Of the process that promised: the metadata has seen it. */
  readonly incarnation: number
  readonly promised: Promised
}

const clonesMax = 48
const silent = {
  child: () => silent,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
}

export class CrashClones {
  readonly #world: World
  readonly #report: Report
  readonly #random
  readonly #clones: Clone[] = []
  /** By moment, how often it was looked at: the first ones of each are worth more. */
  readonly #looked = new Map<string, number>()

  constructor(world: World, report: Report) {
    this.#world = world
    this.#report = report
    this.#random = world.scheduler.random('crash clones')
  }

  get count(): number {
    return this.#clones.length
  }

  /** A bookie is about to tell somebody that it promised the last of these. */
  told(machine: string, promised: () => Promised): void {
    const { disk } = this.#world.node(machine)
    const key = `${machine} ${this.#momentOf(machine)}`
    const looked = this.#looked.get(key) ?? 0
    this.#looked.set(key, looked + 1)
    const isChosen = this.#random.below(1 + looked * 2) === 0
    if (!isChosen || this.#clones.length >= clonesMax) return
    const running = newestSuperblock(disk)
    if (running === undefined) return
    const { nowMs: timeMs } = this.#world.scheduler
    const all = promised()
    const crash = (mode: CrashMode) =>
      afterPowerLoss(disk, mode, (count) => this.#random.below(count))
    // While more than the batch that follows is under way, the worst is one of many.
    const isBusy = this.#unsynced(machine).some((path) => !path.endsWith('.journal'))
    const modes: CrashMode[] = isBusy ? ['any', 'any', 'any'] : [this.#mode()]
    for (const mode of modes) {
      this.#clones.push({ ...running, machine, timeMs, disk: crash(mode), promised: all })
    }
  }

  #mode(): CrashMode {
    return this.#random.below(2) === 0 ? 'any' : 'none'
  }

  #unsynced(machine: string): string[] {
    const { disk } = this.#world.node(machine)
    return disk.files('/data/journal').filter((path) => disk.file(path).pending.length > 0)
  }

  /** What is special just now: another start or segment, a failure, more that is not synced. */
  #momentOf(machine: string): string {
    const { disk, boots, diskFailures } = this.#world.node(machine)
    const segment = newestSuperblock(disk)?.nextSegment
    return [boots, diskFailures, segment, ...this.#unsynced(machine)].join(' ')
  }

  /** Starts them all, one after the other. */
  async check(): Promise<void> {
    for (const clone of this.#clones.splice(0)) {
      const world = new World({ seed: `clone at ${clone.timeMs}` })
      try {
        await world.settle(this.#ask(world, clone))
      } catch (error) {
        const text = `after a crash at ${clone.timeMs.toFixed(0)} ms ${clone.machine} does not start`
        this.#report.violated('I11', `${text}: ${messageOf(error)}`)
      }
    }
  }

  async #ask(world: World, clone: Clone): Promise<void> {
    const { machine, timeMs, promised } = clone
    world.node('clone').disk = clone.disk
    // A start on a full disk says so, and is tried again when there is room.
    clone.disk.capacityBytes = 2 ** 30
    await serve(world, clone)
    const probe = await openProbe(createSimulatedIo(world, 'probe'), 'clone')
    const when = `after a crash at ${timeMs.toFixed(0)} ms ${machine}`
    for (const { ledgerId, entryId, payload } of promised.held) {
      const { found } = await probe.read(ledgerId, entryId)
      this.#report.holds(
        found?.equals(payload) === true,
        'I11',
        () => `${when} lacks entry ${entryId} of ledger ${ledgerId}, which it acknowledged`,
      )
    }
    for (const { ledgerId } of promised.fences) {
      const refuses = await probe.refusesAdds(ledgerId)
      this.#report.holds(refuses, 'I9', () => `${when} has forgotten a fence of ledger ${ledgerId}`)
    }
  }
}

/** What is there by then runs the production start, and serves. */
async function serve(world: World, clone: Clone): Promise<void> {
  const { bookieId, clusterId, incarnation } = clone
  const io = createSimulatedIo(world, 'clone')
  const bookie = createBookie({
    io,
    logger: silent,
    failed: (error) => world.scheduler.fail(error),
  })
  const store = await openBookieStore({
    io,
    logger: silent,
    directory: '/data/journal',
    ledgerDirectories: ['/data/ledgers'],
    owner: bookie.owner,
    checkIdentity: async () => ({ bookieId, clusterId, incarnation, isKnown: true }),
    segmentBytes: 65_536,
  })
  bookie.start(store.journal)
  await io.network.listen({ host: 'clone', port: 3181 }, (connection) => bookie.accept(connection))
}

/** As the running process has written it, durable or not. */
function newestSuperblock(disk: Disk) {
  const slots = ['/data/journal/super.A', '/data/journal/super.B'].flatMap((path) => {
    const inode = disk.find(path)
    if (inode?.kind !== 'file') return []
    const bytes = Buffer.alloc(inode.current.size)
    inode.current.read(bytes, 0)
    return decodeSuperblock(bytes) ?? []
  })
  const [newest] = slots.sort((one, other) => other.sequence - one.sequence)
  if (newest === undefined) return undefined
  const { bookieId, clusterId, incarnation, nextSegment } = newest
  return { bookieId, clusterId, incarnation, nextSegment }
}
