// Adding, removing and replacing nodes of a cluster, in the simulated world: what is done is done
// whole, what is refused leaves what it found, and who dies in the middle changes nothing of that.
import t from 'tap'
import {
  addNode,
  removeNode,
  replaceNode,
  transferLeadership,
  type MembershipParts,
  type Step,
} from '../../../src/embedded/operations/membership.ts'
import { bookiesOf } from '../../../src/embedded/operations/copies.ts'
import { lookAround, type View } from '../../../src/embedded/operations/view.ts'
import { withMetadata } from '../../../src/embedded/operations/with-metadata.ts'
import { QuireError } from '../../../src/errors.ts'
import { clusterPort, SimulatedCluster } from '../../../src/simulation/index.ts'
import type { ByteWriter } from '../../../src/wire/bytes.ts'
import { encodeQuestion, inquiryMagic, inquiryVersion } from '../../../src/wire/inquiry-codec.ts'
import { beginSealed, seal } from '../../../src/wire/sealed-frames.ts'
import { names, Scene } from '../../support/group-scene.ts'
import { quiet } from '../../support/quiet.ts'

t.setTimeout(240_000)

class Operations extends Scene {
  /** As from a machine of its own. */
  with(progress?: (step: Step) => void): MembershipParts {
    return { ...this.parts, seeds: names.map((name) => this.address(name)), progress }
  }

  view(): Promise<View> {
    const { seeds, ...parts } = this.with()
    return this.world.settle(lookAround(parts, seeds))
  }

  async configuration() {
    await this.until('a leader', async () => (await this.view()).leader?.status.ready === true)
    const { leader } = await this.view()
    if (!leader) throw new Error('there is one')
    return leader.status.configuration
  }

  async refusal(work: Promise<unknown>): Promise<string> {
    const outcome = await this.world.settle(
      work.then(
        () => 'done',
        (error: unknown) => error,
      ),
    )
    if (QuireError.is(outcome, 'QUIRE_CHANGE_REFUSED')) return String(outcome.facts['reason'])
    return outcome instanceof Error ? outcome.message : String(outcome)
  }

  /** Bytes to the node `a`; resolves to what comes before it ends the connection. */
  async send(bytes: Uint8Array): Promise<Buffer> {
    const { io } = this.parts
    const connection = await this.world.settle(
      io.network.connect(this.address('a'), { timeoutMs: 2000 }),
    )
    const chunks: Buffer[] = []
    const ended = { is: false }
    connection.start({
      data: (chunk) => void chunks.push(Buffer.from(chunk)),
      drain() {},
      close: () => (ended.is = true),
    })
    connection.write(bytes)
    await this.until('the node ends the connection', () => ended.is)
    return Buffer.concat(chunks)
  }

  /** A node that waits to be let in. */
  async waiting(name: string): Promise<SimulatedCluster> {
    const spare = this.spare(name)
    await this.until(`${name} waits`, async () => (await this.ask(name)) !== undefined)
    return spare
  }

  /** Until it is done, repeated by its operator when it fails, while nodes are killed. */
  async underKills(
    work: () => Promise<unknown>,
    isDone: (reason: unknown) => boolean = () => false,
  ): Promise<void> {
    const { world } = this
    const choose = (count: number) => world.scheduler.choose(count, 'test.kills')
    const outcome: { done?: boolean } = {}
    const repeat = async (): Promise<void> => {
      for (; outcome.done !== true; await world.pass(500)) {
        try {
          await work()
          outcome.done = true
        } catch (error) {
          if (!QuireError.is(error)) throw error
          outcome.done = isDone(error.facts['reason'])
        }
      }
    }
    void repeat()
    for (let kills = 0; kills < 3 && outcome.done !== true; kills++) {
      await world.run(choose(2500))
      const view = await this.view().catch(() => undefined)
      const leader = this.nameOf(view?.leader?.said.id) || (names[choose(3)] ?? 'a')
      if (choose(2) === 0) this.cluster.operator(leader).kill()
      else this.cluster.operator(leader).cutPower('none')
    }
    await this.until('it is done', () => outcome.done === true, 120_000)
  }

