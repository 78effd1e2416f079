// Members of a group on simulated disks and networks: what the shell around the Raft core owes.
import t from 'tap'
import type { Test } from 'tap'
import { QuireError } from '../../../../src/errors.ts'
import type { Member } from '../../../../src/metadata/raft/member.ts'
import { createTraceLogger, SimulatedGroup, World } from '../../../../src/simulation/index.ts'
import { encodeConnectRequest } from '../../../../src/wire/metadata-codec.ts'
import { encodeMessage } from '../../../../src/metadata/raft/message-codec.ts'
import {
  decodePeerWelcome,
  encodePeerFrame,
  encodePeerHello,
  peerSeed,
  peerVersion,
} from '../../../../src/wire/peer-frames.ts'
import { createSimulatedIo } from '../../../../src/simulation/index.ts'

const password = Buffer.alloc(16)

interface Scene {
  readonly world: World
  readonly group: SimulatedGroup
}

function sceneOf(
  t: Test,
  options: { machines?: readonly string[]; keepEntries?: number } = {},
): Scene {
  const world = new World({ seed: t.name })
  const { machines = ['a', 'b', 'c'], keepEntries } = options
  const group = new SimulatedGroup({
    world,
    machines,
    founders: 3,
    logger: (machine) => createTraceLogger(machine, world),
    member: { tickMs: 10, keepEntries },
    restartMs: [50, 60],
  })
  for (const operator of group.operators) operator.start()
  return { world, group }
}

/** Lets the world go on until it is so. */
async function until(world: World, isSo: () => boolean): Promise<void> {
  for (let left = 4000; left > 0; left--) {
    if (isSo()) return
    await world.run(10)
  }
  throw new Error('it never became so')
}

async function leaderOf({ world, group }: Scene, but?: Member): Promise<Member> {
  const ready = () => group.members.find((member) => member !== but && member.driver.status.ready)
  await until(world, () => ready() !== undefined)
  const leader = ready()
  if (!leader) throw new Error('nobody leads')
  return leader
}

const create = (path: string) =>
  ({ type: 'create', path, data: Buffer.from(path), mode: 'persistent', ttlMs: 0 }) as const

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'no error'
  } catch (error) {
    return QuireError.is(error) ? error.code : String(error)
  }
}

async function session(scene: Scene, leader: Member): Promise<bigint> {
  return scene.world.settle(leader.tree.openSession({ timeoutMs: 10_000, password }))
}

t.test('what one member writes all read, also those that come back', async (t) => {
  const scene = sceneOf(t)
  const { world, group } = scene
  const leader = await leaderOf(scene)
  const sessionId = await session(scene, leader)
  await world.settle(leader.tree.write({ sessionId }, create('/a')))
  for (const { tree } of group.members) {
    const { data } = await world.settle(tree.get('/a', { linearizable: true }))
    t.equal(Buffer.from(data).toString(), '/a')
  }
  for (const operator of group.operators) operator.cutPower('none')
  const next = await leaderOf(scene)
  t.equal(next.identity.incarnation, 2, 'starts are counted')
  const { id } = next.identity
  await until(world, () => {
    const known = group.members.filter(({ driver }) => driver.status.leader === id)
    return known.length === 3
  })
  for (const { tree } of group.members) {
    const { data } = await world.settle(tree.get('/a', { linearizable: true }))
    t.equal(Buffer.from(data).toString(), '/a')
    t.same(
      (await tree.sessions()).map((each) => each.sessionId),
      [sessionId],
    )
  }
})

t.test('F3.76 a request that comes again gets the answer of the first time', async (t) => {
  const scene = sceneOf(t)
  const { world } = scene
  const leader = await leaderOf(scene)
  const sessionId = await session(scene, leader)
  const request = { sessionId, requestId: 1, answeredUpTo: 0 }
  const [first] = await world.settle(leader.tree.write(request, create('/a')))
  scene.group.operator(scene.group.machineOf(leader.identity.id)).kill()
  const next = await leaderOf(scene, leader)
  const [again] = await world.settle(next.tree.write(request, create('/a')))
  t.same(again, first)
})

t.test('only the leader takes changes; another says who leads', async (t) => {
  const scene = sceneOf(t)
  const leader = await leaderOf(scene)
  const other = scene.group.members.find((member) => member !== leader)
  if (!other) throw new Error('there is another')
  const writing = other.tree.openSession({ timeoutMs: 10_000, password })
  await t.rejects(scene.world.settle(writing), {
    code: 'QUIRE_BACKPRESSURE',
    facts: { reason: 'not-leader', leader: leader.identity.id },
  })
})

