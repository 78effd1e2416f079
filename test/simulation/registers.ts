// Clients of the metadata tree itself: compare-and-set on a few nodes, reads, and watches.

import { QuireError } from '../../src/errors.ts'
import type { MetadataSession } from '../../src/metadata/contract.ts'
import type { RegisterChecker } from './checkers/registers.ts'
import { checkError } from '../../src/simulation/report.ts'
import type { Life } from './life.ts'

export const registerPaths = ['/registers/a', '/registers/b'] as const

export async function useRegisters(
  life: Life,
  checker: RegisterChecker,
  open: () => Promise<MetadataSession>,
): Promise<void> {
  await using session = await life.during('a session is opened', open)
  const who = life.unique('session')
  await makeAll(life, checker, session)
  for (let left = 40; left > 0 && !life.stopping; left -= 1) {
    const path = registerPaths[life.choose(registerPaths.length)] ?? registerPaths[0]
    await life.during(`a call on ${path}`, () => use(life, checker, { session, who, path }))
    await life.pause([0, 150])
  }
}

async function makeAll(
  life: Life,
  checker: RegisterChecker,
  session: MetadataSession,
): Promise<void> {
  for (const path of ['/registers', ...registerPaths]) {
    const value = life.unique('V')
    if (path !== '/registers') checker.writing(path, value)
    try {
      await session.create(path, Buffer.from(value))
      if (path !== '/registers') checker.written(path, value, { named: -1, made: 0 })
    } catch (error) {
      if (!QuireError.is(error, 'QUIRE_NODE_EXISTS')) throw error
      if (path !== '/registers') checker.refused(path, value)
    }
  }
}

interface On {
  readonly session: MetadataSession
  readonly who: string
  readonly path: string
}

async function use(life: Life, checker: RegisterChecker, on: On): Promise<void> {
  const linearizable = life.choose(2) === 0
  const found = await read(checker, on, { linearizable, watched: life.choose(4) === 0 })
  if (life.choose(2) === 0) return
  await life.pause([0, 20])
  await write(life, checker, { ...on, named: found.version })
}

async function read(
  checker: RegisterChecker,
  { session, who, path }: On,
  how: { linearizable: boolean; watched: boolean },
): Promise<{ version: number }> {
  const known = how.linearizable ? checker.known(path) : -1
  const watch = how.watched ? { called: false } : undefined
  const call = watch && (() => void (watch.called = true))
  const { data, stat } = await session.get(path, { ...how, watch: call })
  const found = { value: Buffer.from(data).toString(), version: stat.version }
  checker.read(path, found, { session: who, known, watch })
  return found
}

async function write(
  life: Life,
  checker: RegisterChecker,
  { session, path, named }: On & { named: number },
): Promise<void> {
  const value = life.unique('V')
  checker.writing(path, value)
  try {
    const { version } = await session.set(path, Buffer.from(value), named)
    checker.written(path, value, { named, made: version })
  } catch (error) {
    if (QuireError.is(error, 'QUIRE_BAD_VERSION')) checker.refused(path, value)
    checkError(life.report, error, 'a write of the metadata')
  }
}
