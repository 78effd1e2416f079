// The authentication in memory: its bytes, and what must fail: another secret, what was recorded,
// what is thrown back, a turn that is not theirs, and anything at random.
import { inspect } from 'node:util'
import * as fc from 'fast-check'
import t from 'tap'
import { QuireError } from '../../../src/errors.ts'
import {
  authenticationLimits,
  authenticationRefusals,
  decodeAuthentication,
  encodeNonce,
  encodeProof,
  encodeRefusal,
  frameOf,
  type AuthenticationRefusal,
} from '../../../src/wire/authentication.ts'
import {
  ClientHandshake,
  refuse,
  ServerHandshake,
  SharedSecret,
} from '../../../src/wire/handshake.ts'
import { holds } from '../../support/properties.ts'

const nonce = (fill: number): Buffer => Buffer.alloc(32, fill)
const clientOf = (secret: string, fill = 1): ClientHandshake =>
  new ClientHandshake({ secret: new SharedSecret(secret), nonce: nonce(fill) })
const serverOf = (secret: string, fill = 2): ServerHandshake =>
  new ServerHandshake({ secret: new SharedSecret(secret), nonce: nonce(fill) })

/** All four messages of an exchange that succeeds. */
function exchange(client: ClientHandshake, server: ServerHandshake): Buffer[] {
  const challenge = server.take(client.hello).reply
  const proof = client.take(challenge) ?? Buffer.alloc(0)
  const welcome = server.take(proof).reply
  client.take(welcome)
  return [client.hello, challenge, proof, welcome]
}

const isBadFrame = (error: unknown): boolean => QuireError.is(error, 'QUIRE_BAD_FRAME')
const isUnauthorized = (error: unknown): boolean => QuireError.is(error, 'QUIRE_UNAUTHORIZED')

t.test('both sides are satisfied, and not before the other has proved itself', async (t) => {
  const client = clientOf('correct horse')
  const server = serverOf('correct horse')
  const challenge = server.take(client.hello).reply
  const proof = client.take(challenge) ?? Buffer.alloc(0)
  t.notOk(client.isDone || server.isDone)
  const { reply, refusal } = server.take(proof)
  t.equal(refusal, undefined)
  t.ok(server.isDone)
  t.notOk(client.isDone)
  t.equal(client.take(reply), undefined)
  t.ok(client.isDone)
})

t.test('the bytes; the proofs were computed by another program', async (t) => {
  const said = exchange(clientOf('golden secret'), serverOf('golden secret'))
  t.same(
    said.map((message) => message.toString('hex')),
    [
      `51524131010001${'01'.repeat(32)}`,
      `51524131010002${'02'.repeat(32)}`,
      '515241310100031dbec7c2de6013c57f57a0d73d62483a246a2e489f0db3e6f63479c28e476ae9',
      '51524131010004bd38a7e4c915d8e460fa2b7094a0d693f3d9508b491cfc7f5b209f45ec62884c',
    ],
  )
  const refusal = encodeRefusal('secret', 'no').toString('hex')
  t.equal(refusal, '5152413101000502000000026e6f')
  t.equal(frameOf(Buffer.from('abcd', 'hex')).toString('hex'), '00000002abcd')
})

t.test('another secret: the client is told so, and the server tells nothing else', async (t) => {
  const client = clientOf('the right one')
  const server = serverOf('a wrong one')
  const { reply } = server.take(client.hello)
  const step = server.take(client.take(reply) ?? Buffer.alloc(0))
  t.match(step.refusal, /not the secret of this node/)
  t.notOk(server.isDone)
  t.equal(decodeAuthentication(step.reply).type, 'refusal')
  t.throws(() => client.take(step.reply), {
    code: 'QUIRE_UNAUTHORIZED',
    message: /give both the same/,
  })
  t.notOk(client.isDone)
  t.throws(() => server.take(client.hello), { code: 'QUIRE_BAD_FRAME' }, 'no second try')
})

t.test('before a client has proved itself, nothing it gets depends on the secret', async (t) => {
  const replies = ['one secret', 'other secret'].map((secret) => {
    const server = serverOf(secret)
    return [server.take(clientOf('guess').hello), server.take(encodeProof('proof', nonce(7)))]
  })
  t.same(replies[0], replies[1])
})

t.test('what was recorded is worth nothing later, to either side', async (t) => {
  const recorded = exchange(clientOf('s3cret-word', 1), serverOf('s3cret-word', 2))
  const [hello = nonce(0), challenge = nonce(0), proof = nonce(0), welcome = nonce(0)] = recorded
  const server = serverOf('s3cret-word', 3)
  server.take(hello)
  t.match(server.take(proof).refusal, /secret/)
  t.notOk(server.isDone)
  const client = clientOf('s3cret-word', 4)
  client.take(challenge)
  t.throws(() => client.take(welcome), { code: 'QUIRE_UNAUTHORIZED' })
  t.notOk(client.isDone)
})

