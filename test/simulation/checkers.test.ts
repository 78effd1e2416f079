// The checkers are checked: each takes a good history without a word, and names what is wrong in a
// bad one.
import t from 'tap'
import { QuireError } from '../../src/errors.ts'
import { BookieChecker, type BookieEntry } from './checkers/bookies.ts'
import { CommandChecker } from './checkers/commands.ts'
import { LedgerChecker } from './checkers/ledgers.ts'
import { LogChecker } from './checkers/logs.ts'
import { RegisterChecker } from './checkers/registers.ts'
import { checkError, Report } from '../../src/simulation/report.ts'

const bytes = (name: string): Buffer => Buffer.from(`${name}:`)

/** What a history makes a checker say: the names of invariants, in order, each once. */
function said<C>(make: (report: Report) => C, history: (checker: C) => void): string[] {
  const report = new Report(() => 0)
  history(make(report))
  return [...new Set(report.violations.map(({ checker }) => checker))]
}

/** An entry 3 has a single copy; an entry 2 of ledger 8 belongs to others than have it. */
const holders = (_ledgerId: bigint, entryId: number): string[] =>
  entryId === 3 ? ['a'] : ['a', 'b']
const owners = (ledgerId: bigint, entryId: number): string[] | undefined =>
  ledgerId === 8n && entryId === 2 ? ['b', 'c'] : undefined

const ledgers = (history: (checker: LedgerChecker) => void): string[] =>
  said(
    (report) => new LedgerChecker(report, holders, owners),
    (checker) => {
      checker.created(7n, 2)
      for (const name of ['a', 'b', 'c']) checker.appending(7n, bytes(name))
      history(checker)
    },
  )

const entries = (...names: string[]): Buffer[] => names.map(bytes)

t.test('ledgers', async (t) => {
  t.same(
    ledgers((checker) => {
      checker.acked(7n, 0, bytes('a'))
      checker.confirmed(7n, 'tail', 0)
      checker.read(7n, 0, bytes('a'))
      checker.acked(7n, 1, bytes('b'))
      checker.closed(7n, 1, 'writer')
      checker.closed(7n, 1, 'recoverer')
      checker.confirmed(7n, 'tail', 1)
      checker.final(7n, 1, entries('a', 'b'))
      checker.fragments(7n, [
        { firstEntryId: 0, ensemble: ['a', 'b'] },
        { firstEntryId: 1, ensemble: ['c', 'b', 'a'] },
      ])
    }),
    [],
    'a good one, with an entry of unknown outcome that is not there',
  )
  t.same(
    ledgers((checker) => {
      checker.acked(7n, 0, bytes('a'))
      checker.final(7n, 2, entries('a', 'b', 'c'))
    }),
    [],
    'entries of unknown outcome that are there',
  )
  const bad: [string[], string, (checker: LedgerChecker) => void][] = [
    [['I4'], 'out of order', (c) => c.acked(7n, 1, bytes('b'))],
    [
      ['I4', 'I7'],
      'twice',
      (c) => {
        c.acked(7n, 0, bytes('a'))
        c.acked(7n, 0, bytes('b'))
      },
    ],
    [
      ['I1', 'I6'],
      'an end before what was acknowledged',
      (c) => {
        c.acked(7n, 0, bytes('a'))
        c.acked(7n, 1, bytes('b'))
        c.final(7n, 0, [])
      },
    ],
    [
      ['I3'],
      'acknowledged behind the end',
      (c) => {
        c.closed(7n, -1, 'recoverer')
        c.acked(7n, 0, bytes('a'))
      },
    ],
    [
      ['I2'],
      'two ends',
      (c) => {
        c.closed(7n, -1, 'one')
        c.closed(7n, 0, 'other')
      },
    ],
    [
      ['I5'],
      'a confirmation goes back',
      (c) => {
        c.confirmed(7n, 'tail', 1)
        c.confirmed(7n, 'tail', 0)
      },
    ],
    [['I5'], 'more confirmed than appended', (c) => c.confirmed(7n, 'tail', 4)],
    [
      ['I5'],
      'confirmed with too few copies',
      (c) => {
        c.appending(7n, bytes('x'))
        c.confirmed(7n, 'tail', 3)
      },
    ],
    [
      ['I5'],
      'confirmed, and not in the ledger',
      (c) => {
        c.confirmed(7n, 'tail', 1)
        c.closed(7n, 0, 'recoverer')
      },
    ],
    [['I6'], 'never appended', (c) => c.read(7n, 0, bytes('x'))],
    [['I6'], 'appended too early for its id', (c) => c.read(7n, 2, bytes('a'))],
    [
      ['I7'],
      'two payloads for an id',
      (c) => {
        c.read(7n, 0, bytes('a'))
        c.read(7n, 0, bytes('b'))
      },
    ],
    [
      ['I7'],
      'two ids for a payload',
      (c) => {
        c.read(7n, 0, bytes('c'))
        c.read(7n, 1, bytes('c'))
      },
    ],
    [['I6'], 'fewer delivered than there are', (c) => c.final(7n, 1, entries('a'))],
    [['ids'], 'an id comes twice', (c) => c.created(7n, 2)],
    [
      ['I1'],
      'copies on bookies that the entry does not belong to',
      (c) => {
        c.created(8n, 2)
        for (const name of ['x', 'y', 'z']) c.appending(8n, bytes(name))
        for (const [id, name] of ['x', 'y', 'z'].entries()) c.acked(8n, id, bytes(name))
      },
    ],
    [
      ['I1'],
      'too few copies',
      (c) => {
        for (const name of ['x', 'y']) c.appending(7n, bytes(name))
        for (const [id, name] of ['a', 'b', 'c', 'x'].entries()) c.acked(7n, id, bytes(name))
      },
    ],
    [
      ['I8'],
      'an entry belongs to bookies that never had it',
      (c) => {
        c.acked(7n, 0, bytes('a'))
        c.fragments(7n, [{ firstEntryId: 0, ensemble: ['a', 'c'] }])
      },
    ],
    [
      ['I8'],
      'fragments out of order',
      (c) =>
        c.fragments(7n, [
          { firstEntryId: 0, ensemble: ['a', 'b'] },
          { firstEntryId: 0, ensemble: ['a', 'b'] },
        ]),
    ],
  ]
  for (const [expected, what, history] of bad) t.same(ledgers(history), expected, what)
})