  nameOf(id: string | undefined): string {
    return names.find((name) => this.cluster.operator(name).node?.id === id) ?? ''
  }
}

async function started(seed: string): Promise<Operations> {
  const scene = new Operations(seed)
  scene.start()
  await scene.ready()
  return scene
}

t.test('a node that waits is let in, as one operation, with progress', async (t) => {
  const scene = await started(t.name)
  const { world } = scene
  const spare = await scene.waiting('d')
  const steps: Step['type'][] = []
  const progress = ({ type }: Step): void => void steps.push(type)
  const added = await world.settle(addNode(scene.with(progress), scene.address('d')))
  const { voters, learners } = await scene.configuration()
  t.ok(voters.includes(added.id))
  t.equal(voters.length, 4)
  t.same(learners, [])
  t.equal(steps[0], 'learner')
  t.ok(steps.includes('catching-up'))
  t.equal(steps.at(-1), 'voter')
  await scene.until('it serves', () => spare.operator('d').node !== undefined)
  t.equal(spare.operator('d').node?.id, added.id, 'under the id that it waited with')
  const again = await world.settle(addNode(scene.with(), scene.address('d')))
  t.equal(again.id, added.id, 'asked for twice it is done once')
  for (const operator of [...scene.cluster.operators, spare.operator('d')])
    operator.cutPower('none')
  await scene.ready()
  await scene.until('it is back', () => spare.operator('d').node?.id === added.id)
  t.equal((await scene.configuration()).voters.length, 4, 'though nobody else lists its address')
})

t.test('with a node missing a fourth is not let in, and nothing has changed', async (t) => {
  const scene = await started(t.name)
  await scene.waiting('d')
  const leader = scene.nameOf((await scene.view()).leader?.said.id)
  const dead = names.find((name) => name !== leader) ?? 'a'
  const before = await scene.configuration()
  scene.cluster.operator(dead).stop()
  await scene.world.run(5000)
  t.equal(await scene.refusal(addNode(scene.with(), scene.address('d'))), 'quorum-at-risk')
  t.same(await scene.configuration(), before)
})

t.test('who is nobody, or of another cluster, is not let in', async (t) => {
  const scene = await started(t.name)
  const { world } = scene
  const peers = [`d:${clusterPort}`]
  const other = new SimulatedCluster({ world, nodes: ['d'], logger: () => quiet, open: { peers } })
  other.operator('d').start()
  await scene.until('another cluster', () => other.operator('d').node !== undefined)
  const before = await scene.configuration()
  t.equal(await scene.refusal(addNode(scene.with(), scene.address('d'))), 'other-cluster')
  t.match(await scene.refusal(addNode(scene.with(), scene.address('z'))), /z:3181|refuse|connect/)
  t.equal(await scene.refusal(removeNode(scene.with(), { node: 'nobody' })), 'unknown-member')
  t.equal(await scene.refusal(transferLeadership(scene.with(), 'nobody')), 'unknown-member')
  t.same(await scene.configuration(), before)
})

t.test('a node that is removed stops with a sentence, and its id never comes back', async (t) => {
  const scene = await started(t.name)
  const { world } = scene
  for (const isLeader of [false, true]) {
    const leader = scene.nameOf((await scene.view()).leader?.said.id)
    const name =
      names.find((each) => (each === leader) === isLeader && scene.cluster.operator(each).node) ??
      ''
    const operator = scene.cluster.operator(name)
    const id = operator.node?.id ?? ''
    const removed = await world.settle(removeNode(scene.with(), { node: id, force: isLeader }))
    t.equal(removed.id, id)
    await scene.until(`${name} stops`, () => operator.refusals.length > 0)
    t.match(operator.refusals.at(-1)?.error, {
      code: 'QUIRE_IDENTITY_MISMATCH',
      message: /was removed from its cluster, and its id never comes back/,
    })
    operator.stop()
    const { voters, retired } = await scene.configuration()
    t.notOk(voters.includes(id), isLeader ? 'the leader' : 'a follower')
    t.ok(retired.includes(id))
    if (isLeader) continue
    const refusals = operator.refusals.length
    operator.start()
    await world.run(10_000)
    t.ok(operator.refusals.length >= refusals)
    t.notOk((await scene.configuration()).voters.includes(id))
    const letIn = () => scene.refusal(addNode(scene.with(), scene.address(name)))
    // While it looks for its leader; then it has ended again.
    await scene.until('it is not let in', async () => (await letIn()) === 'bad-change')
    operator.stop()
    scene.wipe(name)
    operator.start()
    await scene.until('it waits', async () => (await scene.ask(name))?.clusterId === '')
    const added = await world.settle(addNode(scene.with(), scene.address(name)))
    t.not(added.id, id, 'with an empty disk it is another one')
    await scene.until('it serves', () => operator.node !== undefined)
  }
})

