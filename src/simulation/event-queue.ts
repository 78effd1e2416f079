// A binary heap of events, earliest first; equal times by tie-break, then by the order of adding.

export interface SimulatedEvent<Owner> {
  timeMs: number
  tie: number
  /** Set by the queue. */
  order: number
  readonly label: string
  readonly owner: Owner
  readonly call: () => void
  cancelled: boolean
}

export class EventQueue<Owner> {
  readonly #heap: SimulatedEvent<Owner>[] = []
  #added = 0

  peek(): SimulatedEvent<Owner> | undefined {
    return this.#heap[0]
  }

  /** All that are to come, in no order. */
  get all(): readonly SimulatedEvent<Owner>[] {
    return this.#heap
  }

  push(event: SimulatedEvent<Owner>): void {
    event.order = this.#added++
    const heap = this.#heap
    let at = heap.push(event) - 1
    while (at > 0) {
      const parentAt = (at - 1) >> 1
      const parent = heap[parentAt]
      if (parent === undefined || !before(event, parent)) break
      heap[at] = parent
      at = parentAt
    }
    heap[at] = event
  }

  pop(): SimulatedEvent<Owner> | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || first === last) return first
    let at = 0
    for (;;) {
      const childAt = this.#smallerChild(at)
      const child = heap[childAt]
      if (child === undefined || !before(child, last)) break
      heap[at] = child
      at = childAt
    }
    heap[at] = last
    return first
  }

  #smallerChild(at: number): number {
    const left = this.#heap[2 * at + 1]
    const right = this.#heap[2 * at + 2]
    return left !== undefined && right !== undefined && before(right, left)
      ? 2 * at + 2
      : 2 * at + 1
  }
}

function before<Owner>(one: SimulatedEvent<Owner>, other: SimulatedEvent<Owner>): boolean {
  if (one.timeMs !== other.timeMs) return one.timeMs < other.timeMs
  if (one.tie !== other.tie) return one.tie < other.tie
  return one.order < other.order
}
