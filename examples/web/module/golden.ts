import { ARRAYS, size } from "./tensors.js";
import { HnexportError, type Manifest, type Tensor } from "./types.js";

/** The samples of `golden.safetensors`, and what PyTorch in float64 says of them. */
export interface Golden {
  readonly kinds: readonly string[];
  /** By name `[sample, …]`. */
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** The members that were computed. */
  readonly members: readonly number[];
  /** By name `[member, sample, …]`. */
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** By name `[member, sample]`: how far float32 may be off by chance. */
  readonly noise: Readonly<Record<string, Tensor>>;
}

const CODES: Readonly<Record<string, string>> = {
  BOOL: "bool", U8: "uint8", I8: "int8", I16: "int16", U16: "uint16", I32: "int32", U32: "uint32", I64: "int64",
  U64: "uint64", F16: "float16", F32: "float32", F64: "float64",
};

export function readGolden(content: Uint8Array, manifest: Manifest): Golden {
  const { tensors, metadata } = safetensors(content);
  const take = (name: string): Tensor => {
    const found = tensors[name];
    if (!found) throw new HnexportError(`golden.safetensors has no ${name}; build the bundle again`);
    return found;
  };
  const by = (prefix: string, specs: readonly { readonly name: string }[]): Record<string, Tensor> =>
    Object.fromEntries(specs.map(({ name }) => [name, take(`${prefix}.${name}`)]));
  return {
    kinds: (JSON.parse(metadata["hnexport.golden"] ?? "{}") as { kinds?: string[] }).kinds ?? [],
    members: [...take("members").data].map(Number),
    inputs: by("input", manifest.inputs.slice(1)),
    outputs: by("output", manifest.outputs),
    noise: by("noise", manifest.outputs),
  };
}

function safetensors(content: Uint8Array): { tensors: Record<string, Tensor>; metadata: Record<string, string> } {
  type Entry = { dtype: string; shape: number[]; data_offsets: [number, number] };
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const start = 8 + Number(view.getBigUint64(0, true));
  const head = JSON.parse(new TextDecoder().decode(content.subarray(8, start))) as Record<string, Entry>;
  const { __metadata__: metadata, ...entries } = head;
  const tensors: Record<string, Tensor> = {};
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(entries)) {
    const kind = ARRAYS[CODES[dtype] ?? ""];
    if (!kind) continue;
    const bytes = content.slice(start + from, start + to); // a copy of its own is aligned
    tensors[name] = { data: new kind(bytes.buffer, 0, size(shape)), shape };
  }
  return { tensors, metadata: (metadata ?? {}) as unknown as Record<string, string> };
}

/** Some samples of a tensor whose first axis they lie along. */
export function rowsOf(tensor: Tensor, from: number, to: number): Tensor {
  const [count = 1, ...row] = tensor.shape;
  const each = count ? tensor.data.length / count : 0;
  return { data: tensor.data.slice(from * each, to * each), shape: [to - from, ...row] };
}

/** The relative L2 error of each row: `|found - expected| / |expected|`. */
export function rowErrors(found: Tensor, expected: Tensor, rows: number): number[] {
  if (found.data.length !== expected.data.length) return new Array<number>(rows).fill(Infinity);
  const each = found.data.length / Math.max(rows, 1);
  return Array.from({ length: rows }, (_, row) => {
    let difference = 0;
    let length = 0;
    for (let index = row * each; index < (row + 1) * each; index++) {
      const exact = Number(expected.data[index]);
      difference += (Number(found.data[index]) - exact) ** 2;
      length += exact ** 2;
    }
    if (!Number.isFinite(difference)) return Infinity;
    return difference === 0 ? 0 : Math.sqrt(difference / length);
  });
}
