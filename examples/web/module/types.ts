/** Numbers of a tensor; `float16` is whatever the runtime has for it (Float16Array, or its bits in Uint16Array). */
export type Numbers =
  | Float32Array | Float64Array | Int8Array | Int16Array | Int32Array | BigInt64Array
  | Uint8Array | Uint8ClampedArray | Uint16Array | Uint32Array | BigUint64Array;

/** A tensor in row-major order. */
export interface Tensor {
  readonly data: Numbers;
  readonly shape: readonly number[];
}

/** Name, dtype and shape; a string in `shape` is an axis of any size, `"batch"` that of the samples. */
export interface TensorSpec {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly (number | string)[];
}

/** An output: `logits` have classes along `axis`, anything else is a `value`. */
export interface OutputSpec extends TensorSpec {
  readonly kind: "logits" | "value";
  readonly axis: number | null;
}

/** What pictures need before they reach a float32 input: `(pixel / 255 - mean) / std`, one number or one a channel. */
export interface Normalisation {
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** What whoever uses a bundle has to know beside its tensors. */
export interface Usage {
  /** Of pictures; null where nobody said it, or where the graph normalises itself. */
  readonly normalisation: Normalisation | null;
  /** By output the classes in their order. */
  readonly class_names: Readonly<Record<string, readonly string[]>>;
  /** Under which the weights are given, as SPDX calls it; null where nobody said it. */
  readonly license: string | null;
  /** What nobody said and was assumed, a word each. */
  readonly assumed: readonly string[];
}

/** What is used of a bundle's `manifest.json`. */
export interface Manifest {
  readonly schema: string;
  readonly schema_version: number;
  readonly name: string;
  readonly origin: string;
  readonly members: number;
  /** The family that the ensemble is of, and its specification. */
  readonly source: { readonly family: string; readonly spec: unknown };
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly OutputSpec[];
  readonly slots: readonly TensorSpec[];
  /** Inputs of which a member's weights are made. */
  readonly conditions?: readonly string[];
  readonly onnx: { readonly supplied: readonly string[] } | null;
  readonly usage: Usage;
  readonly files: Readonly<Record<string, { readonly size_bytes: number; readonly sha256: string }>>;
}

/** What is used of onnxruntime: onnxruntime-web, onnxruntime-node or any other of the same API. */
export interface Runtime {
  readonly InferenceSession: { create(graph: Uint8Array, options?: object): Promise<Session> };
  readonly Tensor: new (dtype: never, data: never, shape?: readonly number[]) => RuntimeTensor;
}

export interface Session {
  run(feeds: never): Promise<Readonly<Record<string, unknown>>>;
  release(): Promise<void>;
}

export interface RuntimeTensor {
  readonly type: string;
  readonly data: unknown;
  readonly dims: readonly number[];
  dispose?(): void;
}

/** What went wrong, in words for whoever called. */
export class HnexportError extends Error {
  override readonly name = "HnexportError";
}

/** What was given in another's place, in a word. */
export function shown(given: unknown): string {
  if (given === null || given === undefined) return String(given);
  if (typeof given === "string") return `string ${JSON.stringify(given.slice(0, 40))}`;
  return Array.isArray(given) ? `list [${given.join(", ").slice(0, 40)}]` : `${typeof given} ${String(given).slice(0, 40)}`;
}

export function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
