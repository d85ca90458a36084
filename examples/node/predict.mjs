// model.onnx in onnxruntime-node: every golden sample through every member, beside the inputs that `hnexport golden` wrote.
// Prints what each member ranks first, by the names that the bundle has of its classes.
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

/** The class that a member ranks first of each sample; null where an output is no logits [sample, class]. */
function firstChoices({ outputs, usage }, name, { data, dims }) {
  const { kind, axis } = outputs.find((output) => output.name === name);
  if (kind !== "logits" || axis !== 1 || dims.length !== 2) return null;
  const names = usage?.class_names?.[name];
  return Array.from({ length: dims[0] }, (_, sample) => {
    const logits = data.subarray(sample * dims[1], (sample + 1) * dims[1]);
    const best = logits.indexOf(Math.max(...logits));
    return names?.[best] ?? `class ${best}`;
  });
}

const [bundle, golden] = process.argv.slice(2);
const manifest = JSON.parse(await readFile(join(bundle, "manifest.json"), "utf8"));
const index = JSON.parse(await readFile(join(golden, "golden.json"), "utf8"));
const inputs = {};
for (const item of index.inputs) inputs[item.name] = await tensor(golden, item);

const session = await ort.InferenceSession.create(join(bundle, "model.onnx"));
for (const member of [...index.members, ...index.unknown_ids]) {
  const cond_id = new ort.Tensor("int64", BigInt64Array.of(BigInt(member)), []);
  const outputs = await session.run({ cond_id, ...inputs });
  for (const item of index.outputs) {
    const { data } = outputs[item.name];
    const choices = index.members.includes(member) && firstChoices(manifest, item.name, outputs[item.name]);
    if (choices) console.log(`member ${member}, ${item.name}: ${choices.join(", ")}`);
    const path = join(golden, item.raw.replace("{id}", member));
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
}
await writeFile(join(golden, "runtime.txt"), `onnxruntime-node on Node ${process.version}`);
