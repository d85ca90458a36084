// model.onnx in onnxruntime-node: every golden sample through every member, beside the inputs that `hnexport golden` wrote.
//     node predict.mjs BUNDLE GOLDEN

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import ort from "onnxruntime-node";

const ARRAYS = {
  bool: Uint8Array, uint8: Uint8Array, int8: Int8Array, int16: Int16Array, int32: Int32Array,
  int64: BigInt64Array, float32: Float32Array, float64: Float64Array,
};

async function tensor(golden, { raw, dtype, shape }) {
  const bytes = await readFile(join(golden, raw));
  const values = new ARRAYS[dtype](bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  return new ort.Tensor(dtype, values, shape);
}

const [bundle, golden] = process.argv.slice(2);
const index = JSON.parse(await readFile(join(golden, "golden.json"), "utf8"));
const inputs = {};
for (const item of index.inputs) inputs[item.name] = await tensor(golden, item);

const session = await ort.InferenceSession.create(join(bundle, "model.onnx"));
for (const member of [...index.members, ...index.unknown_ids]) {
  const cond_id = new ort.Tensor("int64", BigInt64Array.of(BigInt(member)), []);
  const outputs = await session.run({ cond_id, ...inputs });
  for (const item of index.outputs) {
    const { data } = outputs[item.name];
    const path = join(golden, item.raw.replace("{id}", member));
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
}
await writeFile(join(golden, "runtime.txt"), `onnxruntime-node on Node ${process.version}`);
