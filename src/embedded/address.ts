import { QuireError } from '../errors.ts'
import type { Address } from '../io/index.ts'

const addressPattern = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/\s]+)):(\d{1,5})$/

/** `host:port` or `[ipv6]:port`. QUIRE_BAD_OPTION otherwise. */
export function parseAddress(text: string): Address {
  const match = addressPattern.exec(text)
  const port = Number(match?.[3])
  const host = match?.[1] ?? match?.[2]
  if (host === undefined || port > 65_535) {
    throw new QuireError(
      'QUIRE_BAD_OPTION',
      `"${text}" is no address: write HOST:PORT, for example 127.0.0.1:3181`,
    )
  }
  return { host, port }
}

/** True for addresses that only this machine can reach. */
export function isLoopback({ host }: Address): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host)
}
