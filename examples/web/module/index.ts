export { load, LoadedEnsemble, type LoadOptions } from "./ensemble.js";
export { type Progress, type Read, type Source } from "./files.js";
export { type Golden } from "./golden.js";
export { imageTensor, ofColours, type ImageInput, type PictureData, type Pixels } from "./images.js";
export { summarise, type LogitsSummary, type Summary, type ValueSummary } from "./summaries.js";
export { type Inputs } from "./tensors.js";
export {
  HnexportError, type Manifest, type Normalisation, type Numbers, type OutputSpec, type Runtime, type Tensor,
  type TensorSpec, type Usage,
} from "./types.js";
