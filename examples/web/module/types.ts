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

/** What is used of a bundle's `manifest.json`. */
export interface Manifest {
  readonly schema: string;
  readonly schema_version: number;
  readonly name: string;
  readonly origin: string;
  readonly members: number;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly OutputSpec[];
  readonly slots: readonly TensorSpec[];
  /** Inputs of which a member's weights are made. */
  readonly conditions?: readonly string[];
  readonly onnx: { readonly supplied: readonly string[] } | null;
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
