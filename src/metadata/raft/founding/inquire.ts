// Asks a node who it is, and answers when asked: one question on a connection, one answer.

import { QuireError } from '../../../errors.ts'
import { formatAddress } from '../../../io/address.ts'
import type { Address, Connection, Network } from '../../../io/network.ts'
import type { Timers } from '../../../io/time.ts'
import { FrameReader } from '../../../wire/frame-reader.ts'
import {
  decodeInquiry,
  decodeIntroduction,
  encodeInquiry,
  encodeIntroduction,
  inquiryLimits,
} from '../../../wire/inquiry-codec.ts'
import type { Introduction } from '../../../wire/inquiry-codec.ts'

export interface InquireParts {
  readonly network: Network
  readonly timers: Timers
  readonly signal?: AbortSignal | undefined
}

/** For the connection, and again for the answer. */
const timeoutMs = 2_000

/**
 * Who is at an address. Fails with QUIRE_CONNECTION_LOST or QUIRE_TIMEOUT, and with QUIRE_BAD_FRAME
 * or QUIRE_UNSUPPORTED when what is there speaks otherwise.
 */
export async function inquire(parts: InquireParts, address: Address): Promise<Introduction> {
  const { network, timers, signal } = parts
  const connection = await network.connect(address, { timeoutMs, signal })
  const { promise, resolve, reject } = Promise.withResolvers<Introduction>()
  const where = formatAddress(address)
  const silent = new QuireError('QUIRE_TIMEOUT', `${where} did not say who it is`)
  const timer = timers.after(timeoutMs, () => reject(silent))
  const reader = new FrameReader({ maxFrameBytes: inquiryLimits.answerBytes })
  const take = (bytes: Buffer, start: number, end: number): void => {
    try {
      resolve(decodeIntroduction(bytes.subarray(start, end)))
    } catch (error) {
      reject(error instanceof Error ? error : new Error(String(error)))
    }
  }
  connection.start({
    data: (chunk) => {
      const problem = reader.push(chunk, take)
      if (problem) reject(new QuireError(problem.code, problem.message))
    },
    drain() {},
    close: () => {
      reject(new QuireError('QUIRE_CONNECTION_LOST', `${where} ended before it said who it is`))
    },
  })
  connection.write(encodeInquiry())
  try {
    return await promise
  } finally {
    timer.cancel()
    connection.destroy()
  }
}

/**
 * Answers whoever asks on a connection, whose first bytes were read already: once, and ends it.
 */
export function introduce(
  connection: Connection,
  firstChunk: Buffer,
  parts: { timers: Timers; introduction: () => Introduction },
): void {
  const reader = new FrameReader({ maxFrameBytes: inquiryLimits.questionBytes })
  // Whoever begins a question and does not end it is not waited for.
  const timer = parts.timers.after(timeoutMs, () => connection.destroy())
  let isAsked = false
  const answer = (bytes: Buffer, start: number, end: number): void => {
    if (isAsked) return
    isAsked = true
    timer.cancel()
    if (isInquiry(bytes.subarray(start, end))) {
      connection.write(encodeIntroduction(parts.introduction()))
    }
    connection.end()
  }
  const data = (chunk: Buffer): void => {
    if (reader.push(chunk, answer)) connection.destroy()
  }
  connection.start({ data, drain() {}, close: () => timer.cancel() })
  data(firstChunk)
}

function isInquiry(payload: Buffer): boolean {
  try {
    decodeInquiry(payload)
    return true
  } catch (error) {
    if (QuireError.is(error, 'QUIRE_BAD_FRAME') || QuireError.is(error, 'QUIRE_UNSUPPORTED')) {
      return false
    }
    throw error
  }
}
