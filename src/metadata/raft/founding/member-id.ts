// A member has its bookie's id, so that whoever knows one knows the other. A rescue gives what is
// left of a node another id as a member, since the old one belongs to a group that is no more; its
// bookie keeps its own, since ledgers name it. The member's is then that with a number behind it.

const mark = '~'

export function bookieOf(memberId: string): string {
  const at = memberId.indexOf(mark)
  return at < 0 ? memberId : memberId.slice(0, at)
}

/** The next id for what was this member. */
export function rescuedId(memberId: string): string {
  const bookieId = bookieOf(memberId)
  const count = memberId === bookieId ? 0 : Number(memberId.slice(bookieId.length + mark.length))
  return `${bookieId}${mark}${count + 1}`
}
