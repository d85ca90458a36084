// node browser.mjs CHROMIUM JOBS RESULTS [wasm|webgpu [SCRIPT [SECONDS]]]: onnxruntime-web in a browser, which fetches
// everything over HTTP. SCRIPT is jobs.mjs or timed.mjs. WebGPU runs its own kernels on Chromium's software GPU. After
// SECONDS it ends, and the browser with it.
import { readFile, writeFile } from "node:fs/promises";
import http from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { privateBytes } from "./memory.mjs";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const MODULE = path.join(HERE, "../../hnexport/deploy/static/module");
const TYPES = { ".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm" };
const [executablePath, jobs, results, provider = "wasm", script = "jobs.mjs", seconds = "240"] = process.argv.slice(2);
setTimeout(() => {
  console.error(`Error: the browser was not done after ${seconds} s`);
  process.exit(124); // playwright kills the browser then
}, 1000 * Number(seconds)).unref();

async function answer(request, response) {
  const url = new URL(request.url, "http://localhost");
  const file = url.searchParams.get("path");
  if (request.method === "POST") {
    const parts = [];
    for await (const part of request) parts.push(part);
    await writeFile(file, Buffer.concat(parts));
    return response.end();
  }
  if (url.pathname === "/") return response.setHeader("content-type", "text/html").end("<!doctype html><body></body>");
  const name = path.basename(url.pathname);
  const source = file ?? (url.pathname.startsWith("/module/") ? path.join(MODULE, name)
    : path.join(HERE, url.pathname.startsWith("/ort/") ? `node_modules/onnxruntime-web/dist/${name}` : name));
  response.setHeader("content-type", TYPES[path.extname(source)] ?? "application/octet-stream");
  response.end(await readFile(source));
}

const server = http.createServer((request, response) =>
  answer(request, response).catch((error) => { response.statusCode = 500; response.end(String(error)); }));
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const GPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--ignore-gpu-blocklist",
  "--enable-features=Vulkan,WebGPU"];
const browser = await chromium.launch({ executablePath, args: [...(provider === "webgpu" ? GPU : []),
  "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync", "--js-flags=--expose-gc"] });
const page = await browser.newPage();
const system = await browser.newBrowserCDPSession();
await page.exposeFunction("rendererBytes", async () => {
  const { processInfo } = await system.send("SystemInfo.getProcessInfo");
  const each = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => privateBytes(id));
  return (await Promise.all(each)).reduce((sum, one) => sum + one, 0);
});
await page.goto(`http://127.0.0.1:${server.address().port}/`);
const found = await page.evaluate(async ([list, provider, script]) => {
  const ort = await import(`/ort/ort.${provider}.min.mjs`);
  const { runJobs } = await import(`/${script}`);
  ort.env.wasm.wasmPaths = "/ort/";
  ort.env.wasm.numThreads = 1;
  const at = (file) => `/?${new URLSearchParams({ path: file })}`;
  const read = async (file) => new Uint8Array(await (await fetch(`/file${at(file).slice(1)}`)).arrayBuffer());
  const write = async (file, bytes) => { await fetch(`/file${at(file).slice(1)}`, { method: "POST", body: bytes }); };
  return runJobs(ort, list, read, write, { executionProviders: [provider] }, rendererBytes);
}, [JSON.parse(await readFile(jobs, "utf8")), provider, script]);
await writeFile(results, JSON.stringify(found));
await browser.close();
process.exit(0);
