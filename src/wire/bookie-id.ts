// Bookie ids, as every process of a cluster checks them (metadata 4.5).

/**
 * What Java accepts. Its pattern has the range `:-_` by accident, hence the brackets and the
 * backslash. Ids that we make have letters, digits and `.`, `_`, `:`, `-` only.
 */
const accepted = /^[a-zA-Z0-9:-_.-]+$/

/** False for a name that would blind every Java client, were it registered. */
export function isValidBookieId(bookieId: string): boolean {
  return accepted.test(bookieId) && bookieId.toLowerCase() !== 'readonly'
}
