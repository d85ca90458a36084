// Runs jobs in any onnxruntime for JavaScript. A job is a graph and calls of it; see tests/support/foreign_runtimes.py.
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
    const session = await open(ort, job, read, options);
    const calls = [];
    for (const call of job.calls) calls.push(await runCall(ort, session, call, read, write));
    await session.release();
    return { calls };
  } catch (error) {
    return { error: String(error?.message ?? error) };
  }
}

export async function open(ort, job, read, options) {
  if (!job.memory) return ort.InferenceSession.create(job.graph, options);
  const externalData = [];
  for (const [path, file] of Object.entries(job.external)) externalData.push({ path, data: await read(file) });
  return ort.InferenceSession.create(await read(job.graph), { ...options, externalData });
}

export async function feedsOf(ort, call, read) {
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
