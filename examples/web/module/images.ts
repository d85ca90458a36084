import { isTensor, size } from "./tensors.js";
import { HnexportError, shown, type Manifest, type Normalisation, type Tensor, type TensorSpec } from "./types.js";

const LAYOUTS = ["nchw", "nhwc", "flat-hwc"] as const;

/** An input that takes pictures: where its channels, height and width lie. */
export interface ImageInput {
  readonly name: string;
  readonly dtype: "float32" | "uint8";
  /** `[batch, channel, height, width]`, `[batch, height, width, channel]`, or the latter with one axis of all three. */
  readonly layout: (typeof LAYOUTS)[number];
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/** `[batch, height, width, channel]` of 0 to 255 in the network's size, or one picture of a canvas in that size. */
export type Pixels = Uint8Array | Uint8ClampedArray | PictureData;

/** What `getImageData` of a canvas gives: red, green, blue and alpha of each pixel. */
export interface PictureData {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}

/** The bundle's only input, if it takes pictures: as its family says, otherwise as its axes look. */
export function imageInput({ inputs, source }: Manifest): ImageInput | null {
  const [spec, ...others] = inputs.slice(1);
  const dtype = spec?.dtype;
  if (!spec || others.length || (dtype !== "float32" && dtype !== "uint8")) return null;
  if (source?.family === "wide-resnet") return ofWideResNet(spec, source.spec);
  const [batch, first, second, third] = spec.shape;
  if (batch !== "batch" || spec.shape.length !== 4) return null;
  if (typeof first !== "number" || typeof second !== "number" || typeof third !== "number") return null;
  const { name } = spec;
  if (first === 1 || first === 3) return { name, dtype, layout: "nchw", channels: first, height: second, width: third };
  if (third === 1 || third === 3) return { name, dtype, layout: "nhwc", channels: third, height: first, width: second };
  return null;
}

/** A Wide ResNet's specification knows the channels, also where its input has one axis of all three. */
function ofWideResNet({ name, dtype, shape }: TensorSpec, specification: unknown): ImageInput {
  const { image_layout, network } = (specification ?? {}) as { image_layout?: unknown; network?: { image?: object } };
  const { channels, height, width } = (network?.image ?? {}) as Partial<ImageInput>;
  const layout = LAYOUTS.find((one) => one === image_layout);
  const row = shape.slice(1).map(Number);
  if (!layout || !channels || !height || !width || size([channels, height, width]) !== size(row)) {
    throw new HnexportError("manifest.json is damaged: its source says of no image what the input takes; copy the bundle again");
  }
  return { name, dtype: dtype as ImageInput["dtype"], layout, channels, height, width };
}

/** Pictures as the network takes them: `(pixel / 255 - mean) / std`, or the pixels themselves where it takes uint8. */
export function imageTensor(pixels: Pixels, input: ImageInput, normalisation: Normalisation | null): Tensor {
  const { height, width, channels, layout, dtype } = input;
  const given = withChannels(pixels, input);
  const each = height * width * channels;
  const batch = given.length / each;
  if (!Number.isInteger(batch)) {
    throw new HnexportError(`pixels: expected [batch, ${height}, ${width}, ${channels}], found ${given.length} numbers`);
  }
  const values = dtype === "uint8" ? null : levels(normalisation, channels);
  const data = values ? new Float32Array(given.length) : new Uint8Array(given.length);
  for (let from = 0; from < given.length; from++) {
    const channel = from % channels;
    const place = Math.floor((from % each) / channels);
    const to = layout === "nchw" ? from - (from % each) + channel * height * width + place : from;
    const pixel = given[from] ?? 0;
    data[to] = values?.[channel]?.[pixel] ?? pixel;
  }
  const rows = { "nchw": [channels, height, width], "nhwc": [height, width, channels], "flat-hwc": [each] };
  return { data, shape: [batch, ...rows[layout]] };
}

/** Throws what `refused` makes of the first of mean and std that pictures of so many channels cannot have. */
export function checkNormalisation(
  given: Normalisation, channels: number | undefined, refused: (name: "mean" | "std", expected: string) => Error,
): void {
  for (const name of ["mean", "std"] as const) {
    const values: unknown = given?.[name];
    const numbers = Array.isArray(values) && values.length > 0
      && values.every((one) => Number.isFinite(one) && (name === "mean" || one > 0));
    if (!numbers) throw refused(name, `a list of numbers${name === "std" ? " above 0" : ""}`);
    if (channels !== undefined && values.length !== 1 && values.length !== channels) {
      throw refused(name, channels === 1 ? "one number" : `1 or ${channels} numbers, one a channel`);
    }
  }
}

/** What each pixel becomes, by channel: rounded to float32 at every step, as `hnexport predict` does. */
function levels(normalisation: Normalisation | null, channels: number): readonly Float32Array[] {
  if (!normalisation) {
    throw new HnexportError(
      "pixels: how pictures were normalised in training is not known: give normalisation: { mean, std }, of the " +
      "training, or { mean: [0], std: [1] } where the network was trained on pixel/255",
    );
  }
  checkNormalisation(normalisation, channels, (name, expected) =>
    new HnexportError(`normalisation.${name}: expected ${expected}, found ${shown(normalisation[name])}`));
  return Array.from({ length: channels }, (_, channel) => {
    const [mean, std] = [normalisation.mean, normalisation.std].map((values) =>
      Math.fround((values.length > 1 ? values[channel] : values[0]) as number)) as [number, number];
    return Float32Array.from({ length: 256 }, (_, pixel) => Math.fround(Math.fround(pixel / 255) - mean) / std);
  });
}

/** Red, green, blue and alpha as the network's channels; grey as Pillow makes it. */
export function ofColours(rgba: Uint8Array | Uint8ClampedArray, channels: number): Uint8Array {
  const pixels = new Uint8Array((rgba.length / 4) * channels);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    const [red, green, blue] = [rgba[from] ?? 0, rgba[from + 1] ?? 0, rgba[from + 2] ?? 0];
    if (channels === 1) {
      pixels[to++] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16; // ITU-R 601-2, as Pillow rounds it
      continue;
    }
    pixels[to++] = red;
    pixels[to++] = green;
    pixels[to++] = blue;
  }
  return pixels;
}

function withChannels(pixels: Pixels, { height, width, channels }: ImageInput): Uint8Array | Uint8ClampedArray {
  if (pixels instanceof Uint8Array || pixels instanceof Uint8ClampedArray) return pixels;
  const { data, width: across, height: down } = (pixels ?? {}) as Partial<PictureData>;
  if (isTensor(pixels) || ![1, 3].includes(channels) || !(data instanceof Uint8Array || data instanceof Uint8ClampedArray)) {
    throw new HnexportError(`pixels: expected [batch, ${height}, ${width}, ${channels}] in a Uint8Array, or one picture's ImageData`);
  }
  if (across !== width || down !== height || data.length !== size([height, width, 4])) {
    throw new HnexportError(`pixels: expected a picture of ${width} × ${height} pixels, found ${across} × ${down}: scale it first`);
  }
  for (let alpha = 3; alpha < data.length; alpha += 4) {
    if (data[alpha] !== 255) throw new HnexportError("pixels: the picture is transparent: draw it on a background first");
  }
  return ofColours(data, channels);
}

/** The pictures' input, or why there is none. */
export function requireImages(input: ImageInput | null, specs: readonly TensorSpec[]): ImageInput {
  if (input) return input;
  const names = specs.map(({ name, dtype, shape }) => `${name} ${dtype} [${shape.join(", ")}]`).join(", ");
  throw new HnexportError(`this network takes no pictures, but ${names || "nothing"}`);
}