t.test('no removal leaves too few nodes, or a ledger with too few copies', async (t) => {
  const scene = await started(t.name)
  const [first] = await scene.ready()
  if (!first) throw new Error('there is one')
  await scene.append(first, 'three copies')
  const leader = scene.nameOf((await scene.view()).leader?.said.id)
  const [dead = '', other = ''] = names.filter((name) => name !== leader)
  const id = scene.cluster.operator(other).node?.id ?? ''
  scene.cluster.operator(dead).stop()
  await scene.world.run(10_000)
  const before = await scene.configuration()
  const refused = await scene.refusal(removeNode(scene.with(), { node: id }))
  t.equal(refused, 'ledgers-at-risk')
  const forced = await scene.refusal(removeNode(scene.with(), { node: id, force: true }))
  t.equal(forced, 'quorum-at-risk')
  t.same(await scene.configuration(), before, 'nothing was changed')
})

t.test('what the metadata knows of a node goes when nothing names it, and only then', async (t) => {
  const scene = await started(t.name)
  const { world } = scene
  const [first] = await scene.ready()
  if (!first) throw new Error('there is one')
  await scene.append(first, 'names all three')
  const leader = scene.nameOf((await scene.view()).leader?.said.id)
  const name = names.find((each) => each !== leader) ?? ''
  const id = scene.cluster.operator(name).node?.id ?? ''
  const named = await scene.refusal(removeNode(scene.with(), { node: id, forget: true }))
  t.equal(named, 'ledgers-name-it')
  t.ok((await scene.configuration()).voters.includes(id), 'and it is still a member')
  const node = scene.cluster.operator(leader).node
  const emptied = async (): Promise<void> => {
    for await (const ledgerId of node?.ledgers.list() ?? []) await node?.ledgers.delete(ledgerId)
  }
  await world.settle(emptied())
  const removed = await world.settle(removeNode(scene.with(), { node: id, forget: true }))
  t.equal(removed.forgotten, true)
  t.equal(removed.lacking.count, 0)
})

t.test(
  'a dead node is replaced by one that waits, and ledgers that lack a copy named',
  async (t) => {
    const scene = await started(t.name)
    const { world } = scene
    const [first] = await scene.ready()
    if (!first) throw new Error('there is one')
    await scene.append(first, 'on all three')
    const leader = scene.nameOf((await scene.view()).leader?.said.id)
    const name = names.find((each) => each !== leader) ?? ''
    const old = scene.cluster.operator(name).node?.id ?? ''
    const alive = await scene.refusal(
      replaceNode(scene.with(), { old, address: scene.address('d') }),
    )
    t.match(alive, /connect|refuse|d:3181/, 'nobody waits there')
    scene.wipe(name)
    await scene.until('it waits', async () => (await scene.ask(name))?.clusterId === '')
    await world.run(5000)
    const address = scene.address(name)
    const replaced = await world.settle(replaceNode(scene.with(), { old: `${name}:3181`, address }))
    t.equal(replaced.old, old, 'named by its address, which is that of the new one too')
    t.ok(replaced.lacking.count > 0)
    t.equal(replaced.lacking.atRisk, 0, 'each has its copies on the other two')
    const { voters, retired } = await scene.configuration()
    t.ok(voters.includes(replaced.id))
    t.ok(retired.includes(old))
    t.equal(voters.length, 3)
    await scene.until('it serves', () => scene.cluster.operator(name).node?.id === replaced.id)
    const again = await world.settle(replaceNode(scene.with(), { old, address }))
    t.equal(again.id, replaced.id, 'asked for twice it is done once')
    const node = scene.cluster.operator(leader).node
    if (!node) throw new Error('it runs')
    t.equal(await scene.append(node, 'goes on'), 1)
  },
)

