// One bookie asked by itself, on the simulated network: what it holds, without the help of others.

import type { Connection, Network } from '../../src/io/index.ts'
import { statuses } from '../../src/wire/bookie-messages.ts'
import { encodeReadRequest } from '../../src/wire/bookie-request.ts'
import { createResponse, decodeResponse } from '../../src/wire/bookie-response.ts'
import { FrameReader } from '../../src/wire/frame-reader.ts'
import { ledgerIdHigh, ledgerIdLow } from '../../src/wire/int64.ts'
import { entryHeadBytes } from './observer.ts'

export interface Probe {
  /** The payload; undefined: the bookie says anything but OK. */
  read(ledgerId: bigint, entryId: number): Promise<Buffer | undefined>
  close(): void
}

export async function openProbe(network: Network, host: string): Promise<Probe> {
  const connection = await network.connect({ host, port: 3181 }, { timeoutMs: 10_000 })
  const frames = new FrameReader()
  const response = createResponse()
  const waiting = new Map<number, (payload: Buffer | undefined) => void>()
  let asked = 0
  start(connection, (chunk) => {
    frames.push(chunk, (bytes, from, end) => {
      decodeResponse(bytes, from, end, 3, response)
      const take = waiting.get(response.txnLow)
      waiting.delete(response.txnLow)
      const { bodyStart, bodyEnd } = response
      const payload = Buffer.from(bytes.subarray(bodyStart + entryHeadBytes, bodyEnd))
      take?.(response.status === statuses.ok ? payload : undefined)
    })
  })
  return {
    read: (ledgerId, entryId) =>
      new Promise((resolve) => {
        asked += 1
        waiting.set(asked, resolve)
        const names = { ledgerHigh: ledgerIdHigh(ledgerId), ledgerLow: ledgerIdLow(ledgerId) }
        const request = { ...names, txnHigh: 0, txnLow: asked, entryId, flags: 0 }
        connection.write(encodeReadRequest({ ...request, masterKey: undefined }))
      }),
    close: () => connection.end(),
  }
}

function start(connection: Connection, data: (chunk: Buffer) => void): void {
  connection.start({ data, drain: () => undefined, close: () => undefined })
}
