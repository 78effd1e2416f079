// The first bytes of a connection decide who serves it.
import t from 'tap'
import { routeConnection } from '../../../src/embedded/node/port-router.ts'
import { ClientEnd } from '../../support/client-end.ts'

/** Who took a connection, after how many bytes, and what it was given. */
function route(hex: string): string {
  const client = new ClientEnd()
  const bytes = Buffer.from(hex, 'hex')
  const taken: string[] = []
  let sent = 0
  const taker = (name: string) => (_connection: unknown, first: Buffer) => {
    taken.push(`${name} after ${sent}: ${first.toString('hex')}`)
  }
  routeConnection(client, { metadata: taker('metadata'), bookie: taker('bookie') })
  while (sent < bytes.length && taken.length === 0) client.send(bytes.subarray(sent, ++sent))
  return taken.join()
}

t.test('the first byte that tells decides, with all that came before it', (t) => {
  const magic = Buffer.from('QRM1').toString('hex')
  t.equal(route(`00000010${magic}00`), `metadata after 8: 00000010${magic}`)
  t.equal(route('000000100a'), 'bookie after 5: 000000100a', 'V3')
  t.equal(route('0000001002'), 'bookie after 5: 0000001002', 'V2')
  t.equal(route('00000010515200'), 'bookie after 7: 00000010515200')
  t.equal(route('000000'), '', 'a length that is not there yet')
  t.equal(route(`00000010${magic.slice(0, 6)}`), '')
  t.end()
})

t.test('a length that no packet may have is not waited behind: the bookie refuses it', (t) => {
  t.equal(route('00000000'), 'bookie after 4: 00000000')
  t.equal(route('ffffffff'), 'bookie after 4: ffffffff')
  t.equal(route('004ffffd'), 'bookie after 4: 004ffffd', 'with the length field above 5 MiB')
  t.equal(route('004ffffc'), '', 'the largest')
  t.end()
})