t.test('what is thrown back at whoever said it is worth nothing', async (t) => {
  // Somebody without the secret answers a client with the client's own words.
  const client = clientOf('s3cret-word')
  t.throws(() => client.take(client.hello), { code: 'QUIRE_BAD_FRAME' }, 'a hello is no challenge')
  const proof = client.take(encodeNonce('challenge', nonce(1))) ?? Buffer.alloc(0)
  t.throws(() => client.take(proof), { code: 'QUIRE_BAD_FRAME' }, 'a proof is no welcome')
  const asWelcome = encodeProof('welcome', proof.subarray(7))
  t.throws(
    () => client.take(asWelcome),
    { code: 'QUIRE_UNAUTHORIZED' },
    'nor when it is called one',
  )
  // Somebody asks a server, with its challenge, what to answer to that challenge.
  const server = serverOf('s3cret-word', 5)
  const other = serverOf('s3cret-word', 6)
  const { reply: challenge } = server.take(encodeNonce('hello', nonce(9)))
  const turned = encodeNonce('hello', challenge.subarray(7))
  t.equal(decodeAuthentication(other.take(turned).reply).type, 'challenge', 'a nonce, and no proof')
})

t.test(
  'every other bit of a proof is refused, and every other bit of what it covers',
  async (t) => {
    const [, , proof = nonce(0)] = exchange(clientOf('s3cret-word'), serverOf('s3cret-word'))
    const { hello } = clientOf('s3cret-word')
    const flip = (bytes: Buffer, bit: number): Buffer => {
      const other = Buffer.from(bytes)
      other.writeUInt8(other.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      return other
    }
    for (let bit = 7 * 8; bit < proof.length * 8; bit++) {
      const server = serverOf('s3cret-word')
      server.take(hello)
      t.ok(server.take(flip(proof, bit)).refusal !== undefined && !server.isDone, `proof ${bit}`)
      const misheard = serverOf('s3cret-word')
      misheard.take(flip(hello, bit))
      t.ok(misheard.take(proof).refusal !== undefined && !misheard.isDone, `nonce ${bit}`)
    }
  },
)

t.test('messages come back as they were; text that is too long is cut', async (t) => {
  for (const reason of Object.keys(authenticationRefusals) as AuthenticationRefusal[]) {
    t.match(decodeAuthentication(encodeRefusal(reason, 'why')), {
      type: 'refusal',
      reason,
      text: 'why',
    })
    t.match(decodeAuthentication(refuse(reason).reply), { type: 'refusal', reason })
  }
  const long = encodeRefusal('secret', 'ж'.repeat(5000))
  t.ok(long.length <= authenticationLimits.messageBytes)
  t.match(decodeAuthentication(long), { reason: 'secret', text: /^ж+$/ })
  const newer = encodeRefusal('secret', 'why')
  newer.writeUInt8(99, 7)
  t.match(decodeAuthentication(newer), { type: 'refusal', reason: 'refused' })
  const type = fc.constantFrom('hello' as const, 'challenge' as const)
  const fields = { type, bytes: fc.uint8Array({ minLength: 32, maxLength: 32 }) }
  const message = fc.record(fields, { noNullPrototype: true })
  holds(
    t,
    'nonces',
    fc.property(message, ({ type, bytes }) => {
      const decoded = decodeAuthentication(encodeNonce(type, bytes))
      return decoded.type === type && 'nonce' in decoded && decoded.nonce.equals(bytes)
    }),
  )
})

t.test(
  'another major version is told apart from anything else; a minor one is served',
  async (t) => {
    const of = (version: number): Buffer => {
      const hello = encodeNonce('hello', nonce(1))
      hello.writeUInt16BE(version, 4)
      return hello
    }
    const old = serverOf('s3cret-word').take(of(0x0200))
    t.match(old.refusal, /another version/)
    t.throws(() => clientOf('s3cret-word').take(old.reply), {
      code: 'QUIRE_UNAUTHORIZED',
      message: /versions/,
    })
    // Fields that a newer minor version adds at the end are covered and passed over.
    const server = serverOf('s3cret-word')
    const hello = Buffer.concat([of(0x0107), Buffer.from('more')])
    const { reply: challenge } = server.take(hello)
    const proof = new SharedSecret('s3cret-word').proof('client', { hello, challenge })
    t.equal(server.take(encodeProof('proof', proof)).refusal, undefined)
    t.ok(server.isDone)
  },
)

t.test('garbage, and messages out of turn, end it and nothing else', async (t) => {
  const messages = exchange(clientOf('s3cret-word'), serverOf('s3cret-word'))
  const garbage = fc.oneof(
    fc.uint8Array({ maxLength: 600 }),
    fc
      .tuple(fc.integer({ min: 0, max: 6 }), fc.uint8Array({ maxLength: 80 }))
      .map(([kind, rest]) =>
        Buffer.concat([Buffer.from('QRA1\x01\x00'), Buffer.from([kind]), rest]),
      ),
    fc
      .constantFrom(...messages)
      .chain((message) => fc.nat(message.length).map((length) => message.subarray(0, length))),
    fc.constantFrom(...messages),
  )
  const parties = {
    client: () => clientOf('s3cret-word', 8),
    server: () => serverOf('s3cret-word', 9),
  }
  for (const [name, party] of Object.entries(parties)) {
    holds(
      t,
      `nothing at random satisfies the ${name}`,
      fc.property(fc.array(garbage, { maxLength: 4 }), (said) => {
        const one = party()
        for (const bytes of said) {
          try {
            one.take(Buffer.from(bytes))
          } catch (error) {
            if (!isBadFrame(error) && !isUnauthorized(error)) throw error
            break
          }
        }
        return !one.isDone
      }),
      400,
    )
  }
})

t.test('a secret is not seen where it is printed', async (t) => {
  const secret = new SharedSecret('hunter2-hunter2')
  const shown = `${inspect(secret, { depth: 9, showHidden: true })}${JSON.stringify({ secret })}`
  t.notMatch(shown, /hunter2|Buffer/)
})
