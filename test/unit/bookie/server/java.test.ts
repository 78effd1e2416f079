// What Apache BookKeeper 4.18 said on the wire, replayed: the requests of its Java client and some
// made by hand, each with the answer of its bookie. Ours must give the same bytes (docs/interop.md
// says where it differs on purpose).
import { readFileSync } from 'node:fs'
import t from 'tap'
import { type BookieBench, bookieBench, settled } from '../../../support/bookie-bench.ts'
import { framed } from '../../../support/bookie-frames.ts'
import type { ClientEnd } from '../../../support/client-end.ts'

interface Recorded {
  /** Connection number; `>` a request, `<` its answer, `?` where ours is another; the packet. */
  readonly sessions: Readonly<Record<string, readonly string[]>>
  /** `>` a request; then `<` its answer, `no answer`, `closed`, or `?` where ours is another. */
  readonly probes: Readonly<Record<string, readonly string[]>>
}

const { sessions, probes }: Recorded = JSON.parse(
  readFileSync(new URL('../../../vectors/java-bookie.json', import.meta.url), 'utf8'),
)

/** Sends one packet and returns what came back: hex of the packets, or that nothing did. */
async function ask(bench: BookieBench, client: ClientEnd, packet: string): Promise<string> {
  const before = client.writes.length
  client.send(framed(packet))
  bench.journal.commit()
  await settled()
  // Long polls of the recording wait at most 100 ms.
  bench.pass(100)
  await settled()
  if (client.destroyed !== undefined) return 'closed'
  const bytes = Buffer.concat(client.writes.slice(before))
  const packets: string[] = []
  for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32BE(at)) {
    packets.push(bytes.toString('hex', at + 4, at + 4 + bytes.readUInt32BE(at)))
  }
  return packets.length === 0 ? 'no answer' : `<${packets.join()}`
}

for (const [name, lines] of Object.entries(sessions)) {
  t.test(`a session of the Java client, ${name}`, async (t) => {
    const bench = bookieBench()
    const clients = new Map<string, ClientEnd>()
    let got = ''
    for (const [index, line] of lines.entries()) {
      const [, connection = '', direction, packet = ''] = /^(\d+)([<>?])(.*)$/.exec(line) ?? []
      const client = clients.get(connection) ?? bench.connect()
      clients.set(connection, client)
      if (direction === '>') got = await ask(bench, client, packet)
      else if (direction === '<') t.equal(got, `<${packet}`, `answer to ${lines[index - 1]}`)
    }
    t.ok(lines.length > 200)
  })
}

t.test('probes, each on a connection of its own', async (t) => {
  const bench = bookieBench()
  for (const [name, lines] of Object.entries(probes)) {
    const client = bench.connect()
    let got = ''
    for (const line of lines) {
      if (line.startsWith('>')) got = await ask(bench, client, line.slice(1))
      else if (line !== '?') t.equal(got, line, name)
    }
  }
})