t.test(
  'F3.31 what a leader was asked when it is cut off is unknown, and read by nobody',
  async (t) => {
    const scene = sceneOf(t)
    const { world, group } = scene
    const leader = await leaderOf(scene)
    const sessionId = await session(scene, leader)
    const machine = group.machineOf(leader.identity.id)
    world.cables.partition(
      [machine],
      group.nodes.filter((name) => name !== machine),
    )
    const write = leader.tree.write({ sessionId }, create('/a'))
    const read = codeOf(leader.tree.get('/none', { linearizable: true }))
    t.equal(await world.settle(codeOf(write)), 'QUIRE_METADATA_UNAVAILABLE')
    t.equal(await world.settle(read), 'QUIRE_METADATA_UNAVAILABLE', 'a read is not answered either')
    t.not(leader.driver.status.role, 'leader', 'it has noticed')
    const next = await leaderOf(scene, leader)
    t.equal(await world.settle(next.tree.exists('/a', { linearizable: true })), undefined)
  },
)

t.test('F3.45 a leader whose disk hangs gives leadership up', async (t) => {
  const scene = sceneOf(t)
  const { world, group } = scene
  const leader = await leaderOf(scene)
  const sessionId = await session(scene, leader)
  const { diskFaults } = world.node(group.machineOf(leader.identity.id))
  diskFaults.stalledUntilMs = Infinity
  const write = codeOf(leader.tree.write({ sessionId }, create('/a')))
  const next = await leaderOf(scene, leader)
  await until(world, () => leader.driver.status.role !== 'leader')
  await world.settle(next.tree.write({ sessionId }, create('/b')))
  diskFaults.stalledUntilMs = 0
  t.match(await world.settle(write), /QUIRE_METADATA_UNAVAILABLE|no error/)
  await until(world, () => leader.driver.status.applied === next.driver.status.applied)
  t.ok(await world.settle(leader.tree.exists('/b', {})))
})

t.test(
  'F3.49 a leader whose disk is full gives leadership up, and comes back with room',
  async (t) => {
    const scene = sceneOf(t)
    const { world, group } = scene
    const leader = await leaderOf(scene)
    const sessionId = await session(scene, leader)
    const { disk } = world.node(group.machineOf(leader.identity.id))
    disk.capacityBytes = disk.usedBytes()
    const write = codeOf(leader.tree.write({ sessionId }, create('/a')))
    const next = await leaderOf(scene, leader)
    await world.settle(next.tree.write({ sessionId }, create('/b')))
    await world.settle(write)
    disk.capacityBytes = 2 ** 30
    await until(world, () => leader.driver.status.applied === next.driver.status.applied)
    t.ok(await world.settle(leader.tree.exists('/b', {})))
    t.equal(
      group.operator(group.machineOf(leader.identity.id)).refusals.length,
      0,
      'it never ended',
    )
  },
)

t.test(
  'F3.43 a failed sync ends the member, and nothing it was asked is told as done',
  async (t) => {
    const scene = sceneOf(t)
    const { world, group } = scene
    const leader = await leaderOf(scene)
    const sessionId = await session(scene, leader)
    world.node(group.machineOf(leader.identity.id)).diskFaults.next.push({ kind: 'sync' })
    const write = codeOf(leader.tree.write({ sessionId }, create('/a')))
    t.equal(await world.settle(write), 'QUIRE_METADATA_UNAVAILABLE')
    t.ok(QuireError.is(await world.settle(leader.failed), 'QUIRE_FSYNC_FAILED'))
    t.ok(await leaderOf(scene, leader))
  },
)

