// That each counter of rare events counts what it says, and nothing else.
import t from 'tap'
import { errorCodes } from '../../src/errors.ts'
import { createSimulatedIo, World } from '../../src/simulation/index.ts'
import type { LedgerMetadata } from '../../src/wire/ledger-metadata.ts'
import { sourceFiles } from '../support/source.ts'
import { logged, rareEvents, refused, Sometimes } from './sometimes.ts'

const none = { there: 0, notThere: 0 }
const others = { given: new Map<string, number>(), appends: none, commands: none }

/** What happened, by name. */
function seenIn(sometimes: Sometimes, more: Partial<typeof others> = {}): Record<string, number> {
  const counts = Object.entries(sometimes.counts({ ...others, ...more }))
  return Object.fromEntries(counts.filter(([, times]) => times > 0))
}

const open: LedgerMetadata = {
  formatVersion: 3,
  state: 'open',
  ensembleSize: 2,
  writeQuorumSize: 2,
  ackQuorumSize: 2,
  lastEntryId: -1,
  lengthBytes: 0,
  digest: 'crc32c',
  password: Buffer.alloc(0),
  ctimeMs: 0,
  creatorToken: 0n,
  customMetadata: new Map(),
  fragments: [{ firstEntryId: 0, ensemble: ['A', 'B'] }],
}
const fragments = [{ firstEntryId: 0, ensemble: ['A', 'C'] }]

t.test('every event has a name, and is counted from none', async (t) => {
  const counts = new Sometimes(new World({ seed: 1 })).counts(others)
  t.same(Object.keys(counts).sort(), [...rareEvents].sort())
  t.ok(Object.values(counts).every((times) => times === 0))
})

t.test('by what is logged: each text is one that the source has', async (t) => {
  const source = sourceFiles('src')
    .map(({ text }) => text)
    .join('\n')
  for (const [text, name] of Object.entries(logged)) {
    t.ok(source.includes(`'${text}'`), text)
    const sometimes = new Sometimes(new World({ seed: 1 }))
    sometimes.log(`${text}, or nearly so`)
    sometimes.log(text)
    t.same(seenIn(sometimes), { [name]: 1 })
  }
})

t.test('by what clients are told', async (t) => {
  for (const [code, name] of Object.entries(refused)) {
    t.ok(Object.hasOwn(errorCodes, code), code)
    const sometimes = new Sometimes(new World({ seed: 1 }))
    t.same(seenIn(sometimes, { given: new Map([[code, 2]]) }), { [name]: 2 })
  }
  const sometimes = new Sometimes(new World({ seed: 1 }))
  t.same(
    seenIn(sometimes, {
      appends: { there: 1, notThere: 2 },
      commands: { there: 3, notThere: 4 },
    }),
    {
      'an append of unknown outcome is there at last': 1,
      'an append of unknown outcome is not there at last': 2,
      'a command of unknown outcome took effect': 3,
      'a command of unknown outcome took none': 4,
    },
  )
})

t.test('a close and a recovery of one ledger at one time, either first', async (t) => {
  const seenFor = async (state: 'closed' | 'in-recovery', isRecovered: boolean) => {
    const sometimes = new Sometimes(new World({ seed: 1 }))
    sometimes.changed(7n, open)
    await sometimes.during('close', 7n, async () => {
      const work = async () => sometimes.changed(7n, { ...open, state })
      await sometimes.during('recovery', isRecovered ? 7n : 8n, work)
    })
    return seenIn(sometimes)
  }
  t.same(await seenFor('closed', true), { 'a close is done before a recovery begins': 1 })
  t.same(await seenFor('in-recovery', true), { 'a recovery begins before a close is done': 1 })
  t.same(await seenFor('closed', false), {}, 'of another ledger')
})

t.test('ensembles that change, and two who recover', async (t) => {
  const sometimes = new Sometimes(new World({ seed: 1 }))
  sometimes.changed(7n, open)
  sometimes.changed(7n, { ...open, fragments })
  sometimes.changed(8n, { ...open, state: 'in-recovery' })
  sometimes.changed(8n, { ...open, fragments, state: 'closed' })
  for (const client of ['k1', 'k1', 'k2']) sometimes.recovered(7n, client)
  t.same(seenIn(sometimes), {
    'an ensemble changes while its ledger is written': 1,
    'an ensemble changes while its ledger is recovered': 1,
  })
  sometimes.recovered(7n, 'k1')
  t.match(seenIn(sometimes), { 'two recoverers write one ledger': 1 })
})

t.test('what a process was doing when it ended', async (t) => {
  const fence = 'the power fails while a fence is on its way'
  const load = 'the load of a snapshot is interrupted'
  const seenAfter = (end: (world: World) => void, isDone: boolean) => {
    const world = new World({ seed: 1 })
    const sometimes = new Sometimes(world)
    createSimulatedIo(world, 'a')
    for (const name of [fence, load] as const) {
      const done = sometimes.begins(name, 'a')
      if (isDone) done()
    }
    end(world)
    return seenIn(sometimes)
  }
  t.same(
    seenAfter((world) => world.cutPower('a'), false),
    { [fence]: 1, [load]: 1 },
  )
  t.same(
    seenAfter((world) => world.kill('a'), false),
    { [load]: 1 },
    'a fence has its power',
  )
  t.same(
    seenAfter((world) => world.cutPower('a'), true),
    {},
  )
})

t.test('a write of which a loss of power leaves a part', async (t) => {
  const seeds = Array.from({ length: 40 }, (_, index) => index)
  const torn = await Promise.all(
    seeds.map(async (seed) => {
      const world = new World({ seed })
      const { files } = createSimulatedIo(world, 'a')
      const file = await world.settle(files.open('/file', 'create'))
      await world.settle(file.write(Buffer.alloc(8192, 1), 0))
      world.cutPower('a', 'subset')
      const name = 'a write is torn by a loss of power'
      return seenIn(new Sometimes(world))[name] ?? 0
    }),
  )
  t.ok(torn.includes(1), 'some are torn')
  t.ok(torn.includes(0), 'others are whole, or not there')
})