const add = (fields: object = {}) => ({
  bookie: 'a',
  ledgerId: 1n,
  entryId: 0,
  payload: bytes('p'),
  isRecovery: false,
  cameAt: 5,
  at: 8,
  ...fields,
})

t.test('bookies', async (t) => {
  // Of ledger 1, entry 7 was damaged and entry 8 forgotten; ledger 9 is leaving.
  const facts = {
    isLost: ({ entryId }: BookieEntry) => entryId === 7,
    isForgotten: ({ entryId }: BookieEntry) => entryId === 8,
    isLeaving: (ledgerId: bigint) => ledgerId === 9n,
    mayRefuse: (bookie: string) => bookie === 'c',
  }
  const bookies = (history: (checker: BookieChecker) => void): string[] =>
    said((report) => new BookieChecker(report, facts), history)
  t.same(
    bookies((checker) => {
      checker.acked(add())
      checker.fenced({ bookie: 'a', ledgerId: 1n, entryId: -1 }, 6, false)
      checker.acked(add({ entryId: 1, cameAt: 6 }))
      checker.fenced({ bookie: 'a', ledgerId: 1n, entryId: 2 }, 7, true)
      checker.acked(add({ entryId: 2, cameAt: 9, isRecovery: true }))
      checker.final(add(), bytes('p'))
      checker.finalFence('a', 1n, true)
      checker.finalFence('a', 2n, false)
    }),
    [],
  )
  t.same(
    bookies((checker) => {
      checker.denied(add(), 3)
      checker.acked(add())
      checker.denied(add(), 7)
      checker.denied(add({ bookie: 'b' }), 9)
      for (const entryId of [7, 8]) {
        checker.acked(add({ entryId }))
        checker.final(add({ entryId }), undefined)
        checker.final(add({ entryId }), bytes('p'))
      }
      checker.denied(add({ entryId: 8 }), 9)
      checker.acked(add({ ledgerId: 9n }))
      checker.denied(add({ ledgerId: 9n }), 9)
      checker.buried('a', 9n)
      checker.refused('a', new QuireError('QUIRE_DISK_FULL', 'full'))
      checker.refused('c', new QuireError('QUIRE_RANGE_LOST', 'lost'))
    }),
    [],
    'denied before it was acknowledged or where that is no lie, damaged, deleted',
  )
  const bad: [string, string, (checker: BookieChecker) => void][] = [
    [
      'I9',
      'an add after the fence',
      (c) => {
        c.fenced({ bookie: 'a', ledgerId: 1n, entryId: -1 }, 4, false)
        c.acked(add())
      },
    ],
    [
      'I9',
      'a fence that was forgotten',
      (c) => {
        c.fenced({ bookie: 'a', ledgerId: 1n, entryId: -1 }, 4, false)
        c.finalFence('a', 1n, false)
      },
    ],
    [
      'I10',
      'an entry that was absent',
      (c) => {
        c.fenced({ bookie: 'a', ledgerId: 1n, entryId: 0 }, 6, true)
        c.acked(add())
      },
    ],
    [
      'I11',
      'an entry that is gone',
      (c) => {
        c.acked(add())
        c.final(add(), undefined)
      },
    ],
    [
      'I11',
      'another entry in its place',
      (c) => {
        c.acked(add())
        c.final(add(), bytes('q'))
      },
    ],
    [
      'I11',
      'an entry that is denied',
      (c) => {
        c.acked(add())
        c.denied(add(), 9)
      },
    ],
    [
      'I11',
      'a damaged entry that reads as another',
      (c) => {
        c.acked(add({ entryId: 7 }))
        c.final(add({ entryId: 7 }), bytes('q'))
      },
    ],
    [
      'I16',
      'a damaged entry that is denied',
      (c) => {
        c.acked(add({ entryId: 7 }))
        c.denied(add({ entryId: 7 }), 9)
      },
    ],
    ['I14', 'a ledger that is named, and buried', (c) => c.buried('a', 1n)],
    [
      'I11',
      'a sound disk that is said to have lost something',
      (c) => c.refused('a', new QuireError('QUIRE_RANGE_LOST', 'lost')),
    ],
    [
      'I7',
      'two payloads on two bookies',
      (c) => {
        c.acked(add())
        c.acked(add({ bookie: 'b', payload: bytes('q') }))
      },
    ],
  ]
  for (const [expected, what, history] of bad) t.same(bookies(history), [expected], what)
})

