// The short form of `npm run torture -- kill`: three real processes, killed under load, all at once
// and one by one.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { runKill, type RoundReport } from '../torture/kill.ts'

t.test('what was acknowledged is there after every kill', async (t) => {
  const rounds: RoundReport[] = []
  const report = await runKill({
    rounds: 4,
    directory: t.testdir(),
    seed: 4,
    loadMs: 200,
    report: (round) => rounds.push(round),
  })
  t.match(report, { ok: true, rounds: 4, lost: 0, differing: 0 })
  for (const { round, acked, ackedAlone } of rounds) {
    t.ok(acked > 0 && ackedAlone > 0, `round ${round} wrote something`)
  }
  const single = rounds.filter(({ killed }) => killed !== 'all')
  t.equal(single.length, 2)
  for (const { killed, ackedMeanwhile } of single) {
    t.ok(ackedMeanwhile > 0, `appends went on while ${killed} was down`)
  }
})

t.test('the trial can fail', async (t) => {
  const report = await runKill({
    rounds: 1,
    bookies: 2,
    directory: t.testdir(),
    seed: 4,
    loadMs: 100,
    sabotage(cluster, { acked, alone }) {
      acked.set(acked.size + 1000, Buffer.from('was never sent'))
      acked.set(0, Buffer.from('was never written so'))
      t.ok((alone[1]?.acked.size ?? 0) > 0)
      forgetLastWrites(cluster.directories[1] ?? '')
    },
  })
  t.equal(report.ok, false)
  t.equal(report.differing, 1, 'the entry that reads otherwise')
  t.ok(report.lost > 1, 'the entry that was never there, and those that a bookie forgot')
})

/** What a disk does that lied about its last writes. */
function forgetLastWrites(directory: string): void {
  const journal = join(directory, 'journal')
  for (const name of readdirSync(journal).filter((name) => name.endsWith('.journal'))) {
    const bytes = readFileSync(join(journal, name))
    let end = bytes.length
    while (end > 0 && bytes[end - 1] === 0) end--
    if (end > 32_768) writeFileSync(join(journal, name), bytes.fill(0, end - 32_768))
  }
}
