// What a bookie publishes of itself in its registration node (metadata 2.6).

import { badMetadata, decodeProto, encodeProto, Values } from './proto-schema.ts'
import type { ProtoMessage } from './proto-schema.ts'

export interface ServiceEndpoint {
  readonly id: string
  readonly port: number
  readonly host: string
  readonly protocol: string
  readonly auth: readonly string[]
  readonly extensions: readonly string[]
}

export interface BookieServiceInfo {
  readonly endpoints: readonly ServiceEndpoint[]
  readonly properties: ReadonlyMap<string, string>
}

const endpointFormat: ProtoMessage = {
  kind: 'message',
  fields: [
    { number: 1, name: 'id', label: 'required', type: 'string' },
    { number: 2, name: 'port', label: 'required', type: 'int32' },
    { number: 3, name: 'host', label: 'required', type: 'string' },
    { number: 4, name: 'protocol', label: 'required', type: 'string' },
    { number: 5, name: 'auth', label: 'repeated', type: 'string' },
    { number: 6, name: 'extensions', label: 'repeated', type: 'string' },
  ],
}
const propertyFormat: ProtoMessage = {
  kind: 'message',
  fields: [
    { number: 1, name: 'key', label: 'optional', type: 'string' },
    { number: 2, name: 'value', label: 'optional', type: 'string' },
  ],
}
const format: ProtoMessage = {
  kind: 'message',
  fields: [
    { number: 6, name: 'endpoints', label: 'repeated', type: endpointFormat },
    { number: 7, name: 'properties', label: 'repeated', type: propertyFormat },
  ],
}

export function encodeBookieServiceInfo({ endpoints, properties }: BookieServiceInfo): Buffer {
  const values = new Values()
    .set('endpoints', ...endpoints.map(endpointValues))
    .set(
      'properties',
      ...[...properties].map(([key, value]) => new Values().set('key', key).set('value', value)),
    )
  return encodeProto(format, values)
}

function endpointValues(endpoint: ServiceEndpoint): Values {
  return new Values()
    .set('id', endpoint.id)
    .set('port', BigInt(endpoint.port))
    .set('host', endpoint.host)
    .set('protocol', endpoint.protocol)
    .set('auth', ...endpoint.auth)
    .set('extensions', ...endpoint.extensions)
}

export function decodeBookieServiceInfo(bytes: Uint8Array): BookieServiceInfo {
  const values = decodeProto(format, bytes)
  return {
    endpoints: values.messages('endpoints').map((each) => ({
      id: each.text('id') ?? '',
      port: Number(each.int('port')),
      host: each.text('host') ?? '',
      protocol: each.text('protocol') ?? '',
      auth: each.texts('auth'),
      extensions: each.texts('extensions'),
    })),
    properties: new Map(
      values
        .messages('properties')
        .map((each) => [each.text('key') ?? '', each.text('value') ?? '']),
    ),
  }
}

/** The protocol name of the endpoint that clients connect to. */
export const bookieProtocol = 'bookie-rpc'

/** The record of a bookie with one endpoint, as Java's bookies publish it. */
export function bookieEndpointInfo(host: string, port: number): BookieServiceInfo {
  const endpoint = { id: 'bookie', port, host, protocol: bookieProtocol, auth: [], extensions: [] }
  return { endpoints: [endpoint], properties: new Map() }
}

/**
 * Where a registered bookie listens. An empty record is one of before 4.11: the id itself is the
 * address. QUIRE_BAD_METADATA when neither says it.
 */
export function bookieAddress(
  bookieId: string,
  record: Uint8Array,
): { host: string; port: number } {
  if (record.length === 0) return addressOfId(bookieId)
  const { endpoints } = decodeBookieServiceInfo(record)
  const found = endpoints.find(({ protocol }) => protocol === bookieProtocol)
  if (!found) throw badMetadata(`bookie ${bookieId} publishes no ${bookieProtocol} endpoint`)
  return { host: found.host, port: found.port }
}

function addressOfId(bookieId: string): { host: string; port: number } {
  const [host, port] = bookieId.split(':')
  if (!host || port === undefined || !/^[0-9]{1,5}$/.test(port)) {
    throw badMetadata(`bookie ${bookieId} publishes no endpoint, and its id is not host:port`)
  }
  return { host, port: Number(port) }
}
