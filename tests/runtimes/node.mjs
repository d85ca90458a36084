// node node.mjs onnxruntime-node|onnxruntime-web JOBS RESULTS
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { runJobs } from "./jobs.mjs";

const [runtime, jobs, results] = process.argv.slice(2);
const ort = createRequire(import.meta.url)(runtime);
if (ort.env.wasm) ort.env.wasm.numThreads = 1;
const read = async (path) => new Uint8Array(await readFile(path));
const found = await runJobs(ort, JSON.parse(await readFile(jobs, "utf8")), read, writeFile);
await writeFile(results, JSON.stringify(found));
process.exit(0);
