import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { isLoopback, parseAddress, parseQuireUri } from '../../../src/embedded/address.ts'
import {
  defaults,
  optionNames,
  parseConnectOptions,
  parseOpenOptions,
} from '../../../src/embedded/options.ts'
import { formatAddress } from '../../../src/io/address.ts'

t.test('a directory is all that is needed', (t) => {
  const settings = parseOpenOptions({ dir: '/data' })
  t.match(settings, {
    dir: '/data',
    journal: '/data/journal',
    ledgers: ['/data/ledgers'],
    threads: 'worker',
  })
  t.end()
})

t.test('disks of their own for journal and ledgers', (t) => {
  const settings = parseOpenOptions({ journal: '/fast', ledgers: ['/disk1', '/disk2'] })
  t.match(settings, { dir: '/fast', journal: '/fast/journal', ledgers: ['/disk1', '/disk2'] })
  const apart = parseOpenOptions({ dir: '/home', journal: '/fast' })
  t.match(apart, { dir: '/home', journal: '/fast', ledgers: ['/home/ledgers'] })
  t.throws(() => parseOpenOptions({}), { code: 'QUIRE_BAD_OPTION', message: /where to keep data/ })
  t.end()
})

t.test('what is wrong is named', (t) => {
  const bad =
    (options: object): (() => unknown) =>
    () =>
      parseOpenOptions(options)
  t.throws(bad({ dir: 'x', segmentByte: 1 }), {
    code: 'QUIRE_BAD_OPTION',
    message: /did you mean segmentBytes\?/,
  })
  t.throws(bad({ dir: 'x', nonsense: 1 }), { message: /unknown option nonsense$/ })
  t.throws(bad({ dir: 'x', segmentBytes: 12 }), {
    message: /option segmentBytes/,
    facts: { option: 'segmentBytes' },
  })
  t.throws(bad({ dir: 5 }), { message: /option dir/ })
  t.throws(bad({ dir: '' }), { message: 'option dir: it is empty' })
  t.throws(bad({ dir: 'x', ledgers: ['y', ''] }), { message: 'option ledgers.1: it is empty' })
  for (const same of [{ journal: '/a/' }, { ledgers: ['/b', '/a/../a'] }]) {
    t.throws(bad({ dir: '/a', ...same }), { message: /own directory/, facts: { option: 'dir' } })
  }
  t.throws(() => parseConnectOptions({ listen: 'x' } as object), { message: /option listen/ })
  t.end()
})

t.test('what is wrong with a secret is told without it', (t) => {
  t.equal(parseOpenOptions({ dir: 'x', secret: 'hunter2!' }).secret, 'hunter2!')
  t.equal(parseConnectOptions({ secret: 'hunter2!' }).secret, 'hunter2!')
  for (const secret of ['hunter2', '', 20_251_127, { word: 'hunter2' }, ['hunter2']]) {
    const bad = { dir: 'x', secret } as object
    for (const parse of [() => parseOpenOptions(bad), () => parseConnectOptions(bad)]) {
      t.throws(parse, { code: 'QUIRE_BAD_OPTION', facts: { option: 'secret' } })
      try {
        parse()
      } catch (error) {
        t.notMatch(`${String(error)}${JSON.stringify(error)}`, /hunter2|2025/)
      }
    }
  }
  t.end()
})

t.test('addresses', (t) => {
  t.same(parseAddress('127.0.0.1:3181'), { host: '127.0.0.1', port: 3181 })
  t.same(parseAddress('[::1]:0'), { host: '::1', port: 0 })
  t.equal(formatAddress({ host: '::1', port: 1 }), '[::1]:1')
  for (const text of ['x', 'x:', ':1', 'x:99999', 'a b:1', '::1:3', 'h:1/x']) {
    t.throws(() => parseAddress(text), { code: 'QUIRE_BAD_OPTION' }, text)
  }
  t.same(parseQuireUri('quire://a:1,b:2'), [
    { host: 'a', port: 1 },
    { host: 'b', port: 2 },
  ])
  t.throws(() => parseQuireUri('http://a:1'), { code: 'QUIRE_BAD_OPTION' })
  t.throws(() => parseQuireUri('zk+hierarchical://a:1/ledgers'), { message: /ZooKeeper/ })
  t.ok(
    ['127.0.0.1', '::1', 'localhost', '127.1.2.3'].every((host) => isLoopback({ host, port: 1 })),
  )
  t.notOk(['0.0.0.0', '10.0.0.1', 'a.internal', '::'].some((host) => isLoopback({ host, port: 1 })))
  t.end()
})

t.test('every option is documented', (t) => {
  const docs = readFileSync(join(import.meta.dirname, '../../../docs/options.md'), 'utf8')
  t.same(
    optionNames.filter((name) => !docs.includes(`| \`${name}\``)),
    [],
  )
  for (const [name, value] of Object.entries(defaults)) {
    t.match(docs, `| \`${name}\` | ${value} |`, 'with its default')
    if (typeof value === 'number') t.match(name, /(?:Ms|Bytes|BytesMax)$/, 'its unit is its end')
  }
  t.end()
})
