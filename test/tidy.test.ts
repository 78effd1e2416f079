// The rules of the house, held by a test. Each check is a function of source text, so that the
// second half of this file can prove that it fails on a bad sample.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { errorCodes } from '../src/errors.ts'
import { asUsersDo } from './support/processes.ts'
import {
  codeOf,
  fileFrom,
  importsOf,
  root,
  sourceFiles,
  type SourceFile,
} from './support/source.ts'

// Tests may be wider: their long lines are frames, records and sentences to be matched.
const limits = { columns: 100, testColumns: 130, sourceLines: 500, testLines: 900 }

/** Each layer with those it may import. `errors.ts` and `invariant.ts` belong to all. */
const layers: Record<string, readonly string[]> = {
  wire: [],
  io: ['wire'],
  bookie: ['wire', 'io'],
  metadata: ['wire', 'io'],
  replication: ['metadata', 'wire', 'io'],
  snapshot: ['replication', 'metadata', 'wire', 'io'],
  embedded: ['snapshot', 'replication', 'bookie', 'metadata', 'wire', 'io'],
  // Replaces what io provides, and runs whole nodes in one process.
  simulation: ['embedded', 'snapshot', 'replication', 'bookie', 'metadata', 'wire', 'io'],
  admin: ['embedded', 'snapshot', 'replication', 'bookie', 'metadata', 'wire', 'io'],
}
const sharedByAll = new Set(['src/errors.ts', 'src/invariant.ts'])
/** The command line is a program like any other: it stands on the public face. */
const publicFace = 'src/index.ts'

const layerOf = (path: string): string => path.split('/')[1] ?? ''

function layerProblems(file: SourceFile): string[] {
  const layer = layerOf(file.path)
  const allowed = layers[layer]
  const problems: string[] = []
  for (const { target } of importsOf(file)) {
    if (!target.startsWith('src/') || sharedByAll.has(target)) continue
    if (layer === 'admin' && target === publicFace) continue
    const other = layerOf(target)
    if (layer !== other && allowed && !allowed.includes(other)) {
      problems.push(`${file.path}: ${layer} must not import ${target}`)
    }
    if (/\/core\//.test(file.path) && !sameCore(file.path, target) && other !== 'wire') {
      problems.push(`${file.path}: a core must not import ${target}`)
    }
  }
  return problems
}

const coreFolder = (path: string): string => path.slice(0, path.indexOf('/core/') + 6)
const sameCore = (from: string, to: string): boolean => to.startsWith(coreFolder(from))

/** What only `io` (and `admin`, at the edge to a person) may touch: semantics G2. */
const outside: readonly [RegExp, string][] = [
  [/\bDate\b(?!:)/, 'Date'],
  [/\bperformance\./, 'performance'],
  [/\bprocess\./, 'process'],
  [/\bMath\.random\b/, 'Math.random'],
  [
    /\brandom(?:Bytes|UUID|Int|FillSync)\s*\(|\bcrypto\.(?:subtle|getRandomValues)/,
    'random of crypto',
  ],
  [/\b(?:setTimeout|setInterval|setImmediate|queueMicrotask)\b/, 'timers'],
  [/\bAbortSignal\.timeout\b/, 'AbortSignal.timeout'],
  [/\b(?:WeakRef|FinalizationRegistry)\b/, 'garbage collection'],
  [/\bconsole\./, 'console'],
  [/\bAtomics\.wait\b/, 'Atomics.wait'],
  [/\bIntl\.|\.(?:toLocale\w*|localeCompare)\(/, 'Intl'],
  [
    /\b(?:deflate|deflateRaw|inflate|inflateRaw|gzip|gunzip|unzip|pbkdf2|scrypt|hkdf)\s*\(/,
    "Node's thread pool",
  ],
]
const outsideModules = new RegExp(
  '^(?:node:)?(?:fs|fs/promises|net|tls|dns|http|https|http2|worker_threads|os|child_process|' +
    'timers|timers/promises|cluster|dgram|perf_hooks|readline|repl|vm|async_hooks|' +
    'diagnostics_channel|module)$|^better-sqlite3$',
)

function seamProblems(file: SourceFile): string[] {
  if (/^src\/(io|admin)\//.test(file.path)) return []
  const code = codeOf(file.text)
  const touched = outside.filter(([pattern]) => pattern.test(code)).map(([, what]) => what)
  const modules = importsOf(file)
    .filter(({ target }) => outsideModules.test(target))
    // Loads the native checksum, or records why it cannot.
    .filter(({ target }) => file.path !== 'src/wire/crc32c.ts' || target !== 'node:module')
    .map(({ target }) => target)
  return [...touched, ...modules].map((what) => `${file.path}: ${what} belongs to src/io`)
}

const banned: readonly [RegExp, string][] = [
  [/:\s*any\b|<any\b|\bas any\b|\bany\[\]/, 'any'],
  [/\benum\s+\w+\s*\{|\bnamespace\s+\w+\s*\{/, 'enum or namespace'],
  [/\bconstructor\([^)]*\b(?:private|public|protected|readonly)\s/, 'parameter property'],
  [/[\w)\]]!(?:[.;,)\]\s[]|$)(?!=)/m, 'non-null assertion'],
  [/\bcatch\s*(?:\([^)]*\))?\s*\{\s*\}/, 'empty catch'],
  [/^export default/m, 'default export'],
]
const bannedText: readonly [RegExp, string][] = [
  [/@ts-(?:ignore|nocheck|expect-error)/, '@ts- comment'],
  [/(?:c8|v8|istanbul) ignore/, 'coverage pragma'],
  [/\b(?:TODO|FIXME|XXX)\b/, 'unfinished mark'],
]

function banProblems(file: SourceFile): string[] {
  const code = codeOf(file.text)
  const hits = [
    ...banned.filter(([pattern]) => pattern.test(code)),
    ...bannedText.filter(([pattern]) => pattern.test(file.text)),
  ]
  const problems = hits.map(([, what]) => `${file.path}: ${what}`)
  // `as` narrows without proof: allowed where bytes and foreign libraries come in, and in tests of
  // them.
  if (/^src\/(?!wire\/|io\/)/.test(file.path)) {
    const casts = code.match(/[\w)\]}]\s+as\s+(?!const\b)[A-Za-z{[(]/g) ?? []
    const renames = code.match(/(?:import|export)\s+(?:type\s+)?\{[^}]*\bas\b[^}]*\}/g) ?? []
    if (casts.length > renames.length) problems.push(`${file.path}: type assertion`)
  }
  return problems
}

