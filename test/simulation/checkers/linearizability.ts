// Is there an order of the operations, each between its call and its return, that a single copy
// would have answered so? The search of Wing and Gong with Lowe's cache, as in Porcupine; callers
// split a history by key first, for each key is a copy of its own.

export interface Operation<Input, Output> {
  readonly input: Input
  /** Undefined: nobody was told. It may have happened at any time behind its call, or never. */
  readonly output: Output | undefined
  /** Places in the order of all calls and returns. */
  readonly calledAt: number
  readonly returnedAt: number
}

export interface Model<State, Input, Output> {
  readonly initial: State
  /** The state after it; undefined when it is not what a copy in this state answers. */
  step(state: State, input: Input, output: Output | undefined): State | undefined
  /** Equal for equal states. */
  key(state: State): string
}

interface Event {
  readonly operation: number
  readonly isCall: boolean
  /** Of a call: its return. */
  match: Event | undefined
  next: Event | undefined
  previous: Event | undefined
}

export function isLinearizable<State, Input, Output>(
  history: readonly Operation<Input, Output>[],
  model: Model<State, Input, Output>,
): boolean {
  const head = listOf(history)
  const taken = new Uint8Array(history.length)
  const tried = new Set<string>()
  const path: { call: Event; before: State }[] = []
  let state = model.initial
  let at = head.next
  while (head.next !== undefined) {
    if (at?.isCall === true) {
      const operation = history[at.operation]
      const next = operation && model.step(state, operation.input, operation.output)
      if (next !== undefined) {
        taken[at.operation] = 1
        const seen = `${Buffer.from(taken).toString('latin1')}${model.key(next)}`
        if (!tried.has(seen)) {
          tried.add(seen)
          path.push({ call: at, before: state })
          state = next
          lift(at)
          at = head.next
          continue
        }
        taken[at.operation] = 0
      }
      at = at.next
      continue
    }
    // Whoever has returned was taken before, or not in this way.
    const last = path.pop()
    if (last === undefined) return false
    state = last.before
    taken[last.call.operation] = 0
    unlift(last.call)
    at = last.call.next
  }
  return true
}

/** All calls and returns in their order, behind a head of their own. */
function listOf(history: readonly Operation<unknown, unknown>[]): Event {
  const events: { at: number; event: Event }[] = []
  for (const [operation, { calledAt, returnedAt }] of history.entries()) {
    const plain = { operation, match: undefined, next: undefined, previous: undefined }
    const returned: Event = { ...plain, isCall: false }
    const called: Event = { ...plain, isCall: true, match: returned }
    events.push({ at: calledAt, event: called }, { at: returnedAt, event: returned })
  }
  events.sort((one, other) => one.at - other.at)
  const head: Event = {
    operation: -1,
    isCall: false,
    match: undefined,
    next: undefined,
    previous: undefined,
  }
  let last = head
  for (const { event } of events) {
    last.next = event
    event.previous = last
    last = event
  }
  return head
}

/** Takes a call and its return out of the list. */
function lift(call: Event): void {
  for (const event of [call, call.match]) {
    if (event?.previous) event.previous.next = event.next
    if (event?.next) event.next.previous = event.previous
  }
}

function unlift(call: Event): void {
  for (const event of [call.match, call]) {
    if (event?.previous) event.previous.next = event
    if (event?.next) event.next.previous = event
  }
}
