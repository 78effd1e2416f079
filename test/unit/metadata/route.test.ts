// Which server a metadata client dials next.
import t from 'tap'
import { Route } from '../../../src/metadata/client/route.ts'

const addresses = ['a', 'b', 'c'].map((host) => ({ host, port: 1 }))
const routeOf = (at: number): Route => new Route({ addresses, at })
const dial = (route: Route, times: number): string =>
  Array.from({ length: times }, () => route.next().host).join('')

t.test('one after the other, and whoever was named first', async (t) => {
  const route = routeOf(1)
  t.equal(dial(route, 4), 'bcab')
  route.named({ host: 'elsewhere', port: 1 })
  t.equal(dial(route, 2), 'elsewherec')
})

t.test('one that fell silent is asked again once the others were', async (t) => {
  const route = routeOf(0)
  route.next()
  route.silent()
  route.named({ host: 'a', port: 1 })
  t.equal(dial(route, 2), 'bc', 'although it was named: those who name it may not know yet')
  route.named({ host: 'a', port: 1 })
  t.equal(dial(route, 1), 'a', 'it may have come back')
})

t.test('where there is one, it is asked', async (t) => {
  const route = new Route({ addresses: addresses.slice(0, 1), at: 0 })
  route.next()
  route.silent()
  t.equal(dial(route, 2), 'aa')
})
