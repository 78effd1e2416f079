import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { isLoopback, parseAddress } from '../../../src/embedded/address.ts'
import { parseMetadataUri } from '../../../src/embedded/metadata-place.ts'
import { newBookieId } from '../../../src/embedded/node/bookie-id.ts'
import {
  defaults,
  optionNames,
  parseConnectOptions,
  parseOpenOptions,
} from '../../../src/embedded/options.ts'
import { formatAddress } from '../../../src/io/address.ts'
import { random } from '../../../src/io/real/random.ts'

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
  t.ok(
    ['127.0.0.1', '::1', 'localhost', '127.1.2.3'].every((host) => isLoopback({ host, port: 1 })),
  )
  t.notOk(['0.0.0.0', '10.0.0.1', 'a.internal', '::'].some((host) => isLoopback({ host, port: 1 })))
  t.end()
})

t.test('where metadata is', (t) => {
  const a1b2 = [
    { host: 'a', port: 1 },
    { host: 'b', port: 2 },
  ]
  const quire = { type: 'quire', addresses: a1b2, cluster: {} }
  t.same(parseMetadataUri('quire://a:1,b:2'), quire)
  t.same(parseMetadataUri('quire://a:1;b:2/'), quire)
  const root = '/ledgers'
  const zooKeeper = (uri: string, cluster: object, addresses: object = a1b2): void =>
    void t.same(parseMetadataUri(uri), { type: 'zookeeper', addresses, cluster }, uri)
  zooKeeper('zk+hierarchical://a:1;b:2/ledgers', { root, layout: 'hierarchical' })
  zooKeeper('ZK+HIERARCHICAL://a:1,b:2/ledgers', { root, layout: 'hierarchical' })
  zooKeeper('zk+longhierarchical://a:1,b:2/x/y', { root: '/x/y', layout: 'longhierarchical' })
  zooKeeper('zk+flat+more://a:1,b:2/ledgers', { root, layout: 'flat' })
  zooKeeper('zk+null://a:1,b:2/ledgers', { root, layout: undefined })
  zooKeeper('zk://a:1,b:2/ledgers', { root, layout: undefined })
  zooKeeper('zk://a;[::1]:2/ledgers', { root, layout: undefined }, [
    { host: 'a', port: 2181 },
    { host: '::1', port: 2 },
  ])
  zooKeeper('zk://[::1]/ledgers', { root, layout: undefined }, [{ host: '::1', port: 2181 }])
  for (const uri of [
    'http://a:1',
    'a:1',
    'quire://',
    'quire://a',
    'zk:///ledgers',
    'zk://a:1',
    'zk://a:1/',
    'zk://a:1/ledgers/',
    'zk://a:1//ledgers',
    'zk+legacyhierarchical://a:1/ledgers',
    'zk+://a:1/ledgers',
    'zk://::1/ledgers',
  ]) {
    t.throws(() => parseMetadataUri(uri), { code: 'QUIRE_BAD_OPTION' }, uri)
  }
  t.throws(() => parseMetadataUri('zk+ms://a:1/ledgers'), { code: 'QUIRE_UNSUPPORTED' })
  t.end()
})

t.test('the id of a new bookie', (t) => {
  const newId = (metadata: string | undefined, listen: string): string =>
    newBookieId({ metadata, listen }, random)
  t.match(newId(undefined, '127.0.0.1:0'), /^quire-[0-9a-f]{16}$/)
  t.match(newId('quire://a:1', '127.0.0.1:1'), /^quire-/)
  t.equal(newId('zk://a:1/ledgers', '10.0.0.1:3181'), '10.0.0.1:3181')
  for (const listen of ['127.0.0.1:0', '0.0.0.0:3181', '[::1]:3181']) {
    const facts = { option: 'listen' }
    t.throws(() => newId('zk://a:1/ledgers', listen), { code: 'QUIRE_BAD_OPTION', facts }, listen)
  }
  for (const bookieId of ['', 'a/b', 'READONLY', 'a b', 'a@b']) {
    const options = { dir: '/a', bookieId }
    t.throws(() => parseOpenOptions(options), { message: /option bookieId/ }, bookieId)
  }
  t.equal(parseOpenOptions({ dir: '/a', bookieId: 'b-1' }).bookieId, 'b-1')
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
