// Counts the assertions in TAP reports, prints what failed, and ends with the line `N passed, N failed, N skipped`.
import { readFileSync } from 'node:fs'

const counts = { passed: 0, failed: 0, skipped: 0 }

function count(path: string): void {
  const lines = readFileSync(path, 'utf8').split('\n')
  const before = counts.passed + counts.failed
  lines.forEach((line, index) => {
    const match = /^(\s*)(not )?ok\b(.*)$/.exec(line)
    if (!match) return
    // A subtest's own line follows its assertions: those were counted, unless it failed without one.
    const isSummary = /^\s*(?:1\.\.\d+|# (?:failed|time|passed).*)$/.test(lines[index - 1] ?? '')
    if (/# (?:SKIP|TODO)\b/i.test(match[3] ?? '')) counts.skipped++
    else if (match[2]) {
      counts.failed++
      console.log(lines.slice(index, index + 30).join('\n'))
    } else if (!isSummary) counts.passed++
  })
  if (counts.passed + counts.failed === before) {
    counts.failed++
    console.log(`${path} holds no test:\n${lines.slice(-40).join('\n')}`)
  }
}

process.argv.slice(2).forEach(count)
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
// Whoever lacks what a test needs is to hear of it: a skipped test is a failure.
process.exitCode = counts.failed + counts.skipped > 0 || counts.passed === 0 ? 1 : 0