function sizeProblems(file: SourceFile): string[] {
  const isTest = file.path.startsWith('test/')
  const most = isTest ? limits.testLines : limits.sourceLines
  const columns = isTest ? limits.testColumns : limits.columns
  const problems = file.lines.flatMap((line, index) =>
    line.length > columns && !/https?:\/\/|^import |^\} from /.test(line)
      ? [`${file.path}:${index + 1}: ${line.length} columns`]
      : [],
  )
  if (file.lines.length > most + 1) problems.push(`${file.path}: ${file.lines.length} lines`)
  return problems
}

/** Module state is shared by simulated nodes: `let` at the top of a module is state. */
function stateProblems(file: SourceFile): string[] {
  if (file.path.startsWith('src/io/real/') || file.path.startsWith('src/admin/')) return []
  return codeOf(file.text)
    .split('\n')
    .filter((line) => /^(?:export )?(?:let|var)\s/.test(line))
    .map((line) => `${file.path}: module state: ${line.trim()}`)
}

/** Two of these of one type are mixed up by some caller: they go into an options object. */
const primitives = new Set(['string', 'number', 'boolean', 'bigint'])
const signature =
  /(?:\bfunction\s+(\w+)|^\s+(?:async |static )*(#?\w+))\s*(?:<[^>()]*>)?\(([^()]*)\)(?=[^;=\n]*\{$)/gm

/**
 * Not where bytes are handled on hot paths (wire, bookie, replication, io), since an object for
 * each entry costs there, nor in what implements their contracts (simulation).
 */
const passesRanges = new Set(['wire', 'bookie', 'replication', 'io', 'simulation'])

function twinProblems(file: SourceFile): string[] {
  if (passesRanges.has(layerOf(file.path))) return []
  return [...codeOf(file.text).matchAll(signature)].flatMap(([, name, method, parameters = '']) => {
    const types = [...parameters.matchAll(/:\s*(\w+)\s*(?=,|=|$)/g)].map((match) => match[1] ?? '')
    const twins = types.filter((type, at) => primitives.has(type) && types.indexOf(type) !== at)
    const what = `${name ?? method} takes two of type ${twins[0]}: an options object`
    return twins.length > 0 ? [`${file.path}: ${what}`] : []
  })
}

/** The second public face; and two sides of one protocol, each used by other layers through it. */
const doors = new Set([
  'src/simulation.ts',
  'src/metadata/client/index.ts',
  'src/metadata/server/index.ts',
])

/** A file that only hands on what others export hides where things are. */
function barrelProblems(file: SourceFile): string[] {
  if (/^src\/(?:\w+\/)?index\.ts$/.test(file.path) || doors.has(file.path)) return []
  const own = codeOf(file.text).replace(/export\s[^;={]*(?:\{[^}]*\})?\s*from\s*''/g, '')
  return own.trim() === '' ? [`${file.path}: only hands on what others export`] : []
}

const programs = (text: string): string[] =>
  [...text.matchAll(/'((?:embedded|metadata|bookie|io)\/[\w/-]+)'/g)].map((m) => `src/${m[1]}.ts`)

function unreached(files: readonly SourceFile[], entries: readonly string[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]))
  const reached = new Set<string>()
  const queue = [...entries]
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    const file = byPath.get(path)
    if (!file || reached.has(path)) continue
    reached.add(path)
    queue.push(...importsOf(file).map(({ target }) => target))
  }
  return files.map(({ path }) => path).filter((path) => !reached.has(path))
}