t.test('an empty disk answers for nothing that was on the one before', async (t) => {
  const scene = await started(t.name)
  const { world } = scene
  const [first] = await scene.ready()
  if (!first) throw new Error('there is one')
  const written = async (): Promise<bigint> => {
    const one = { ensembleSize: 1, writeQuorumSize: 1, ackQuorumSize: 1 }
    const ledger = await first.ledgers.create(one)
    await ledger.append(Buffer.from('on one disk'))
    await ledger.close()
    return ledger.ledgerId
  }
  const ledgerId = await world.settle(written())
  const { seeds, ...parts } = scene.with()
  const bookies = await world.settle(
    withMetadata(parts, seeds, async ({ managers }) =>
      bookiesOf((await managers.ledgers.read(ledgerId)).value),
    ),
  )
  const [old = ''] = bookies
  const name = scene.nameOf(old)
  scene.wipe(name)
  await scene.until('it waits', async () => (await scene.ask(name))?.clusterId === '')
  await world.run(15_000)
  const address = scene.address(name)
  const { lacking } = await world.settle(replaceNode(scene.with(), { old, address }))
  t.match(lacking, { count: 1, atRisk: 1, ledgers: [{ ledgerId, copies: 0 }] }, 'it is named')
  await scene.until('it serves', () => scene.cluster.operator(name).node !== undefined)
  const other = names.find((each) => each !== name) ?? ''
  const node = scene.cluster.operator(other).node
  const read = async (): Promise<void> => {
    const reader = await node?.ledgers.recover(ledgerId)
    for await (const { entryId } of reader?.read({ from: 0, to: 0 }) ?? [])
      t.fail(`read ${entryId}`)
  }
  await t.rejects(
    world.settle(read()),
    { code: 'QUIRE_ENTRY_UNREADABLE' },
    'never that it is absent',
  )
})

