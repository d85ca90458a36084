// node usage.mjs JOBS: what the module makes of manifests, of pictures and of ensembles that say how they are used.
import { readFile } from "node:fs/promises";
import path from "node:path";
import ort from "onnxruntime-node";

const at = (name) => path.join(process.env.COMPILED, name);
const { imageTensor, load } = await import(at("module/index.js"));
const { readManifest } = await import(at("module/files.js"));
const { imageInput } = await import(at("module/images.js"));
const jobs = JSON.parse(await readFile(process.argv[2], "utf8"));
const said = async (call) => {
  try {
    return await call();
  } catch (error) {
    return { refused: `${error.name}: ${error.message}` };
  }
};
const listed = ({ data, shape }) => ({ data: [...data], shape, kind: data.constructor.name });
const given = ({ pixels, width, height }) =>
  width ? { data: Uint8ClampedArray.from(pixels), width, height } : Uint8Array.from(pixels);

const manifests = [];
for (const text of jobs.manifests ?? []) {
  manifests.push(await said(async () => {
    const { usage, ...manifest } = await readManifest(async () => new TextEncoder().encode(text));
    return { usage, image: imageInput({ ...manifest, usage }) };
  }));
}
const pictures = [];
for (const one of jobs.pictures ?? []) {
  pictures.push(await said(() => listed(imageTensor(given(one), one.input, one.normalisation))));
}
const ensembles = [];
for (const { folder, pixels, options, outputs } of jobs.ensembles ?? []) {
  const ensemble = await load((name) => readFile(path.join(folder, name)), { ort, providers: ["cpu"] });
  const logits = async () => {
    const found = await ensemble.predict(ensemble.imageTensor(given({ pixels }), options), { member: 1 });
    return listed(found.logits);
  };
  ensembles.push({
    usage: ensemble.usage, image: ensemble.image, names: ensemble.classNames(),
    of: await Promise.all((outputs ?? []).map((name) => said(() => ensemble.classNames(name)))),
    logits: pixels ? await said(logits) : null,
  });
}
console.log(JSON.stringify({ manifests, pictures, ensembles }));
process.exit(0);
