// The one port of a node. What it serves grows while the node starts: peers first, the bookie last.
import { QuireError } from '../../errors.ts'
import type { Address } from '../../io/index.ts'
import { parseAddress } from '../address.ts'
import type { Closers } from '../closers.ts'
import { PortRouter, type PortRouterParts, type PortRoutes } from './port-router.ts'
import type { NodeParts } from './node.ts'

export class Port {
  readonly #parts: NodeParts
  readonly #router: PortRouter
  #address: Address | undefined

  constructor(parts: NodeParts & Pick<PortRouterParts, 'secret'>) {
    this.#parts = parts
    this.#router = new PortRouter(parts)
  }

  /** As bound. */
  get address(): Address {
    if (this.#address) return this.#address
    throw new QuireError('QUIRE_INVARIANT', 'broken invariant: the port is open by now')
  }

  /** From now on these too. */
  serve(routes: PortRoutes): void {
    this.#router.serve(routes)
  }

  /** Closed with the others. Fails as `listen` does. */
  async open(closers: Closers): Promise<void> {
    const { io, settings } = this.#parts
    const router = this.#router
    const listener = await io.network.listen(parseAddress(settings.listen), (connection) => {
      router.accept(connection)
    })
    this.#address = listener.address
    closers.add(async () => {
      await listener.close()
      router.close()
    })
  }
}