t.test('logs', async (t) => {
  const logs = (history: (checker: LogChecker) => void): string[] =>
    said(
      (report) => new LogChecker(report, 'orders'),
      (checker) => {
        for (const name of ['a', 'b', 'c']) checker.appending(bytes(name))
        history(checker)
      },
    )
  t.same(
    logs((checker) => {
      checker.acquired(1, 0, 0)
      checker.acked(0, bytes('a'), 1)
      checker.read('r', 0, bytes('a'))
      checker.read('r', 1, bytes('b'))
      checker.refused(bytes('c'))
      checker.acquired(2, 2, 1)
      checker.acked(1, bytes('b'), 1)
      checker.final(0, entries('a', 'b'))
      checker.truncating(1)
      checker.truncated(0)
      checker.final(1, entries('b'))
    }),
    [],
  )
  const bad: [string, string, (checker: LogChecker) => void][] = [
    [
      'log acked',
      'an acknowledged record is gone',
      (c) => {
        c.acked(0, bytes('a'), 1)
        c.final(0, [])
      },
    ],
    [
      'I13',
      'an older owner has something acknowledged behind the beginning of a newer one',
      (c) => {
        c.acquired(1, 0, 0)
        c.acquired(2, 0, 0)
        c.acked(0, bytes('a'), 1)
      },
    ],
    [
      'I13',
      'a newer owner begins before what an older one has had acknowledged',
      (c) => {
        c.acquired(1, 0, 0)
        c.acked(0, bytes('a'), 1)
        c.acquired(2, 0, 0)
      },
    ],
    [
      'log seen',
      'a record that was read is gone',
      (c) => {
        c.read('r', 0, bytes('a'))
        c.final(0, [])
      },
    ],
    [
      'log sequence',
      'two readers differ',
      (c) => {
        c.read('r', 0, bytes('a'))
        c.read('s', 0, bytes('b'))
      },
    ],
    [
      'log dense',
      'a position is skipped',
      (c) => {
        c.read('r', 0, bytes('a'))
        c.read('r', 2, bytes('b'))
      },
    ],
    [
      'log once',
      'a record comes twice',
      (c) => {
        c.read('r', 0, bytes('a'))
        c.read('r', 1, bytes('a'))
      },
    ],
    [
      'log refused',
      'a refused record is there',
      (c) => {
        c.refused(bytes('a'))
        c.read('r', 0, bytes('a'))
      },
    ],
    ['log truncated', 'more is gone than was given back', (c) => c.final(1, entries('b'))],
    ['log content', 'nobody appended it', (c) => c.read('r', 0, bytes('x'))],
    ['log acked', 'an owner begins too early', (c) => c.acquired(2, 3, 4)],
    [
      'log epochs',
      'two owners of one epoch',
      (c) => {
        c.acquired(2, 0, 0)
        c.acquired(2, 0, 0)
      },
    ],
  ]
  for (const [expected, what, history] of bad) t.same(logs(history), [expected], what)
})

