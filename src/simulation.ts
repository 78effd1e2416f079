// The public face of the simulator: a program's own tests on whole clusters under faults.
export {
  simulate,
  simulateMany,
  type SimulateManyOptions,
  type SimulateOptions,
  type SimulationProgress,
  type SimulationResult,
} from './simulation/program/simulate.ts'
export { SimulationFailure } from './simulation/program/failure.ts'
export type {
  ClientProcess,
  NodeProcess,
  ProcessParts,
  ProgramOptions,
  SimulatedMachine,
} from './simulation/program/options.ts'
export { faultKinds, type FaultKind } from './simulation/nemesis.ts'
