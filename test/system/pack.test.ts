// What npm users get: the packed tarball, installed into an empty project without install scripts,
// runs the README's first lines as JavaScript, as TypeScript, and bundled by esbuild. (It asks the
// registry for the dependencies: a system test.)
import { execFileSync, spawnSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import t from 'tap'
import { asUsersDo, startQuire } from '../support/processes.ts'
import { root } from '../support/source.ts'

function run(cwd: string, ...words: string[]): string {
  const [command = '', ...args] = [...asUsersDo, ...words]
  return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** The blocks of code in the README. The first is JavaScript as well. */
function blocks(): string[] {
  const text = readFileSync(join(root, 'README.md'), 'utf8')
  return [...text.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] ?? '')
}

const firstLines = (): string => blocks()[0] ?? ''

/** The second goes on with a node that is open. */
function stateMachine(): string {
  const opened = "import { open } from 'quire-log'\nconst node = await open({ dir: './data' })\n"
  return `${opened}${blocks()[1] ?? ''}await node.close()\n`
}

// Outside the checkout: what is not in the package must not be found in a directory above.
const project = mkdtempSync(join(tmpdir(), 'quire-pack-'))
t.teardown(() => rmSync(project, { recursive: true }))

t.test('pack and install', (t) => {
  run(root, process.execPath, 'scripts/build.ts')
  run(root, 'npm', 'pack', '--ignore-scripts', '--pack-destination', project)
  const tarball = readdirSync(project).find((name) => name.endsWith('.tgz')) ?? ''
  t.match(tarball, /^quire-log-/)
  writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }')
  run(
    project,
    'npm',
    'install',
    '--ignore-scripts',
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    `./${tarball}`,
  )
  t.match(readFileSync(join(project, 'node_modules/quire-log/package.json'), 'utf8'), /"quire-log"/)
  t.end()
})

const expected = /^durable at 0\n0 first order\n$/

function fresh(): void {
  rmSync(join(project, 'data'), { recursive: true, force: true })
}

t.test('the README as JavaScript, twice', (t) => {
  writeFileSync(join(project, 'main.mjs'), firstLines())
  fresh()
  t.match(run(project, process.execPath, 'main.mjs'), expected)
  t.match(
    run(project, process.execPath, 'main.mjs'),
    /^durable at 1\n0 first order\n1 first order\n$/,
  )
  t.end()
})

/** What the compiler says, at its strictest, of files in the project; nothing when they are right. */
function typeErrors(...files: string[]): string {
  const tsc = join(root, 'node_modules/.bin/tsc')
  const options = '--noEmit --ignoreConfig --strict --module nodenext --target es2024'.split(' ')
  const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules/@types')]
  const all = [...asUsersDo, tsc, ...options, '--skipLibCheck', 'false', ...types]
  const [command = '', ...words] = all
  return spawnSync(command, [...words, ...files], { cwd: project, encoding: 'utf8' }).stdout
}

t.test('the README as TypeScript: it runs, and its types are right', (t) => {
  t.equal(blocks().length, 2)
  writeFileSync(join(project, 'main.ts'), firstLines())
  fresh()
  t.match(run(project, process.execPath, 'main.ts'), expected)
  writeFileSync(join(project, 'bank.ts'), stateMachine())
  fresh()
  t.match(run(project, process.execPath, 'bank.ts'), /name: 'ada', balance: 5/)
  t.equal(typeErrors('main.ts', 'bank.ts'), '')
  writeFileSync(
    join(project, 'wrong.ts'),
    "import { open } from 'quire-log'\nawait open({ dir: 5 })\n",
  )
  t.match(typeErrors('wrong.ts'), /wrong\.ts.*TS2322/, 'options have types')
  t.end()
})

t.test('the README bundled by esbuild: its threads are found', async (t) => {
  await build({
    absWorkingDir: project,
    entryPoints: ['main.mjs'],
    outfile: join(project, 'out/bundle.mjs'),
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'error',
  })
  fresh()
  t.match(run(project, process.execPath, 'out/bundle.mjs'), expected)
  mkdirSync(join(project, 'elsewhere'))
  t.match(run(join(project, 'elsewhere'), process.execPath, '../out/bundle.mjs'), expected)
})

/** The tutorial's files: the bank with its mistake, its test, the bank without. */
function tutorial(): string[] {
  const text = readFileSync(join(root, 'docs/testing-with-simulation.md'), 'utf8')
  return [...text.matchAll(/```js\n(\/\/ bank[\s\S]*?)```/g)].map(([, code]) => code ?? '')
}

t.test('the tutorial of simulation: its bug is found, and its mended bank passes', (t) => {
  const [wrong = '', test = '', right = ''] = tutorial()
  writeFileSync(join(project, 'bank.js'), wrong)
  writeFileSync(join(project, 'bank.test.js'), test)
  const [command, ...words] = [...asUsersDo, process.execPath, '--test', 'bank.test.js']
  const failed = spawnSync(command, words, { cwd: project, encoding: 'utf8' })
  t.equal(failed.status, 1)
  t.match(
    failed.stdout,
    /determinism: state bank: the command at position \d+, deposit .* new Date/,
  )
  writeFileSync(join(project, 'bank.js'), right)
  t.match(run(project, process.execPath, '--test', 'bank.test.js'), /pass 1\n/)
  t.end()
})

const typed = `import { simulate, type ClientProcess, type SimulationResult } from 'quire-log/simulation'
import type { SqlTransaction } from 'quire-log'

const migrations = ['create table t (n integer)']
const add = (tx: SqlTransaction, n: number) => tx.run('insert into t values (?)', n).changes
async function run({ client, random, model }: ClientProcess<{ added: number }>): Promise<void> {
  const numbers = await client.database('numbers', { migrations, commands: { add } })
  model.added += await numbers.execute('add', random.below(10))
}
const model = () => ({ added: 0 })
const result: SimulationResult = await simulate({ seed: 5, faultMs: 500, faults: ['kill'], model, run })
console.log(result.commands.answered > 0)
`

t.test('simulation in TypeScript: it runs, and its types are right', (t) => {
  writeFileSync(join(project, 'simulated.ts'), typed)
  t.equal(run(project, process.execPath, 'simulated.ts'), 'true\n')
  t.equal(typeErrors('simulated.ts'), '')
  writeFileSync(join(project, 'wrong.ts'), typed.replace("'kill'", "'no such fault'"))
  t.match(typeErrors('wrong.ts'), /wrong\.ts.*TS2322/, 'faults have names')
  t.end()
})

t.test('the shipped command line needs nothing but the production dependencies', async (t) => {
  const quire = join(project, 'node_modules/quire-log/dist/quire.js')
  t.match(run(project, process.execPath, quire, '--version'), /^\d+\.\d+\.\d+\n$/)
  t.match(run(project, process.execPath, quire, 'start', '--help'), /--listen/)
  t.ok(statSync(join(project, 'node_modules/.bin/quire')).mode & 0o100, 'it is a command')
  const args = ['--dir', join(project, 'node'), '--listen', '127.0.0.1:0']
  const node = startQuire(args, { program: [quire] })
  t.match(await node.ready, { id: /^quire-/, listen: /^127\.0\.0\.1:\d+$/ })
  t.equal(await node.kill('SIGTERM'), 0)
})
