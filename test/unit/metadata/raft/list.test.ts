// The list in docs/raft.md is true: 82 items, and every test that it names is there.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { root } from '../../../support/source.ts'

const rows = readFileSync(join(root, 'docs/raft.md'), 'utf8')
  .split('\n')
  .map((line) => /^\| (\d+) \| [^|]+ \| ([^|]+) \|$/.exec(line))
  .filter((row) => row !== null)

const folders = ['test/unit/metadata/raft', 'test/unit/embedded'].map((each) => join(root, each))
const tests = folders
  .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
  .map((path) => readFileSync(path, 'utf8'))
  .flatMap((text) => [...text.matchAll(/'(F3\.(\d+) [^'\n]+)'/g)])

t.test('every item has a row', async (t) => {
  const numbers = rows.map(([, number]) => Number(number))
  t.same(
    numbers,
    Array.from({ length: 82 }, (_, i) => i + 1),
  )
})

t.test('every test of an item is named, and every test named is there', async (t) => {
  const names = new Set(tests.map(([, name]) => name))
  for (const [, number = '', cell = ''] of rows) {
    const named = cell.match(/F3\.\d+ [^;|]+/g)?.map((name) => name.trim()) ?? []
    const cells = tests.filter(([, , item]) => item === number).map(([, name = '']) => name)
    for (const name of cells) t.ok(cell.includes(name), `${number} names its test: ${name}`)
    t.ok(named.length > 0 || cell.includes('shell'), `${number} has a test, or is the shell's`)
  }
  t.ok(names.size > 60)
})
