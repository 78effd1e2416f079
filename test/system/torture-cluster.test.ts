// The short form of `npm run torture -- cluster`: three machines of their own, each fault once.
import t from 'tap'
import { faults, runCluster, type RoundReport } from '../torture/cluster/trial.ts'

t.setTimeout(600_000)

t.test('whatever befalls one of three, nothing acknowledged is lost', async (t) => {
  const rounds: RoundReport[] = []
  const report = await runCluster({
    rounds: faults.length,
    directory: t.testdir(),
    seed: 7,
    report: (round) => rounds.push(round),
  })
  t.same(
    rounds.flatMap(({ fault, wrong }) => wrong.map((what) => `${fault}: ${what}`)),
    [],
  )
  t.match(report, { ok: true, rounds: faults.length, lost: 0, linearizable: true, early: 0 })
  t.same(new Set(rounds.map(({ fault }) => fault)), new Set(faults), 'each once')
})
