// Three machines on one: a network namespace and a small disk for each, on a bridge that the trial
// is on too. What befalls a machine befalls it here: its cable is pulled, its disk is full. Needs
// root and iproute2; leaves nothing behind when it is closed.
import { execFile, execFileSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

export interface Machine {
  readonly name: string
  /** Of its own disk, which holds `diskBytes`. */
  readonly directory: string
  /** HOST:PORT. */
  readonly listen: string
  /** A command that runs another one on it. */
  readonly on: readonly string[]
  /** Nothing reaches it any more, and nothing leaves it. */
  unplug(): void
  plug(): void
  /** Takes all the room that its disk has left. */
  fill(): Promise<void>
  empty(): void
}

export interface Place {
  readonly machines: readonly Machine[]
  close(): void
}

const diskBytes = 1_073_741_824
const port = 3181
const run = (command: string, ...args: string[]): string =>
  execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })

/** Undoes in the other direction what was done. */
class Undo {
  readonly #steps: (() => unknown)[] = []

  add(step: () => unknown): void {
    this.#steps.push(step)
  }

  run(): void {
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try {
        step()
      } catch (error) {
        process.stderr.write(`${String(error)}\n`)
      }
    }
  }
}

export function createPlace(directory: string, count: number): Place {
  const undo = new Undo()
  // Of this process: several trials may run at once, each on addresses of its own.
  const id = process.pid % 60_000
  const bridge = `qb${id}`
  const network = `10.${100 + Math.floor(id / 250)}.${id % 250}`
  try {
    run('ip', 'link', 'add', bridge, 'type', 'bridge')
    undo.add(() => run('ip', 'link', 'delete', bridge))
    run('ip', 'address', 'add', `${network}.254/24`, 'dev', bridge)
    run('ip', 'link', 'set', bridge, 'up')
    const machines = Array.from({ length: count }, (_, index) => {
      const host = `${network}.${index + 1}`
      const name = `q${id}-${index}`
      return createMachine(
        { name, host, bridge, directory: join(directory, `node-${index}`) },
        undo,
      )
    })
    return { machines, close: () => undo.run() }
  } catch (error) {
    undo.run()
    throw new Error(`a place for the trial cannot be made: it needs root. ${String(error)}`, {
      cause: error,
    })
  }
}

interface MachineParts {
  readonly name: string
  readonly host: string
  readonly bridge: string
  readonly directory: string
}

function createMachine({ name, host, bridge, directory }: MachineParts, undo: Undo): Machine {
  const cable = `v${name}`
  run('ip', 'netns', 'add', name)
  undo.add(() => run('ip', 'netns', 'delete', name))
  run('ip', 'link', 'add', cable, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
  run('ip', 'link', 'set', cable, 'master', bridge, 'up')
  const on = ['ip', 'netns', 'exec', name]
  run('ip', '-n', name, 'address', 'add', `${host}/24`, 'dev', 'eth0')
  for (const device of ['lo', 'eth0']) run('ip', '-n', name, 'link', 'set', device, 'up')
  mountDisk(directory, undo)
  const fillers = ['filler', 'filler-2'].map((name) => join(directory, name))
  return {
    name,
    directory,
    listen: `${host}:${port}`,
    on,
    unplug: () => void run('ip', 'link', 'set', cable, 'down'),
    plug: () => void run('ip', 'link', 'set', cable, 'up'),
    fill: () => fillUp(directory),
    empty: () => fillers.forEach((filler) => rmSync(filler, { force: true })),
  }
}

/** A file system of its own in a file, so that syncs go to the disk. */
function mountDisk(directory: string, undo: Undo): void {
  const image = `${directory}.image`
  mkdirSync(directory, { recursive: true })
  run('truncate', '-s', String(diskBytes), image)
  run('mkfs.ext4', '-q', '-F', '-m', '0', image)
  run('mount', '-o', 'loop', image, directory)
  undo.add(() => run('umount', '-l', directory))
}

/** In another process: this one goes on meanwhile. */
async function fillUp(path: string): Promise<void> {
  const rest = 'fallocate -l "$(df --output=avail -B1 "$0" | tail -1)" "$0/filler"'
  const last = 'cat /dev/zero > "$0/filler-2" 2> /dev/null'
  await promisify(execFile)('sh', ['-c', `${rest}; ${last}; true`, path])
}
