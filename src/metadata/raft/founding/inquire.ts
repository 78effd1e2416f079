// Asks a node who it is, or for a change, and answers when asked: one question on a connection, one
// answer.

import { QuireError } from '../../../errors.ts'
import { formatAddress } from '../../../io/address.ts'
import type { Logger } from '../../../io/log.ts'
import type { Address, Connection, Network } from '../../../io/network.ts'
import type { Timers } from '../../../io/time.ts'
import { FrameReader } from '../../../wire/frame-reader.ts'
import {
  decodeIntroduction,
  decodeQuestion,
  decodeReply,
  encodeIntroduction,
  encodeQuestion,
  encodeReply,
  inquiryLimits,
} from '../../../wire/inquiry-codec.ts'
import type { Introduction, Question, Reply } from '../../../wire/inquiry-codec.ts'

export interface InquireParts {
  readonly network: Network
  readonly timers: Timers
  readonly signal?: AbortSignal | undefined
}

/** What asks for something to be done. */
export type Request = Exclude<Question, { type: 'who' }>

/**
 * For the connection, and again for the answer. A change is answered when it was applied: a leader
 * that cannot get it there finds out within its election timeout.
 */
const times = { connectMs: 2_000, whoMs: 2_000, requestMs: 10_000 } as const

/**
 * Who is at an address. Fails with QUIRE_CONNECTION_LOST or QUIRE_TIMEOUT, and with QUIRE_BAD_FRAME
 * or QUIRE_UNSUPPORTED when what is there speaks otherwise.
 */
export function inquire(parts: InquireParts, address: Address): Promise<Introduction> {
  const question = encodeQuestion({ type: 'who' })
  return ask(parts, address, { question, decode: decodeIntroduction, timeoutMs: times.whoMs })
}

/** Asks the node at an address for a change. Fails as `inquire`: then it may have happened. */
export function request(parts: InquireParts, address: Address, asked: Request): Promise<Reply> {
  const question = encodeQuestion(asked)
  return ask(parts, address, { question, decode: decodeReply, timeoutMs: times.requestMs })
}

interface Asked<T> {
  readonly question: Buffer
  readonly decode: (payload: Uint8Array) => T
  readonly timeoutMs: number
}

async function ask<T>(
  { network, timers, signal }: InquireParts,
  address: Address,
  { question, decode, timeoutMs }: Asked<T>,
): Promise<T> {
  const connection = await network.connect(address, { timeoutMs: times.connectMs, signal })
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const where = formatAddress(address)
  const silent = new QuireError('QUIRE_TIMEOUT', `${where} did not answer in time`)
  const timer = timers.after(timeoutMs, () => reject(silent))
  const reader = new FrameReader({ maxFrameBytes: inquiryLimits.answerBytes })
  const take = (bytes: Buffer, start: number, end: number): void => {
    try {
      resolve(decode(bytes.subarray(start, end)))
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
      reject(new QuireError('QUIRE_CONNECTION_LOST', `${where} ended before it answered`))
    },
  })
  connection.write(question)
  try {
    return await promise
  } finally {
    timer.cancel()
    connection.destroy()
  }
}

export interface AnswerParts {
  readonly timers: Timers
  readonly logger: Logger
  readonly introduction: () => Introduction
  readonly request: (asked: Request) => Promise<Reply>
}

/**
 * Answers whoever asks on a connection, whose first bytes were read already: once, and ends it.
 */
export function answer(connection: Connection, firstChunk: Buffer, parts: AnswerParts): void {
  const reader = new FrameReader({ maxFrameBytes: inquiryLimits.questionBytes })
  // Whoever begins a question and does not end it is not waited for.
  const timer = parts.timers.after(times.whoMs, () => connection.destroy())
  let isAsked = false
  const take = (bytes: Buffer, start: number, end: number): void => {
    if (isAsked) return
    isAsked = true
    timer.cancel()
    const question = questionIn(bytes.subarray(start, end))
    if (question === undefined) connection.end()
    else if (question.type === 'who') reply(connection, encodeIntroduction(parts.introduction()))
    else void answerRequest(connection, question, parts)
  }
  const data = (chunk: Buffer): void => {
    if (reader.push(chunk, take)) connection.destroy()
  }
  connection.start({ data, drain() {}, close: () => timer.cancel() })
  data(firstChunk)
}

async function answerRequest(
  connection: Connection,
  asked: Request,
  { request, logger }: AnswerParts,
): Promise<void> {
  try {
    reply(connection, encodeReply(await request(asked)))
  } catch (error) {
    logger.error({ err: error }, 'a request of an operator could not be answered')
    connection.destroy()
  }
}

function reply(connection: Connection, frame: Buffer): void {
  connection.write(frame)
  connection.end()
}

function questionIn(payload: Buffer): Question | undefined {
  try {
    return decodeQuestion(payload)
  } catch (error) {
    if (QuireError.is(error, 'QUIRE_BAD_FRAME') || QuireError.is(error, 'QUIRE_UNSUPPORTED')) {
      return undefined
    }
    throw error
  }
}
