// Runs jobs in any onnxruntime for JavaScript. A job is a graph and calls of it; see tests/support/foreign_runtimes.py.
// With `seconds` the first call is repeated for so long: `load_ms`, and the median in `call_ms`.
const ARRAYS = {
  float32: Float32Array, float64: Float64Array, int64: BigInt64Array, uint64: BigUint64Array, int32: Int32Array,
  uint32: Uint32Array, int16: Int16Array, uint16: Uint16Array, int8: Int8Array, uint8: Uint8Array, bool: Uint8Array,
};

// `read(path)` gives bytes (Uint8Array), `write(path, bytes)` keeps them.
export async function runJobs(ort, jobs, read, write, options = {}) {
  const results = [];
  for (const job of jobs) results.push(await runJob(ort, job, read, write, options));
  return results;
}

async function runJob(ort, job, read, write, options) {
  try {
    const start = performance.now();
    const session = await open(ort, job, read, options);
    const load_ms = performance.now() - start;
    const calls = [];
    for (const call of job.calls) calls.push(await runCall(ort, session, call, read, write));
    const call_ms = job.seconds ? await median(session, await feedsOf(ort, job.calls[0], read), job.seconds) : null;
    await session.release();
    return { calls, load_ms, call_ms };
  } catch (error) {
    return { error: String(error?.message ?? error) };
  }
}

async function median(session, feeds, seconds) {
  const times = [];
  const end = performance.now() + 1000 * seconds;
  while (performance.now() < end || times.length < 5) {
    const start = performance.now();
    await session.run(feeds);
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[times.length >> 1];
}

async function open(ort, job, read, options) {
  const more = job.seconds ? { ...options, intraOpNumThreads: 1 } : options;
  if (!job.memory) return ort.InferenceSession.create(job.graph, more);
  const externalData = [];
  for (const [path, file] of Object.entries(job.external)) externalData.push({ path, data: await read(file) });
  return ort.InferenceSession.create(await read(job.graph), { ...more, externalData });
}

async function feedsOf(ort, call, read) {
  const feeds = {};
  for (const [name, { dtype, shape, file }] of Object.entries(call.feeds)) {
    const bytes = (await read(file)).slice();
    const data = new ARRAYS[dtype](bytes.buffer, 0, bytes.byteLength / ARRAYS[dtype].BYTES_PER_ELEMENT);
    feeds[name] = new ort.Tensor(dtype, data, shape);
  }
  return feeds;
}

async function runCall(ort, session, call, read, write) {
  const feeds = await feedsOf(ort, call, read);
  const outputs = {};
  let number = 0;
  for (const [name, tensor] of Object.entries(await session.run(feeds))) {
    const data = tensor.data;
    const file = `${call.to}-${number++}.bin`;
    await write(file, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    outputs[name] = { dtype: tensor.type, shape: [...tensor.dims], file };
  }
  return outputs;
}
