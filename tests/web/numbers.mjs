// node numbers.mjs JOBS: what the module makes of members' outputs, and the page of pictures in other sizes, as JSON.
import { readFile } from "node:fs/promises";
import path from "node:path";

const at = (name) => path.join(process.env.COMPILED, name);
const { summarise } = await import(at("module/index.js"));
const { resample } = await import(at("page/resample.js"));
const jobs = JSON.parse(await readFile(process.argv[2], "utf8"));
const number = (one) => (one === null ? NaN : Number(one));
const listed = ({ data }) => [...data].map((one) => (Number.isFinite(one) ? one : String(one)));
const summaries = jobs.summaries.map(({ kind, axis, members, shape }) => {
  const outputs = members.map((data) => ({ data: Float32Array.from(data, number), shape }));
  const found = summarise({ name: "out", dtype: "float32", shape, kind, axis }, members.map((_, one) => one), outputs);
  return Object.fromEntries(Object.entries(found).filter(([, one]) => one?.data).map(([name, one]) => [name, listed(one)]));
});
const pictures = jobs.pictures.map(({ pixels, size, to, channels }) =>
  [...resample(Uint8Array.from(pixels), size, to, channels)]);
console.log(JSON.stringify({ summaries, pictures }));
