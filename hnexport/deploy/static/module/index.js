export { load, LoadedEnsemble } from "./ensemble.js";
export {} from "./files.js";
export {} from "./golden.js";
export { imageTensor, ofColours } from "./images.js";
export { summarise } from "./summaries.js";
export {} from "./tensors.js";
export { HnexportError, } from "./types.js";
