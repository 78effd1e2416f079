// Clients of a group: each compares-and-sets and reads registers, at any member, and asks again
// under the same number when it was told nothing.

import { QuireError } from '../../../src/errors.ts'
import type { Member } from '../../../src/metadata/raft/member.ts'
import { checkError } from '../../../src/simulation/report.ts'
import type { GroupRun } from './run.ts'
import { registerPaths, type RegisterInput, type RegisterOutput } from './registers.ts'

const password = Buffer.alloc(16)

/** True when the error says that nothing was done. */
const isRefused = (error: unknown): boolean => QuireError.is(error, 'QUIRE_BACKPRESSURE')

export async function useRegister(run: GroupRun, client: number): Promise<void> {
  const { scheduler } = run.world
  let session: bigint | undefined
  let number = 0
  for (let left = 120; left > 0 && !run.stopping; left--) {
    await run.world.pass(scheduler.between([0, 200], 'client'))
    const member = run.someMember()
    if (member === undefined) continue
    session ??= await openSession(run, member)
    if (session === undefined) continue
    const path = registerPaths[run.choose(registerPaths.length)] ?? registerPaths[0]
    const found = await read(run, member, path)
    if (found === undefined || run.choose(3) === 0) continue
    const value = `${client}-${left}`
    number += 1
    await write(run, { member, session, number, path, version: found, value })
  }
}

/** Reads at a leader that has only just begun: it must not answer before it knows everything. */
export async function readOften(run: GroupRun, member: Member): Promise<void> {
  const reads: Promise<unknown>[] = []
  for (let left = 8; left > 0; left--) {
    const path = registerPaths[run.choose(registerPaths.length)] ?? registerPaths[0]
    reads.push(read(run, member, path))
    await run.world.pass(run.world.scheduler.between([0, 4], 'client'))
  }
  await Promise.all(reads)
}

/** Many changes at once that nobody waits for: a leader that is cut off has a long tail of them. */
export async function openSessions(run: GroupRun): Promise<void> {
  const { scheduler } = run.world
  while (!run.stopping) {
    await run.world.pass(scheduler.between([0, 400], 'client'))
    const member = run.someMember()
    if (member === undefined) continue
    const open = () => member.tree.openSession({ timeoutMs: 10_000, password })
    for (let left = 1 + run.choose(6); left > 0; left--) void told(run, member, open)
  }
}

/** Registers are made with the first session: what is there already is left alone. */
async function openSession(run: GroupRun, member: Member): Promise<bigint | undefined> {
  return told(run, member, async () => {
    const sessionId = await member.tree.openSession({ timeoutMs: 10_000, password })
    for (const path of registerPaths) {
      const create = {
        type: 'create',
        path,
        data: Buffer.alloc(0),
        mode: 'persistent',
        ttlMs: 0,
      } as const
      try {
        await member.tree.write({ sessionId }, create)
      } catch (error) {
        if (!QuireError.is(error, 'QUIRE_NODE_EXISTS')) throw error
      }
    }
    return sessionId
  })
}

/** The version that was read; undefined when nothing was. */
async function read(run: GroupRun, member: Member, path: string): Promise<number | undefined> {
  const open = run.histories.called(path, { type: 'read' })
  const found = await told(run, member, () => member.tree.get(path, { linearizable: true }))
  if (found === undefined) {
    run.histories.returned(path, open, undefined)
    return undefined
  }
  const { version } = found.stat
  const value = Buffer.from(found.data).toString()
  run.histories.returned(path, open, { type: 'is', version, value })
  return version
}

interface Write {
  readonly member: Member
  readonly session: bigint
  readonly number: number
  readonly path: string
  readonly version: number
  readonly value: string
}

async function write(run: GroupRun, asked: Write): Promise<void> {
  const { path, version, value } = asked
  const input: RegisterInput = { type: 'set', version, value }
  const open = run.histories.called(path, input)
  let member: Member | undefined = asked.member
  let isTold = true
  for (let tries = 4; tries > 0 && member; tries--) {
    const outcome = await attempt(run, member, asked)
    if (outcome === 'unknown') isTold = false
    else if (outcome !== 'refused') return run.histories.returned(path, open, outcome)
    // What is refused now may have been taken before.
    else if (isTold) return run.histories.returned(path, open, undefined)
    if (run.choose(3) === 0) return
    await run.world.pass(run.choose(500))
    member = run.someMember()
  }
}

async function attempt(
  run: GroupRun,
  member: Member,
  { session: sessionId, number: requestId, path, version, value }: Write,
): Promise<RegisterOutput | 'unknown' | 'refused'> {
  const set = { type: 'set', path, data: Buffer.from(value), version } as const
  const request = { sessionId, requestId, answeredUpTo: requestId - 1 }
  try {
    const results = await run.asked(member, member.tree.write(request, set))
    const result = results?.[0]
    return result?.type === 'set' ? { type: 'is', version: result.stat.version, value } : 'unknown'
  } catch (error) {
    if (QuireError.is(error, 'QUIRE_BAD_VERSION')) return { type: 'bad version' }
    if (isRefused(error)) return 'refused'
    checkError(run.report, error, 'a write')
    return 'unknown'
  }
}

/** Undefined when the member ended, or could not do it. */
async function told<T>(
  run: GroupRun,
  member: Member,
  call: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await run.asked(member, call())
  } catch (error) {
    if (!isRefused(error)) checkError(run.report, error, 'a call')
    return undefined
  }
}