t.test('a node whose disks of the bookie alone are lost does not come back', async (t) => {
  const scene = await started(t.name)
  scene.cluster.operator('c').cutPower('none')
  const { disk } = scene.world.node('c')
  for (const path of disk.files()) {
    if (/\/(?:journal|ledgers)\//.test(path)) disk.lose(path)
  }
  await scene.until('it refuses', () => scene.cluster.operator('c').refusals.length > 0)
  t.match(scene.cluster.operator('c').refusals.at(-1)?.error, { code: 'QUIRE_IDENTITY_UNKNOWN' })
})

t.test('a node that runs is not replaced', async (t) => {
  const scene = await started(t.name)
  await scene.waiting('d')
  const old = scene.cluster.operator('b').node?.id ?? ''
  const before = await scene.configuration()
  const address = scene.address('d')
  t.equal(await scene.refusal(replaceNode(scene.with(), { old, address })), 'still-runs')
  t.same(await scene.configuration(), before)
})

t.test('a node that was replaced while it was down stops when it comes back', async (t) => {
  const scene = await started(t.name)
  const { world } = scene
  const leader = scene.nameOf((await scene.view()).leader?.said.id)
  const name = names.find((each) => each !== leader) ?? ''
  const operator = scene.cluster.operator(name)
  const old = operator.node?.id ?? ''
  operator.stop()
  const spare = await scene.waiting('d')
  await world.run(5000)
  const { id } = await world.settle(replaceNode(scene.with(), { old, address: scene.address('d') }))
  await scene.until('the new one serves', () => spare.operator('d').node?.id === id)
  operator.start()
  await scene.until('it stops', () => operator.refusals.length > 0)
  t.equal(operator.node, undefined, 'it has served nothing')
  t.match(operator.refusals[0]?.error, {
    code: 'QUIRE_IDENTITY_MISMATCH',
    message: /was removed from its cluster/,
  })
  t.notOk((await scene.configuration()).voters.includes(old))
})

t.test('leaders that die while a node is let in, or taken out, lose nothing of it', async (t) => {
  for (const kind of ['add', 'remove'] as const) {
    const scene = await started(`${t.name} ${kind}`)
    const leader = scene.nameOf((await scene.view()).leader?.said.id)
    const name = names.find((each) => each !== leader) ?? ''
    const id = scene.cluster.operator(name).node?.id ?? ''
    if (kind === 'add') await scene.waiting('d')
    const work =
      kind === 'add'
        ? () => addNode(scene.with(), scene.address('d'))
        : () => removeNode(scene.with(), { node: id, force: true })
    await scene.underKills(work, (outcome) => kind === 'remove' && outcome === 'unknown-member')
    const { voters, outgoing, learners } = await scene.configuration()
    t.equal(voters.length, kind === 'add' ? 4 : 2)
    t.same([outgoing, learners], [[], []], 'nothing is left half done')
  }
})

t.test('F3.66 leaders that die while a node is replaced lose nothing of it', async (t) => {
  for (let seed = 1; seed <= 3; seed++) {
    const scene = await started(`${t.name} ${seed}`)
    const leader = scene.nameOf((await scene.view()).leader?.said.id)
    const name = names.find((each) => each !== leader) ?? ''
    const old = scene.cluster.operator(name).node?.id ?? ''
    scene.wipe(name)
    await scene.until('it waits', async () => (await scene.ask(name))?.clusterId === '')
    const address = scene.address(name)
    await scene.underKills(() => replaceNode(scene.with(), { old, address }))
    const { voters, outgoing, learners } = await scene.configuration()
    t.equal(voters.length, 3, `seed ${seed}`)
    t.same([outgoing, learners], [[], []], `seed ${seed}: nothing is left half done`)
    t.notOk(voters.includes(old))
    await scene.ready()
  }
})

t.test('leadership is handed to a member that is named', async (t) => {
  const scene = await started(t.name)
  const leader = scene.nameOf((await scene.view()).leader?.said.id)
  const name = names.find((each) => each !== leader) ?? ''
  await scene.world.settle(transferLeadership(scene.with(), `${name}:3181`))
  t.equal(scene.nameOf((await scene.view()).leader?.said.id), name)
})

t.test('garbage in place of a question gets no answer, and changes nothing', async (t) => {
  const scene = await started(t.name)
  const before = await scene.configuration()
  const sealed = (fill: (to: ByteWriter) => ByteWriter): Buffer =>
    seal(fill(beginSealed(inquiryMagic).u16(inquiryVersion)))
  const member = { id: 'x', host: '', port: 0 }
  const tooMany = Array.from({ length: 11 }, () => ({ kind: 'remove', ...member }) as const)
  const long = { type: 'transfer', target: 'x'.repeat(2000) } as const
  const cut = encodeQuestion({ type: 'transfer', target: 'x' }).subarray(0, -1)
  for (const [what, bytes, isAnswered] of [
    ['a question', encodeQuestion({ type: 'who' }), true],
    ['of no kind', sealed((to) => to.u8(99)), false],
    ['another checksum', Buffer.from(sealed((to) => to.u8(1))).fill(7, 8, 12), false],
    ['a change of no kind', sealed((to) => to.u8(2).u32(1).u8(9).utf8('').utf8('').u16(0)), false],
    ['a count beyond all', sealed((to) => to.u8(2).u32(0xffff_ffff)), false],
    ['too many changes', encodeQuestion({ type: 'change', changes: tooMany }), false],
    ['too long', encodeQuestion(long), false],
    ['never ended', cut, false],
  ] as const) {
    const answer = await scene.send(bytes)
    t.equal(answer.length > 0, isAnswered, what)
  }
  t.same(await scene.configuration(), before)
})