t.test('one that was away for long is sent the tree; the log stays short', async (t) => {
  const scene = sceneOf(t, { keepEntries: 3 })
  const { world, group } = scene
  const leader = await leaderOf(scene)
  const sessionId = await session(scene, leader)
  const away = group.operators.find(({ node }) => node !== leader)
  const machine = away?.name ?? ''
  world.cables.partition(
    [machine],
    group.nodes.filter((name) => name !== machine),
  )
  for (let n = 0; n < 20; n++)
    await world.settle(leader.tree.write({ sessionId }, create(`/n${n}`)))
  const late = away?.node
  if (!away || !late) throw new Error('one is away')
  world.cables.heal()
  await until(world, () => late.driver.status.applied === leader.driver.status.applied)
  t.ok(await world.settle(late.tree.exists('/n0', {})))
  t.same(
    (await late.tree.sessions()).map((each) => each.sessionId),
    [sessionId],
  )
  away.kill()
  await until(world, () => away.node?.driver.status.applied === leader.driver.status.applied)
  const again = away.node ?? late
  t.not(again, late, 'started again')
  t.ok(await world.settle(again.tree.exists('/n19', {})))
})

t.test('a machine joins as a learner, becomes a voter, and another leaves', async (t) => {
  const scene = sceneOf(t, { machines: ['a', 'b', 'c', 'd'], keepEntries: 2 })
  const { world, group } = scene
  const leader = await leaderOf(scene)
  const change = async (kind: 'learner' | 'voter' | 'remove', node: string): Promise<string> => {
    const outcome = await world.settle(leader.driver.change([{ kind, node }]))
    return outcome.type === 'refused' ? outcome.reason : outcome.type
  }
  t.equal(await change('voter', 'd-0'), 'bad-change', 'a voter was a learner before')
  t.equal(await change('learner', 'd-0'), 'applied')
  await until(world, () =>
    leader.driver.status.members.some(({ id, caughtUp }) => id === 'd-0' && caughtUp),
  )
  t.equal(await change('voter', 'd-0'), 'applied')
  const gone = ['a-0', 'b-0', 'c-0'].find((id) => id !== leader.identity.id) ?? ''
  t.equal(await change('remove', gone), 'applied')
  const expected = ['a-0', 'b-0', 'c-0', 'd-0'].filter((id) => id !== gone)
  t.same([...leader.driver.status.configuration.voters].sort(), expected)
  t.equal(await change('learner', gone), 'bad-change', 'an id does not come back')
  for (const operator of group.operators) operator.cutPower('none')
  const next = await leaderOf(scene)
  t.same([...next.driver.status.configuration.voters].sort(), expected, 'also after a start')
})

t.test('leadership is handed over', async (t) => {
  const scene = sceneOf(t)
  const leader = await leaderOf(scene)
  const target = scene.group.members.find((member) => member !== leader)
  leader.driver.transfer(target?.identity.id ?? '')
  await until(scene.world, () => target?.driver.status.ready === true)
  t.not(leader.driver.status.role, 'leader')
})

t.test('F3.44 a damaged log is not a log: its node does not begin', async (t) => {
  const scene = sceneOf(t)
  const { world, group } = scene
  const leader = await leaderOf(scene)
  await session(scene, leader)
  const other = group.operators.find(({ node }) => node !== leader)
  await until(world, () => other?.node?.driver.status.applied === leader.driver.status.applied)
  t.ok(group.damage(other?.name ?? ''), 'something was there')
  await until(world, () => (other?.refusals.length ?? 0) > 2)
  t.ok(other?.refusals.every(({ error }) => QuireError.is(error, 'QUIRE_BAD_METADATA')))
  t.equal(other?.node, undefined)
})

t.test('F3.80 who is not a peer of this group is told so, or is cut off', async (t) => {
  const scene = sceneOf(t)
  const { world, group } = scene
  await leaderOf(scene)
  const io = createSimulatedIo(world, 'stranger')
  const said = {
    version: peerVersion,
    clusterId: 'simulated',
    from: 'b-0',
    to: 'a-0',
    incarnation: 9,
    host: '',
    port: 0,
  }
  const ask = async (bytes: Buffer): Promise<string> => {
    const connection = await io.network.connect({ host: 'a', port: 3181 }, { timeoutMs: 1000 })
    const { promise, resolve } = Promise.withResolvers<string>()
    const parts: Buffer[] = []
    connection.start({
      data(chunk) {
        parts.push(chunk)
        const all = Buffer.concat(parts)
        if (all.length < 4 || all.length < 4 + all.readUInt32BE(0)) return
        resolve(decodePeerWelcome(all.subarray(4)).status)
      },
      drain() {},
      close: () => resolve('cut off'),
    })
    connection.write(bytes)
    const answer = await promise
    connection.destroy()
    return answer
  }
  const answers: Record<string, Buffer> = {
    cluster: encodePeerHello({ ...said, clusterId: 'another' }),
    node: encodePeerHello({ ...said, to: 'c-0' }),
    version: encodePeerHello({ ...said, version: 0x0200 }),
    ok: encodePeerHello(said),
    'cut off': encodeConnectRequest({
      version: 0x0100,
      sessionId: 0n,
      password,
      timeoutMs: 1000,
      lastZxid: 0,
      instanceId: '',
    }),
  }
  for (const [expected, bytes] of Object.entries(answers)) {
    t.equal(await world.settle(ask(bytes)), expected)
  }
  t.equal(await world.settle(ask(encodePeerHello({ ...said, incarnation: 8 }))), 'incarnation')
  const long = Buffer.alloc(2000)
  long.writeUInt32BE(0xffff_ffff, 0)
  t.equal(await world.settle(ask(long)), 'cut off', 'a length of 4 GiB')
  t.equal(group.members.length, 3, 'nobody minds')
})

