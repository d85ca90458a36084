import { isTensor, size } from "./tensors.js";
import { HnexportError, shown } from "./types.js";
const LAYOUTS = ["nchw", "nhwc", "flat-hwc"];
/** The bundle's only input, if it takes pictures: as its family says, otherwise as its axes look. */
export function imageInput({ inputs, source }) {
    const [spec, ...others] = inputs.slice(1);
    const dtype = spec?.dtype;
    if (!spec || others.length || (dtype !== "float32" && dtype !== "uint8"))
        return null;
    if (source?.family === "wide-resnet")
        return ofWideResNet(spec, source.spec);
    const [batch, first, second, third] = spec.shape;
    if (batch !== "batch" || spec.shape.length !== 4)
        return null;
    if (typeof first !== "number" || typeof second !== "number" || typeof third !== "number")
        return null;
    const { name } = spec;
    if (first === 1 || first === 3)
        return { name, dtype, layout: "nchw", channels: first, height: second, width: third };
    if (third === 1 || third === 3)
        return { name, dtype, layout: "nhwc", channels: third, height: first, width: second };
    return null;
}
/** A Wide ResNet's specification knows the channels, also where its input has one axis of all three. */
function ofWideResNet({ name, dtype, shape }, specification) {
    const { image_layout, network } = (specification ?? {});
    const { channels, height, width } = (network?.image ?? {});
    const layout = LAYOUTS.find((one) => one === image_layout);
    const row = shape.slice(1).map(Number);
    if (!layout || !channels || !height || !width || size([channels, height, width]) !== size(row)) {
        throw new HnexportError("manifest.json is damaged: its source says of no image what the input takes; copy the bundle again");
    }
    return { name, dtype: dtype, layout, channels, height, width };
}
/** Pictures as the network takes them: `(pixel / 255 - mean) / std`, or the pixels themselves where it takes uint8. */
export function imageTensor(pixels, input, normalisation) {
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
export function checkNormalisation(given, channels, refused) {
    for (const name of ["mean", "std"]) {
        const values = given?.[name];
        const numbers = Array.isArray(values) && values.length > 0
            && values.every((one) => Number.isFinite(one) && (name === "mean" || one > 0));
        if (!numbers)
            throw refused(name, `a list of numbers${name === "std" ? " above 0" : ""}`);
        if (channels !== undefined && values.length !== 1 && values.length !== channels) {
            throw refused(name, channels === 1 ? "one number" : `1 or ${channels} numbers, one a channel`);
        }
    }
}
/** What each pixel becomes, by channel: rounded to float32 at every step, as `hnexport predict` does. */
function levels(normalisation, channels) {
    if (!normalisation) {
        throw new HnexportError("pixels: how pictures were normalised in training is not known: give normalisation: { mean, std }, of the " +
            "training, or { mean: [0], std: [1] } where the network was trained on pixel/255");
    }
    checkNormalisation(normalisation, channels, (name, expected) => new HnexportError(`normalisation.${name}: expected ${expected}, found ${shown(normalisation[name])}`));
    return Array.from({ length: channels }, (_, channel) => {
        const [mean, std] = [normalisation.mean, normalisation.std].map((values) => Math.fround((values.length > 1 ? values[channel] : values[0])));
        return Float32Array.from({ length: 256 }, (_, pixel) => Math.fround(Math.fround(pixel / 255) - mean) / std);
    });
}
/** Red, green, blue and alpha as the network's channels; grey as Pillow makes it. */
export function ofColours(rgba, channels) {
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
function withChannels(pixels, { height, width, channels }) {
    if (pixels instanceof Uint8Array || pixels instanceof Uint8ClampedArray)
        return pixels;
    const { data, width: across, height: down } = (pixels ?? {});
    if (isTensor(pixels) || ![1, 3].includes(channels) || !(data instanceof Uint8Array || data instanceof Uint8ClampedArray)) {
        throw new HnexportError(`pixels: expected [batch, ${height}, ${width}, ${channels}] in a Uint8Array, or one picture's ImageData`);
    }
    if (across !== width || down !== height || data.length !== size([height, width, 4])) {
        throw new HnexportError(`pixels: expected a picture of ${width} × ${height} pixels, found ${across} × ${down}: scale it first`);
    }
    for (let alpha = 3; alpha < data.length; alpha += 4) {
        if (data[alpha] !== 255)
            throw new HnexportError("pixels: the picture is transparent: draw it on a background first");
    }
    return ofColours(data, channels);
}
/** The pictures' input, or why there is none. */
export function requireImages(input, specs) {
    if (input)
        return input;
    const names = specs.map(({ name, dtype, shape }) => `${name} ${dtype} [${shape.join(", ")}]`).join(", ");
    throw new HnexportError(`this network takes no pictures, but ${names || "nothing"}`);
}
