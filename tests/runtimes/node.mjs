// node node.mjs onnxruntime-node|onnxruntime-web JOBS RESULTS [SCRIPT]: jobs.mjs, or timed.mjs with `node --expose-gc`.
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { privateBytes } from "./memory.mjs";

const [runtime, jobs, results, script = "jobs.mjs"] = process.argv.slice(2);
const { runJobs } = await import(`./${script}`);
const ort = createRequire(import.meta.url)(runtime);
if (ort.env.wasm) ort.env.wasm.numThreads = 1;
const read = async (path) => new Uint8Array(await readFile(path));
const found = await runJobs(ort, JSON.parse(await readFile(jobs, "utf8")), read, writeFile, {}, () => privateBytes("self"));
await writeFile(results, JSON.stringify(found));
process.exit(0);