t.test('F3.32 a change that comes twice, also over two leaders, is made once', async (t) => {
  const scene = sceneOf(t)
  const { world } = scene
  const leader = await leaderOf(scene)
  const sessionId = await session(scene, leader)
  const request = { sessionId, requestId: 1, answeredUpTo: 0 }
  const next = { ...create('/s-'), mode: 'persistent-sequential' } as const
  const both = [leader.tree.write(request, next), leader.tree.write(request, next)]
  const [first, second] = await world.settle(Promise.all(both))
  t.same(first, second, 'one answer')
  const target = scene.group.members.find((member) => member !== leader)
  leader.driver.transfer(target?.identity.id ?? '')
  await until(world, () => target?.driver.status.ready === true)
  t.same(await world.settle(target?.tree.write(request, next) ?? Promise.reject()), first)
  const { names } = await world.settle(leader.tree.children('/', { linearizable: true }))
  t.same(names, ['s-0000000000'])
})

t.test('F3.38 a confirmed read waits until this node has applied what it must see', async (t) => {
  const scene = sceneOf(t)
  const { world, group } = scene
  const leader = await leaderOf(scene)
  const sessionId = await session(scene, leader)
  const other = group.operators.find(({ node }) => node !== leader)
  const late = other?.node
  if (!other || !late) throw new Error('there is another')
  const { diskFaults } = world.node(other.name)
  diskFaults.stalledUntilMs = Infinity
  await world.settle(leader.tree.write({ sessionId }, create('/a')))
  const read = late.tree.get('/a', { linearizable: true })
  const done = await Promise.race([read.then(() => 'read'), world.run(3000).then(() => 'waits')])
  t.equal(done, 'waits')
  diskFaults.stalledUntilMs = 0
  t.equal(Buffer.from((await world.settle(read)).data).toString(), '/a')
})

t.test(
  'F3.48 one that stood still hears first what came meanwhile, and does not campaign',
  async (t) => {
    const scene = sceneOf(t)
    const { world, group } = scene
    const leader = await leaderOf(scene)
    const { term } = leader.driver.status
    const other = group.operators.find(({ node }) => node !== leader)
    if (!other) throw new Error('there is another')
    for (let round = 0; round < 5; round++) {
      world.pause(other.name, 10_000)
      await world.run(15_000)
    }
    t.equal(leader.driver.status.role, 'leader')
    t.equal(leader.driver.status.term, term, 'nobody else was elected')
    t.equal(other.node?.driver.status.leader, leader.identity.id)
    t.equal(other.node?.driver.status.term, term)
  },
)

t.test(
  'F3.52 whenever a node dies while it installs a snapshot, it has the old tree or the new',
  async (t) => {
    const scene = sceneOf(t, { keepEntries: 3 })
    const { world, group } = scene
    const leader = await leaderOf(scene)
    const sessionId = await session(scene, leader)
    const away = group.operators.find(({ node }) => node !== leader)
    if (!away) throw new Error('there is another')
    let installs = 0
    for (let round = 0; round < 12; round++) {
      const others = group.nodes.filter((name) => name !== away.name)
      world.cables.partition([away.name], others)
      for (let n = 0; n < 8; n++) {
        await world.settle(leader.tree.write({ sessionId }, create(`/r${round}-${n}`)))
      }
      const before = away.node?.driver.status.applied ?? 0
      world.cables.heal()
      await world.run(20 + round * 17)
      installs += (away.node?.driver.status.applied ?? 0) > before ? 1 : 0
      away.cutPower(round % 2 === 0 ? 'none' : 'any')
      await until(world, () => away.node?.driver.status.applied === leader.driver.status.applied)
      const names = (await world.settle(away.node?.tree.children('/', {}) ?? Promise.reject()))
        .names
      t.equal(names.length, 8 * (round + 1), `round ${round}: all of it`)
    }
    t.ok(installs > 0, 'some were cut before it was done, some behind')
    t.equal(away.refusals.length, 0)
  },
)

