export { load, LoadedEnsemble, type LoadOptions } from "./ensemble.js";
export { type Progress, type Read, type Source } from "./files.js";
export { type Golden } from "./golden.js";
export { summarise, type LogitsSummary, type Summary, type ValueSummary } from "./summaries.js";
export { type Inputs } from "./tensors.js";
export {
  HnexportError, type Manifest, type Numbers, type OutputSpec, type Runtime, type Tensor, type TensorSpec,
} from "./types.js";
