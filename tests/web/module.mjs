// node module.mjs RUNTIME BUNDLE: the module in Node, with what it says of the golden samples, as JSON.
import { readFile } from "node:fs/promises";
import path from "node:path";

const [runtime, bundle] = process.argv.slice(2);
const { load } = await import(path.join(process.env.COMPILED, "module/index.js"));
const found = await import(runtime);
const ort = found.InferenceSession ? found : found.default;
if (runtime === "onnxruntime-web") ort.env.wasm.numThreads = 1;
const ensemble = await load((name) => readFile(path.join(bundle, name)), {
  ort, residentMembers: 2, providers: [runtime === "onnxruntime-web" ? "wasm" : "cpu"],
});
const plain = (value) => JSON.parse(JSON.stringify(value, (_, one) =>
  ArrayBuffer.isView(one) ? [...one].map((number) => (Number.isFinite(Number(number)) ? Number(number) : String(number))) : one));
const changed = async (name, other) => {
  const manifest = JSON.parse(await readFile(path.join(bundle, name), "utf8"));
  return new TextEncoder().encode(JSON.stringify({ ...manifest, ...other }));
};
const refused = {};
for (const [name, call] of Object.entries({
  "too large": () => ensemble.predict(ensemble.golden.inputs, { member: ensemble.members }),
  "negative": () => ensemble.predict(ensemble.golden.inputs, { member: -1 }),
  "a fraction": () => ensemble.predict(ensemble.golden.inputs, { member: 0.5 }),
  "no members": () => ensemble.predictMean(ensemble.golden.inputs, { members: [] }),
  "no member": () => ensemble.predict(ensemble.golden.inputs),
  "a text": () => ensemble.predict(ensemble.golden.inputs, { member: "1" }),
  "nothing": () => ensemble.predict(null, { member: 0 }),
  "no address": () => load("bundles/x", { ort }),
  "half a manifest": () => load((name) => changed(name, { slots: null }), { ort }),
  "of a vector": () => load((name) => changed(name, { conditions: ["code"] }), { ort }),
  "no input": () => ensemble.predict({}, { member: 0 }),
  "unknown input": () => ensemble.predict({ ...ensemble.golden.inputs, other: new Float32Array(1) }, { member: 0 }),
})) {
  refused[name] = await call().then(() => "taken", (error) => `${error.name}: ${error.message}`);
}
const together = [];
const mean = await ensemble.predictMean(ensemble.golden.inputs, { onMember: (member) => together.push(member) });
// Asked for at once, they are answered one after the other.
const [first, again] = await Promise.all([0, ensemble.members - 1].map((member) =>
  ensemble.predict(ensemble.golden.inputs, { member })));
// Whoever called fills his arrays with the next sample at once.
const copied = Object.fromEntries(Object.entries(ensemble.golden.inputs).map(([name, { data, shape }]) =>
  [name, { data: data.slice(), shape }]));
const waiting = [ensemble.predict(copied, { member: 0 }), ensemble.predictMean(copied, { members: [0, 1] })];
Object.values(copied).forEach(({ data }) => data.fill(data instanceof BigInt64Array ? 0n : 0));
const [alone, pair] = await Promise.all(waiting);
const overwritten = { alone: plain(alone), pair: plain(pair) };
console.log(JSON.stringify({
  overwritten,
  members: ensemble.members, worst: await ensemble.check(), resident: ensemble.resident, order: together, refused,
  mean: plain(mean), first: plain(first), last: plain(again),
}));
await ensemble.release();
process.exit(0);
