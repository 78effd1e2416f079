// Whole nodes that keep their metadata together, in the simulated world, as directed tests want them.
import { inquire } from '../../src/metadata/raft/founding/inquire.ts'
import type { Node } from '../../src/embedded/open.ts'
import {
  clusterPort,
  createSimulatedIo,
  Disk,
  SimulatedCluster,
  World,
} from '../../src/simulation/index.ts'
import type { OperationParts } from '../../src/embedded/operations/view.ts'
import type { Introduction } from '../../src/wire/inquiry-codec.ts'
import { quiet } from './quiet.ts'

export const names = ['a', 'b', 'c'] as const

export class Scene {
  readonly world: World
  readonly cluster: SimulatedCluster
  readonly said: string[] = []
  #askers = 0

  constructor(seed: number | string, open: Record<string, unknown> = {}) {
    this.world = new World({ seed })
    const warn = (_facts: object, message: string): void => void this.said.push(message)
    const logger = { ...quiet, warn, child: () => ({ ...logger }) }
    this.cluster = new SimulatedCluster({
      world: this.world,
      nodes: names,
      founders: 3,
      logger: () => logger,
      restartMs: [50, 400],
      open: { sessionTimeoutMs: 4000, ...open },
    })
  }

  start(...which: readonly string[]): this {
    for (const name of which.length > 0 ? which : names) this.cluster.operator(name).start()
    return this
  }

  async until(what: string, isSo: () => boolean | Promise<boolean>, ms = 60_000): Promise<void> {
    for (let leftMs = ms; leftMs > 0; leftMs -= 50) {
      if (await isSo()) return
      await this.world.run(50)
    }
    throw new Error(`it never came to this: ${what}; ${this.said.slice(-5).join('; ')}`)
  }

  async ready(count = 3): Promise<Node[]> {
    const nodes = () => this.cluster.operators.flatMap(({ node }) => node ?? [])
    await this.until(`${count} nodes`, () => nodes().length >= count)
    return nodes()
  }

  async ask(name: string): Promise<Introduction | undefined> {
    const io = createSimulatedIo(this.world, `asker ${++this.#askers}`)
    const asking = inquire(io, { host: name, port: clusterPort }).catch(() => undefined)
    const said = await this.world.settle(asking)
    return said
  }

  async leads(): Promise<string | undefined> {
    for (const name of names) {
      const said = await this.ask(name)
      const { serves } = { serves: false, ...JSON.parse(said?.status ?? '{}') }
      if (serves === true) return name
    }
    return undefined
  }

  /** What an operator works with, from a machine of its own. */
  get parts(): OperationParts {
    const io = createSimulatedIo(this.world, `operator ${++this.#askers}`)
    return { io, logger: quiet }
  }

  address(name: string): { host: string; port: number } {
    return { host: name, port: clusterPort }
  }

  /** A node that is no founder: with an empty disk, and the same peers besides itself. */
  spare(name: string): SimulatedCluster {
    const spare = new SimulatedCluster({
      world: this.world,
      nodes: [name],
      logger: () => quiet,
      restartMs: [50, 400],
      open: {
        peers: [...names, name].map((each) => `${each}:${clusterPort}`),
        sessionTimeoutMs: 4000,
      },
    })
    spare.operator(name).start()
    return spare
  }

  wipe(name: string): void {
    const node = this.world.node(name)
    this.cluster.operator(name).cutPower('none')
    node.disk = new Disk(node.disk.options)
  }

  append(node: Node, text: string): Promise<number> {
    const one = async (): Promise<number> => {
      const log = await node.log('orders')
      const writer = await log.acquire()
      const position = await writer.append(Buffer.from(text))
      await writer.close()
      return position
    }
    return this.world.settle(one())
  }
}
