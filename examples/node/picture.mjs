// A picture through one member of model.onnx in onnxruntime-node: prints the class that it ranks first.
//     node picture.mjs BUNDLE MEMBER PICTURE

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import ort from "onnxruntime-node";
import sharp from "sharp";

const [bundle, member, picture] = process.argv.slice(2);
const manifest = JSON.parse(await readFile(join(bundle, "manifest.json"), "utf8"));
const [, { name, shape }] = manifest.inputs; // the first is cond_id
const [, channels, height, width] = shape;
const { mean, std } = manifest.usage?.normalisation ?? {};
if (!mean) throw new Error("nobody said how training normalised pictures");
if (!(Number(member) >= 0 && Number(member) < manifest.members)) throw new Error(`there is no member ${member}`);

// pixels [height, width, channel] become float32 [batch, channel, height, width]
const { data: pixels, info } = await sharp(picture).removeAlpha().raw().toBuffer({ resolveWithObject: true });
if (info.width !== width || info.height !== height || info.channels !== channels)
  throw new Error(`the network takes ${width}x${height} with ${channels} channels`);
const image = new Float32Array(pixels.length);
for (let channel = 0; channel < channels; ++channel)
  for (let place = 0; place < height * width; ++place)
    image[channel * height * width + place] =
      (pixels[place * channels + channel] / 255 - mean[channel % mean.length]) / std[channel % std.length];

const session = await ort.InferenceSession.create(join(bundle, "model.onnx"));
const cond_id = new ort.Tensor("int64", BigInt64Array.of(BigInt(member)), []); // no axes
const outputs = await session.run({ cond_id, [name]: new ort.Tensor("float32", image, [1, channels, height, width]) });
const output = manifest.outputs[0].name;
const best = outputs[output].data.indexOf(Math.max(...outputs[output].data));
console.log(manifest.usage?.class_names?.[output]?.[best] ?? `class ${best}`);