t.test(
  'F3.51 a snapshot has the sessions, what they were answered, and who takes part',
  async (t) => {
    const scene = sceneOf(t, { machines: ['a', 'b', 'c', 'd'], keepEntries: 2 })
    const { world, group } = scene
    const leader = await leaderOf(scene)
    const sessionId = await session(scene, leader)
    const request = { sessionId, requestId: 1, answeredUpTo: 0 }
    const first = await world.settle(leader.tree.write(request, create('/once')))
    for (let n = 0; n < 12; n++)
      await world.settle(leader.tree.write({ sessionId }, create(`/n${n}`)))
    await world.settle(leader.driver.change([{ kind: 'learner', node: 'd-0' }]))
    const joined = group.operator('d')
    await until(world, () => joined.node?.driver.status.applied === leader.driver.status.applied)
    await until(world, () =>
      leader.driver.status.members.some(({ id, caughtUp }) => id === 'd-0' && caughtUp),
    )
    await world.settle(leader.driver.change([{ kind: 'voter', node: 'd-0' }]))
    t.ok(joined.node?.driver.status.configuration.voters.includes('d-0'))
    leader.driver.transfer('d-0')
    await until(world, () => joined.node?.driver.status.ready === true)
    const again = await world.settle(
      joined.node?.tree.write(request, create('/once')) ?? Promise.reject(),
    )
    t.same(again, first, 'the answer of the first time, from one that only saw a snapshot')
  },
)

t.test(
  'F3.18 a frame that is damaged, or of another conversation, ends the connection',
  async (t) => {
    const scene = sceneOf(t)
    const { world, group } = scene
    const leader = await leaderOf(scene)
    const io = createSimulatedIo(world, 'stranger')
    const target = group.machineOf(leader.identity.id)
    const names = { clusterId: 'simulated', from: 'x-0', to: leader.identity.id }
    const hello = encodePeerHello({
      version: peerVersion,
      ...names,
      incarnation: 1,
      host: '',
      port: 0,
    })
    const { term } = leader.driver.status
    const heartbeat = encodeMessage({
      type: 'heartbeat',
      from: 'x-0',
      to: leader.identity.id,
      term: Number.MAX_SAFE_INTEGER,
      commit: 0,
      round: 1,
    })
    const say = async (frame: Buffer): Promise<boolean> => {
      const connection = await io.network.connect({ host: target, port: 3181 }, { timeoutMs: 1000 })
      let isEnded = false
      connection.start({ data() {}, drain() {}, close: () => (isEnded = true) })
      connection.write(hello)
      await world.pass(100)
      connection.write(frame)
      await world.pass(100)
      const ended = isEnded
      connection.destroy()
      return ended
    }
    const good = encodePeerFrame(heartbeat, peerSeed(hello.subarray(4)))
    const damaged = Buffer.from(good)
    damaged.writeUInt8(damaged.readUInt8(12) ^ 1, 12)
    t.equal(await world.settle(say(damaged)), true, 'damaged')
    t.equal(await world.settle(say(encodePeerFrame(heartbeat, 7))), true, 'of another conversation')
    t.equal(leader.driver.status.term, term, 'a term without end was not believed')
    t.equal(leader.driver.status.role, 'leader')
  },
)

t.test('F3.79 a command of a later version stops the member, and is not passed over', async (t) => {
  const scene = sceneOf(t)
  const { world, group } = scene
  const leader = await leaderOf(scene)
  void leader.driver.propose(Buffer.from([250, 1, 2, 3]))
  const why = await world.settle(leader.failed)
  t.ok(QuireError.is(why, 'QUIRE_UNSUPPORTED'), String(why))
  await until(world, () => group.operators.every(({ refusals }) => refusals.length > 0))
  t.ok(
    group.operators.every(({ refusals }) => QuireError.is(refusals[0]?.error, 'QUIRE_UNSUPPORTED')),
    'each of them, also after a start',
  )
})
