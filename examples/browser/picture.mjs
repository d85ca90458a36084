// One member of model.onnx in onnxruntime-web: a picture on a canvas becomes the name of a class.
// `load` fetches the bundle's files; `classify` takes what `context.getImageData(0, 0, width, height)` gives.

export async function load(ort, bundle, provider = "wasm") {
  const read = async (name) => new Uint8Array(await (await fetch(`${bundle}/${name}`)).arrayBuffer());
  const manifest = JSON.parse(new TextDecoder().decode(await read("manifest.json")));
  const session = await ort.InferenceSession.create(await read("model.onnx"), {
    executionProviders: [provider], // "wasm" or "webgpu"
    externalData: [{ path: "weights.bin", data: await read("weights.bin") }],
  });
  return { manifest, session };
}

export async function classify(ort, { manifest, session }, member, { data, width, height }) {
  const [, { name, shape }] = manifest.inputs; // the first is cond_id
  const [, channels, ...sizes] = shape;
  const { mean, std } = manifest.usage?.normalisation ?? {};
  if (!mean) throw new Error("nobody said how training normalised pictures");
  if (channels !== 3 || sizes[0] !== height || sizes[1] !== width) throw new Error(`the network takes ${shape}`);
  if (!(member >= 0 && member < manifest.members)) throw new Error(`there is no member ${member}`);

  const places = height * width; // data is uint8 [height, width, 4]: red, green, blue, alpha
  const image = new Float32Array(3 * places);
  for (let channel = 0; channel < 3; ++channel)
    for (let place = 0; place < places; ++place)
      image[channel * places + place] =
        (data[4 * place + channel] / 255 - mean[channel % mean.length]) / std[channel % std.length];

  const cond_id = new ort.Tensor("int64", BigInt64Array.of(BigInt(member)), []); // no axes
  const outputs = await session.run({ cond_id, [name]: new ort.Tensor("float32", image, [1, 3, height, width]) });
  const output = manifest.outputs[0].name;
  const logits = [...outputs[output].data];
  const best = logits.indexOf(Math.max(...logits));
  return manifest.usage?.class_names?.[output]?.[best] ?? `class ${best}`;
}
