// Recorded runs of the journal on a file system that remembers what was synced: after every change
// the power may fail. From what could be left at that moment a new process starts, and must find
// everything that was reported durable until then, in its place, and nothing wrong; then it fails
// again in the middle of that start.
import t from 'tap'
import { afterPowerLoss, createSimulatedIo, World } from '../../src/simulation/index.ts'
import type { CrashMode, Disk } from '../../src/simulation/index.ts'
import { JournalModel, openModel } from '../support/journal-model.ts'
import { createChooser, type Chooser } from '../support/chooser.ts'

/** What had been promised at a moment, and the disk as it was. */
interface Moment {
  readonly what: string
  readonly durable: number
  readonly left: readonly { mode: CrashMode; disk: Disk }[]
}

/** All that was written until then: the prefix of the run. */
const prefix: readonly CrashMode[] = ['all']
/** What was not synced may also be gone, whole, from some point on, or in parts. */
const sampled: readonly CrashMode[] = ['none', 'prefix', 'subset', 'subset']

const afterLoss = (disk: Disk, mode: CrashMode, choose: Chooser): Disk =>
  afterPowerLoss(disk, mode, (count) => choose(count))

interface Workload {
  readonly seed: number
  /** Every prefix is started from; at every how many changes the other losses are sampled too. */
  readonly sampleEvery: number
  run(model: JournalModel, world: World): Promise<void>
}

async function record(workload: Workload): Promise<{ model: JournalModel; moments: Moment[] }> {
  const world = new World({ seed: workload.seed })
  const choose = createChooser(workload.seed)
  const { disk } = world.node('a')
  const model = new JournalModel()
  const moments: Moment[] = []
  let changes = 0
  disk.observe = (what) => {
    changes += 1
    const modes = changes % workload.sampleEvery === 0 ? [...prefix, ...sampled] : prefix
    const left = modes.map((mode) => ({ mode, disk: afterLoss(disk, mode, choose) }))
    moments.push({ what, durable: model.durableSequence, left })
  }
  const io = createSimulatedIo(world, 'a')
  const { store } = await world.settle(openModel({ io, model }))
  await workload.run(model, world)
  await world.settle(model.settled())
  await world.settle(store.close())
  return { model, moments }
}

function worldOf(disk: Disk, seed: number): World {
  const world = new World({ seed })
  world.node('a').disk = disk
  return world
}

const start = (world: World) => world.settle(openModel({ io: createSimulatedIo(world, 'a') }))

/** What the first `durable` records leave: entries, fences, tombstones. */
function expectedOf(model: JournalModel, durable: number) {
  const entries = new Set<string>()
  const fences = new Set<number>()
  const gone = new Set<number>()
  for (let sequence = 1; sequence <= durable; sequence++) {
    const [kind, name = ''] = (model.log.get(sequence) ?? '').split(' ')
    if (kind === 'add') entries.add(name)
    else if (kind === 'fence') fences.add(Number(name))
    else gone.add(Number(name))
  }
  return { entries, fences, gone }
}

/** Sentences about what is missing or wrong after a start. */
function complaints(model: JournalModel, recorded: JournalModel, durable: number): string[] {
  const { entries, fences, gone } = expectedOf(recorded, durable)
  const found = [...model.wrong]
  for (const name of entries) {
    const ledger = Number(name.split('/')[0])
    // A ledger whose removal was appended by then may be gone already.
    const mayBeGone = gone.has(ledger) || model.tombstones.has(ledger)
    if (!mayBeGone && !model.entries.has(name)) found.push(`entry ${name} is lost`)
    if (gone.has(ledger) && model.entries.has(name)) found.push(`entry ${name} is back`)
  }
  for (const ledger of fences) {
    if (!model.fences.has(ledger)) found.push(`the fence of ${ledger} is lost`)
  }
  for (const ledger of gone) {
    if (!model.tombstones.has(ledger)) found.push(`the removal of ${ledger} is lost`)
  }
  if (model.journal.sequence < durable) found.push('sequence numbers go back')
  return found
}

/** Starts from every moment of a recorded run; returns how often, and what was wrong. */
async function trial(workload: Workload): Promise<{ starts: number; problems: string[] }> {
  const { model: recorded, moments } = await record(workload)
  const choose = createChooser(workload.seed + 1)
  const problems: string[] = []
  let starts = 0
  for (const { what, durable, left } of moments) {
    for (const { mode, disk } of left) {
      starts += 1
      const at = `${what}, ${durable} durable, ${mode}`
      const fresh = worldOf(disk, starts)
      // Now and then the power fails again at some change of this start.
      const world = starts % 4 === 0 ? await interrupted(fresh, choose) : fresh
      const { model } = await start(world)
      problems.push(...complaints(model, recorded, durable).map((one) => `${one} (${at})`))
      if (starts % 8 !== 0) continue
      // What a start serves, no later loss of power takes away.
      world.cutPower('a', 'none')
      const third = await start(world)
      for (const name of model.entries.keys()) {
        if (!third.model.entries.has(name)) problems.push(`${name} was served and is lost (${at})`)
      }
    }
  }
  return { starts, problems: problems.slice(0, 10) }
}

/** Starts, and loses power at a change of the disk in the middle of it, if it comes so far. */
async function interrupted(world: World, choose: Chooser): Promise<World> {
  const { disk } = world.node('a')
  const when = 1 + choose(60)
  let changes = 0
  let left: Disk | undefined
  disk.observe = () => {
    changes += 1
    if (changes === when) left = afterLoss(disk, 'subset', choose)
  }
  await start(world)
  disk.observe = undefined
  return worldOf(left ?? afterLoss(disk, 'none', choose), when)
}

t.test('appending and rolling', async (t) => {
  const { starts, problems } = await trial({
    seed: 1,
    sampleEvery: 5,
    async run(model, world) {
      for (let id = 0; id < 60; id++) {
        await world.settle(model.addWaiting(1, id, 200 + ((id * 977) % 6000)))
        if (id % 7 === 0) model.fence(id)
        if (id % 5 === 0) await world.run(1)
      }
    },
  })
  t.ok(starts > 100, `${starts} starts`)
  t.same(problems, [])
})

t.test('removing, giving segments back and using them again', async (t) => {
  const { starts, problems } = await trial({
    seed: 2,
    sampleEvery: 15,
    async run(model, world) {
      for (let ledger = 1; ledger <= 8; ledger++) {
        model.fence(ledger)
        for (let id = 0; id < 40; id++) {
          await world.settle(model.addWaiting(ledger, id, 100 + ((id * 977) % 5000)))
        }
        if (ledger > 2) model.remove(ledger - 2)
        await world.run(20)
      }
    },
  })
  t.ok(starts > 100, `${starts} starts`)
  t.same(problems, [])
})

t.test('a first start', async (t) => {
  const { starts, problems } = await trial({ seed: 3, sampleEvery: 2, run: async () => undefined })
  t.ok(starts > 100, `${starts} starts`)
  t.same(problems, [])
})