// This file holds the banned words themselves.
const notTidy = (file: SourceFile): boolean => file.path !== 'test/tidy.test.ts'

const none = (check: (file: SourceFile) => string[], files: readonly SourceFile[]): string[] =>
  files.flatMap(check)

t.test('the sources keep the rules of the house', (t) => {
  const src = sourceFiles('src')
  const others = [...sourceFiles('test'), ...sourceFiles('examples'), ...sourceFiles('bench')]
  t.ok(src.length > 20, 'the sources are found')
  t.same(none(layerProblems, src), [], 'imports go down only')
  t.same(none(seamProblems, src), [], 'only src/io touches the outside world')
  t.same(none(stateProblems, src), [], 'no module state')
  t.same(none(twinProblems, src), [], 'no two parameters of one primitive type')
  t.same(none(barrelProblems, src), [], 'only the door of a layer hands on what others export')
  t.same(none(banProblems, [...src, ...others].filter(notTidy)), [], 'nothing banned')
  t.same(none(sizeProblems, [...src, ...others]), [], 'sizes')
  t.end()
})

t.test('every source file is reached from an entry', (t) => {
  const threads = readFileSync(join(root, 'src/io/threads.ts'), 'utf8')
  const entries = [
    'src/index.ts',
    'src/simulation.ts',
    'src/simulation/index.ts',
    'src/admin/quire.ts',
    'src/io/real/thread-main.ts',
    ...programs(threads),
  ]
  for (const entry of entries) t.ok(existsSync(join(root, entry)), `${entry} exists`)
  t.same(unreached(sourceFiles('src'), entries), [])
  t.end()
})

t.test('functions are short and take few parameters', (t) => {
  // Held by the linter, which parses: 60 lines a function; 3 parameters, then an options object.
  // Where bytes are handled on hot paths (wire, bookie, replication, io) ranges are passed as plain
  // numbers, since an object for each entry costs. The metadata contract's calls end in options of
  // their own.
  const run = (...args: string[]): string => {
    try {
      const [command = '', ...words] = [
        ...asUsersDo,
        'oxlint',
        '-c',
        '.oxlintrc.tidy.json',
        ...args,
      ]
      return execFileSync(command, words, { cwd: root, encoding: 'utf8' })
    } catch (error) {
      return String((error as { stdout?: unknown }).stdout)
    }
  }
  t.match(run('src'), /Found 0 warnings and 0 errors/, 'src')
  t.end()
})

t.test('how often a core says what must hold', (t) => {
  // Told, and not demanded: a function of three lines has nothing to assert.
  for (const folder of ['src/bookie/journal', 'src/replication/core', 'src/embedded/log/core']) {
    const code = sourceFiles(folder).map(({ text }) => codeOf(text))
    const count = (pattern: RegExp): number =>
      code.reduce((sum, text) => sum + [...text.matchAll(pattern)].length, 0)
    const functions = count(new RegExp(signature.source, 'gm'))
    t.ok(functions > 0, `${folder}: ${count(/\binvariant\(/g)} in ${functions} functions`)
  }
  t.end()
})

t.test('every error code is documented and provoked by a test', (t) => {
  const docs = readFileSync(join(root, 'docs/errors.md'), 'utf8')
  const tests = sourceFiles('test')
    .filter(notTidy)
    .map(({ text }) => text)
    .join('\n')
  const codes = Object.keys(errorCodes)
  t.same(
    codes.filter((code) => !docs.includes(`## ${code}\n`)),
    [],
    'a heading in docs/errors.md',
  )
  t.same(
    codes.filter((code) => !tests.includes(code)),
    [],
    'named in a test',
  )
  t.end()
})

