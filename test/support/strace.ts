// Reads what strace recorded of a process (`-f -yy -xx`): which bytes went to which file or socket,
// which syncs were done, and in what order they began and ended.
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'

export interface SystemCall {
  readonly name: string
  /** Path of the file, or `TCP:[local->peer]`. */
  readonly target: string
  readonly bytes: Buffer
  readonly result: number
  /**
   * Places in the record: one call happened before another when its end is before the other's
   * start.
   */
  readonly start: number
  readonly end: number
}

const traced =
  'read,readv,recvfrom,recvmsg,write,writev,pwrite64,pwritev,' +
  'pwritev2,sendmsg,sendto,fdatasync,fsync'

export const straceArguments = (record: string): string[] => [
  'strace',
  // The tracer stands beside the process, not above it: its id and its signals are the process's
  // own.
  '-D',
  '-f',
  '-yy',
  '-xx',
  '-s',
  '65536',
  '-e',
  `trace=${traced}`,
  '-o',
  record,
]

const whole = /^(\d+) +(\w+)\((.*)\) += (-?\d+)/s
const begun = /^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$/s
const resumed = /^(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)/s
const descriptor = /^\d+<((?:->|[^>])*)>/

export async function* readRecord(path: string): AsyncGenerator<SystemCall> {
  const open = new Map<string, { name: string; text: string; start: number }>()
  let index = 0
  for await (const line of createInterface({ input: createReadStream(path) })) {
    index++
    const start = begun.exec(line)
    if (start) {
      open.set(start[1] ?? '', { name: start[2] ?? '', text: start[3] ?? '', start: index })
      continue
    }
    const rest = resumed.exec(line)
    if (rest) {
      const first = open.get(rest[1] ?? '')
      open.delete(rest[1] ?? '')
      if (!first || first.name !== rest[2]) throw new Error(`line ${index} resumes nothing`)
      const place = { start: first.start, end: index }
      yield parseCall(first.name, first.text + (rest[3] ?? ''), {
        ...place,
        result: Number(rest[4]),
      })
      continue
    }
    const call = whole.exec(line)
    if (call)
      yield parseCall(call[2] ?? '', call[3] ?? '', {
        start: index,
        end: index,
        result: Number(call[4]),
      })
  }
}

function parseCall(
  name: string,
  text: string,
  place: { start: number; end: number; result: number },
): SystemCall {
  const target = unescape(descriptor.exec(text)?.[1] ?? '').toString('utf8')
  const strings = [...text.replace(descriptor, '').matchAll(/"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?/g)]
  // Programs that are loaded and files that are being filled with zeros are longer, and of no
  // interest.
  const matters = /^TCP|\.journal$|\.sqlite(?:-wal)?$/.test(target)
  if (matters && strings.some((match) => match[2]))
    throw new Error(`strace cut what went to ${target}: record with a larger -s`)
  return {
    name,
    target,
    bytes: Buffer.concat(strings.map((match) => unescape(match[1] ?? ''))),
    ...place,
  }
}

function unescape(text: string): Buffer {
  return text.startsWith('\\x') ? Buffer.from(text.replaceAll('\\x', ''), 'hex') : Buffer.from(text)
}

export const isWrite = ({ name }: SystemCall): boolean => /^(?:p?write|send)/.test(name)
export const isRead = ({ name }: SystemCall): boolean => /^(?:read|recv)/.test(name)
export const isSync = ({ name }: SystemCall): boolean => /^f(?:data)?sync$/.test(name)
