// Counts the syncs of a journal, for `stats`: a figure of speed is quoted with its syncs.
import type { JournalDevices } from '../../io/index.ts'

export interface SyncCount {
  count: number
}

export function countingDevices(devices: JournalDevices, syncs: SyncCount): JournalDevices {
  return {
    async open() {
      const device = await devices.open()
      return {
        allocate: (bytes) => device.allocate(bytes),
        prepare: (path, bytes) => device.prepare(path, bytes),
        open: (path, image) => device.open(path, image),
        commit(file, from, to, done) {
          syncs.count++
          device.commit(file, from, to, done)
        },
        closeFile: (file) => device.closeFile(file),
        close: () => device.close(),
      }
    },
  }
}