t.test('documents: links lead somewhere, nothing of one machine is in them', (t) => {
  const documents = [
    ...sourceFiles('docs', '.md'),
    ...['README.md', 'CHANGELOG.md'].map((path) =>
      fileFrom(path, readFileSync(join(root, path), 'utf8')),
    ),
  ]
  const broken = documents.flatMap((file) =>
    [...file.text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
      .map((match) => match[1] ?? '')
      .filter((link) => !/^https?:/.test(link) && !existsSync(join(root, dirname(file.path), link)))
      .map((link) => `${file.path}: ${link}`),
  )
  t.same(broken, [])
  const everything = [
    ...documents,
    ...sourceFiles('src'),
    ...sourceFiles('bench'),
    ...sourceFiles('examples'),
  ]
  const machine = everything.filter(({ text }) => /(?:^|[\s'"(])\/(?:work|farm|root)\//.test(text))
  t.same(
    machine.map(({ path }) => path),
    [],
    'no path of one machine',
  )
  t.end()
})

t.test('the checks can fail', (t) => {
  const bad = (path: string, text: string): SourceFile => fileFrom(path, text)
  t.match(layerProblems(bad('src/wire/a.ts', "import { x } from '../io/index.ts'\n")), [
    /wire must not import/,
  ])
  t.match(
    layerProblems(bad('src/bookie/a.ts', "import type { x } from '../replication/api.ts'\n")),
    [/bookie must not/],
  )
  t.match(layerProblems(bad('src/replication/core/a.ts', "import { x } from '../driver.ts'\n")), [
    /a core must not/,
  ])
  t.same(layerProblems(bad('src/replication/core/a.ts', "import { x } from './b.ts'\n")), [])
  for (const code of [
    'Date.now()',
    'Math.random()',
    'setTimeout(f, 1)',
    'process.env',
    'console.log(1)',
    "a.localeCompare('b')",
    'gzip(bytes, done)',
  ]) {
    t.equal(seamProblems(bad('src/bookie/a.ts', `const x = ${code}\n`)).length, 1, code)
    t.equal(seamProblems(bad('src/io/a.ts', `const x = ${code}\n`)).length, 0)
    t.equal(
      seamProblems(bad('src/bookie/a.ts', `// ${code}\nconst x = '${code}'\n`)).length,
      0,
      'in text',
    )
  }
  t.match(seamProblems(bad('src/bookie/a.ts', "import fs from 'node:fs'\n")), [/node:fs/])
  t.match(seamProblems(bad('src/snapshot/a.ts', "import D from 'better-sqlite3'\n")), [
    /better-sqlite3/,
  ])
  t.match(stateProblems(bad('src/bookie/a.ts', 'let counter = 0\n')), [/module state/])
  for (const code of [
    'let x: any',
    'enum A { b }',
    'x!.y',
    'try { f() } catch {}',
    'export default 1',
    'a as B',
  ]) {
    t.equal(banProblems(bad('src/bookie/a.ts', `${code}\n`)).length, 1, code)
  }
  t.equal(banProblems(bad('src/bookie/a.ts', 'if (a !== b && !c) f(x as const)\n')).length, 0)
  for (const code of [
    'function f(a: string, b: Buffer, c: string): void {',
    '  async #g(from: number, to: number): Promise<void> {',
    'export function f<T>(\n  a: T,\n  b: number,\n  c: number = 1,\n): void {',
  ]) {
    t.equal(twinProblems(bad('src/embedded/a.ts', `${code}\n`)).length, 1, code)
    t.equal(twinProblems(bad('src/wire/a.ts', `${code}\n`)).length, 0, 'ranges of bytes')
  }
  t.equal(twinProblems(bad('src/embedded/a.ts', 'function f(a: string, b: number) {\n')).length, 0)
  t.match(barrelProblems(bad('src/wire/a/index.ts', "// All.\nexport { a } from './b.ts'\n")), [
    /hands/,
  ])
  t.equal(barrelProblems(bad('src/wire/index.ts', "export * from './b.ts'\n")).length, 0)
  t.equal(barrelProblems(bad('src/wire/a.ts', "export * from './b.ts'\nconst c = 1\n")).length, 0)
  t.match(sizeProblems(bad('src/a.ts', 'x'.repeat(101))), [/101 columns/])
  t.match(sizeProblems(bad('src/a.ts', '\n'.repeat(502))), [/lines/])
  const files = [
    bad('src/index.ts', "import { a } from './a.ts'\n"),
    bad('src/a.ts', ''),
    bad('src/b.ts', ''),
  ]
  t.same(unreached(files, ['src/index.ts']), ['src/b.ts'])
  t.end()
})
