// One bookie asked by itself, on the simulated network: what it holds, without the help of others.

import type { Io } from '../../src/io/index.ts'
import { authenticateBookie } from '../../src/replication/bookie-authentication.ts'
import { statuses, type BookieResponse } from '../../src/wire/bookie-messages.ts'
import {
  addRequestBytes,
  encodeReadRequest,
  writeAddRequestHeader,
} from '../../src/wire/bookie-request.ts'
import { createResponse, decodeResponse } from '../../src/wire/bookie-response.ts'
import { masterKey } from '../../src/wire/digest.ts'
import { FrameReader } from '../../src/wire/frame-reader.ts'
import type { SharedSecret } from '../../src/wire/handshake.ts'
import { ledgerIdHigh, ledgerIdLow, writeInt64, writeU32 } from '../../src/wire/int64.ts'
import { entryHeadBytes, isNegative } from './observer.ts'

export interface ProbeRead {
  /** The payload; undefined: the bookie says anything but OK. */
  readonly found: Buffer | undefined
  /** The bookie says that it never took the entry. */
  readonly denied: boolean
}

export interface Probe {
  read(ledgerId: bigint, entryId: number): Promise<ProbeRead>
  /** Whether it refuses an entry, far behind all others, because of a fence. */
  refusesAdds(ledgerId: bigint): Promise<boolean>
  close(): void
}

const key = masterKey(Buffer.alloc(0))
const farEntryId = 1_000_000_000

export async function openProbe(io: Io, host: string, secret?: SharedSecret): Promise<Probe> {
  const timeoutMs = 10_000
  const dialled = await io.network.connect({ host, port: 3181 }, { timeoutMs })
  const connection = secret
    ? await authenticateBookie({ ...io, secret }, dialled, timeoutMs)
    : dialled
  const frames = new FrameReader()
  const response = createResponse()
  const waiting = new Map<number, (response: BookieResponse) => void>()
  let asked = 0
  connection.start({
    data(chunk) {
      frames.push(chunk, (bytes, from, end) => {
        decodeResponse(bytes, from, end, 3, response)
        const take = waiting.get(response.txnLow)
        waiting.delete(response.txnLow)
        take?.(response)
      })
    },
    drain: () => undefined,
    close: () => undefined,
  })
  const ask = <T>(frame: Buffer, take: (response: BookieResponse) => T): Promise<T> =>
    new Promise((resolve) => {
      waiting.set(asked, (answer) => resolve(take(answer)))
      connection.write(frame)
    })
  const names = (ledgerId: bigint) => ({
    txnHigh: 0,
    txnLow: ++asked,
    ledgerHigh: ledgerIdHigh(ledgerId),
    ledgerLow: ledgerIdLow(ledgerId),
  })
  return {
    read: (ledgerId, entryId) =>
      ask(
        encodeReadRequest({ ...names(ledgerId), entryId, flags: 0, masterKey: undefined }),
        ({ status, bytes, bodyStart, bodyEnd }) => ({
          found:
            status === statuses.ok
              ? Buffer.from(bytes.subarray(bodyStart + entryHeadBytes, bodyEnd))
              : undefined,
          denied: isNegative(status),
        }),
      ),
    refusesAdds: (ledgerId) =>
      ask(farAdd(names(ledgerId)), ({ status }) => status === statuses.fenced),
    close: () => connection.end(),
  }
}

function farAdd(names: {
  readonly txnHigh: number
  readonly txnLow: number
  readonly ledgerHigh: number
  readonly ledgerLow: number
}): Buffer {
  const fields = {
    ...names,
    protocol: 3 as const,
    entryId: farEntryId,
    flags: 0,
    masterKey: key,
    entryBytes: entryHeadBytes,
  }
  const frame = Buffer.alloc(addRequestBytes(fields))
  const start = writeAddRequestHeader(frame, 0, fields)
  writeU32(frame, start, names.ledgerHigh)
  writeU32(frame, start + 4, names.ledgerLow)
  writeInt64(frame, start + 8, farEntryId)
  writeInt64(frame, start + 16, -1)
  return frame
}