t.test('commands', async (t) => {
  const commands = (history: (checker: CommandChecker) => void): string[] =>
    said(
      (report) => new CommandChecker(report, 'bank'),
      (checker) => {
        for (const name of ['a', 'b', 'c']) checker.executing(name)
        history(checker)
      },
    )
  t.same(
    commands((checker) => {
      checker.answered('a', 0)
      checker.saw([], 'a replica that is behind')
      checker.saw(['a', 'b'], 'another', 1)
      checker.refused('c')
      checker.answered('b', 1)
      checker.final(['a', 'b'])
    }),
    [],
  )
  const bad: [string[], string, (checker: CommandChecker) => void][] = [
    [
      ['command lost'],
      'an answered command is gone',
      (c) => {
        c.answered('a', 0)
        c.final([])
      },
    ],
    [['exactly once'], 'a command took effect twice', (c) => c.saw(['a', 'b', 'a'], 'r')],
    [
      ['state equality'],
      'two replicas differ',
      (c) => {
        c.saw(['a', 'b'], 'r')
        c.saw(['b'], 's')
      },
    ],
    [
      ['command place'],
      'another answer than effect',
      (c) => {
        c.answered('a', 1)
        c.saw(['a'], 'r')
      },
    ],
    [
      ['command place'],
      'another effect than answer',
      (c) => {
        c.saw(['a'], 'r')
        c.answered('b', 0)
      },
    ],
    [
      ['linearizable'],
      'a question does not see what was answered',
      (c) => {
        c.answered('a', 0)
        c.saw([], 'r', 1)
      },
    ],
    [
      ['command refused'],
      'a refused command took effect',
      (c) => {
        c.refused('a')
        c.saw(['a'], 'r')
      },
    ],
    [['command content'], 'nobody executed it', (c) => c.saw(['x'], 'r')],
    [
      ['command lost'],
      'a state that was seen is gone',
      (c) => {
        c.saw(['a', 'b'], 'r')
        c.final(['a'])
      },
    ],
  ]
  for (const [expected, what, history] of bad) t.same(commands(history), expected, what)
})

t.test('registers', async (t) => {
  const registers = (history: (checker: RegisterChecker) => void): string[] =>
    said(
      (report) => new RegisterChecker(report),
      (checker) => {
        for (const value of ['x', 'y', 'z']) checker.writing('/r', value)
        checker.written('/r', 'x', { named: -1, made: 0 })
        history(checker)
      },
    )
  const mine = { session: 's', known: -1 }
  t.same(
    registers((checker) => {
      const watch = { called: false }
      checker.read('/r', { value: 'x', version: 0 }, { ...mine, watch })
      checker.written('/r', 'y', { named: 0, made: 1 })
      checker.read('/r', { value: 'x', version: 0 }, mine)
      checker.refused('/r', 'z')
      watch.called = true
      checker.read('/r', { value: 'y', version: 1 }, { session: 's', known: 1 })
      checker.final('/r', 'y', 1)
    }),
    [],
  )
  const bad: [string, string, (checker: RegisterChecker) => void][] = [
    [
      'register version',
      'a version is skipped',
      (c) => c.written('/r', 'y', { named: 0, made: 2 }),
    ],
    ['register value', 'two values', (c) => c.read('/r', { value: 'y', version: 0 }, mine)],
    [
      'register refused',
      'a refused write is there',
      (c) => {
        c.refused('/r', 'y')
        c.read('/r', { value: 'y', version: 1 }, mine)
      },
    ],
    [
      'register refused',
      'a write that is there is refused',
      (c) => {
        c.read('/r', { value: 'y', version: 1 }, mine)
        c.refused('/r', 'y')
      },
    ],
    [
      'register linearizable',
      'a read is behind',
      (c) => {
        c.written('/r', 'y', { named: 0, made: 1 })
        c.read('/r', { value: 'x', version: 0 }, { session: 's', known: 1 })
      },
    ],
    [
      'register session',
      'a session goes back',
      (c) => {
        c.read('/r', { value: 'y', version: 1 }, mine)
        c.read('/r', { value: 'x', version: 0 }, mine)
      },
    ],
    [
      'register watch',
      'a watch is silent',
      (c) => {
        c.read('/r', { value: 'x', version: 0 }, { ...mine, watch: { called: false } })
        c.read('/r', { value: 'y', version: 1 }, mine)
      },
    ],
    [
      'register lost',
      'a version is gone',
      (c) => {
        c.written('/r', 'y', { named: 0, made: 1 })
        c.final('/r', 'x', 0)
      },
    ],
  ]
  for (const [expected, what, history] of bad) t.same(registers(history), [expected], what)
})

t.test('errors: those that faults explain, and those that nothing explains', async (t) => {
  const errors = (error: unknown): string[] =>
    said(
      (report) => report,
      (report) => checkError(report, error, 'a call'),
    )
  t.same(errors(new QuireError('QUIRE_TIMEOUT', 'late')), [])
  t.same(errors(new QuireError('QUIRE_INVARIANT', 'broken')), ['errors'])
  t.same(errors(new TypeError('undefined is no function')), ['errors'])
})
