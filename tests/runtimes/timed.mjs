// What members and graphs cost in onnxruntime for JavaScript, and what the web module makes of a bundle.
// A contender is a graph, as in jobs.mjs, or a bundle, which the web module loads; either with one call's `feeds`.
import { feedsOf, open } from "./jobs.mjs";

const LOADS = 5;

// `memory()` gives the bytes that the process has; without `options` onnxruntime chooses.
export async function runJobs(ort, jobs, read, write, options, memory) {
  const own = { ...options, intraOpNumThreads: 1 };
  const results = [];
  for (const job of jobs) {
    try {
      results.push(await KINDS[job.kind]((one) => opened(ort, one, read, own), job, write, memory));
    } catch (error) {
      results.push({ error: String(error?.message ?? error) });
    }
  }
  return results;
}

const KINDS = { predict, measure, resident };

/** Every id of a bundle through the web module; an id that it refuses has no output. */
async function predict(open, job, write) {
  const one = await open(job);
  const refused = [];
  for (const id of job.ids) {
    const outputs = await one.call(id).catch((error) => {
      if (error.name !== "HnexportError") throw error;
      refused.push(id);
    });
    for (const [name, { data }] of Object.entries(outputs ?? {})) {
      await write(`${job.to}-${id}-${name}.bin`, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    }
  }
  return { refused };
}

/** Milliseconds of loading the first contender, and of a call of each, in rounds of any order. */
async function measure(open, job) {
  const contenders = [];
  for (const one of job.contenders) contenders.push({ ...await open(one), times: [] });
  const loads = [];
  const stop = performance.now() + 1000 * job.seconds;
  while (!loads.length || (loads.length < LOADS && performance.now() < stop)) {
    const start = performance.now();
    const again = await open(job.contenders[0]);
    loads.push(performance.now() - start);
    await again.release();
  }
  for (const { call } of contenders) await call(0);
  const end = performance.now() + 1000 * job.seconds;
  while (performance.now() < end || contenders[0].times.length < job.rounds) {
    for (const { call, times } of shuffled(contenders)) {
      const start = performance.now();
      await call(0);
      times.push(performance.now() - start);
    }
  }
  for (const { release } of contenders) await release();
  return { load_ms: median(loads), call_ms: contenders.map(({ times }) => median(times)) };
}

/** Bytes of each further member: of copies of a graph, or in ensembles that keep their members. */
async function resident(open, job, write, memory) {
  const kept = [];
  const another = async () => {
    kept.push(await open(job));
    await kept.at(-1).call(0);
  };
  const ahead = job.bundle ? job.copies : 2;
  for (let copy = 0; copy < ahead; copy++) await another();
  const before = await settled(memory);
  if (!job.bundle) for (let copy = 0; copy < job.copies; copy++) await another();
  else for (const { call } of kept) for (const member of job.further) await call(member);
  const after = await settled(memory);
  for (const { release } of kept) await release();
  return { bytes: (after - before) / (job.copies * (job.bundle ? job.further.length : 1)) };
}

async function settled(memory) {
  for (let time = 0; time < 3; time++) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return memory();
}

async function opened(ort, one, read, options) {
  const feeds = await feedsOf(ort, one, read);
  if (!one.bundle) {
    const session = await open(ort, one, read, options);
    return { call: () => session.run(feeds), release: () => session.release() };
  }
  const { load } = await import("/module/index.js");
  const providers = options.executionProviders;
  const ensemble = await load((name) => read(`${one.bundle}/${name}`), { ort, providers });
  const inputs = Object.fromEntries(Object.entries(feeds).map(([name, { data, dims }]) => [name, { data, shape: dims }]));
  return { call: (member) => ensemble.predict(inputs, { member }), release: () => ensemble.release() };
}

const median = (times) => times.sort((a, b) => a - b)[times.length >> 1];
const shuffled = (list) => list.map((one) => [Math.random(), one]).sort(([a], [b]) => a - b).map(([, one]) => one);
