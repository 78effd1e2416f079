// fast-check inside tap: a property is one assertion, whose message is the shrunk counterexample.
// Inside of a property use node:assert, which throws.
import * as fc from 'fast-check'

interface Asserts {
  equal(found: unknown, wanted: unknown, message: string): unknown
}

/** Asserts that a property holds for `numRuns` random inputs. */
export function holds<T>(
  t: Asserts,
  message: string,
  property: fc.IProperty<T>,
  numRuns: number = 60,
): void {
  const result = fc.check(property, { numRuns })
  t.equal(result.failed ? fc.defaultReportMessage(result) : '', '', message)
}
