// Integers of 64 bits without BigInt: as two unsigned 32-bit halves (ledger ids, transaction ids)
// or as a safe integer (entry ids, positions, lengths). What no safe integer holds becomes an
// infinity of its sign, which compares as it should and which nobody ever stored. Callers check
// bounds.

const two32 = 4_294_967_296
const highMax = 0x1f_ffff

/** Unsigned 32 bits, big-endian. */
export function readU32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  )
}

/** Signed 32 bits, big-endian. */
export function readI32(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at) | 0
}

/** 32 bits, big-endian, of a signed or an unsigned number. Returns the offset behind them. */
export function writeU32(target: Uint8Array, at: number, value: number): number {
  target[at] = value >>> 24
  target[at + 1] = value >>> 16
  target[at + 2] = value >>> 8
  target[at + 3] = value
  return at + 4
}

/** Signed 64 bits given as halves: a safe integer, or an infinity of its sign. */
export function numberFromHalves(high: number, low: number): number {
  const signed = high | 0
  if (signed > highMax) return Number.POSITIVE_INFINITY
  // −2^53 itself is not a safe integer.
  if (signed < ~highMax || (signed === ~highMax && low === 0)) return Number.NEGATIVE_INFINITY
  return signed * two32 + (low >>> 0)
}

/**
 * Upper half of a safe integer in two's complement; an infinity gives the largest or the smallest
 * number.
 */
export function highHalf(value: number): number {
  if (value >= 0 && value < two32) return 0
  if (value === Number.POSITIVE_INFINITY) return 0x7fff_ffff
  if (value === Number.NEGATIVE_INFINITY) return 0x8000_0000
  return Math.floor(value / two32) >>> 0
}

/** Lower half of a safe integer in two's complement. */
export function lowHalf(value: number): number {
  if (value === Number.POSITIVE_INFINITY) return 0xffff_ffff
  return value >>> 0
}

/** Signed 64 bits, big-endian: a safe integer, or an infinity of its sign. */
export function readInt64(bytes: Uint8Array, at: number): number {
  return numberFromHalves(readU32(bytes, at), readU32(bytes, at + 4))
}

/** Signed 64 bits, big-endian, of a safe integer. Returns the offset behind them. */
export function writeInt64(target: Uint8Array, at: number, value: number): number {
  return writeU32(target, writeU32(target, at, highHalf(value)), lowHalf(value))
}

/** A ledger id for an API, from the halves of a hot path. */
export function ledgerIdFromHalves(high: number, low: number): bigint {
  return BigInt.asIntN(64, (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0))
}

/** The upper unsigned half of a ledger id. */
export function ledgerIdHigh(ledgerId: bigint): number {
  return Number((BigInt.asUintN(64, ledgerId) >> 32n) & 0xffff_ffffn)
}

/** The lower unsigned half of a ledger id. */
export function ledgerIdLow(ledgerId: bigint): number {
  return Number(BigInt.asUintN(32, ledgerId))
}
