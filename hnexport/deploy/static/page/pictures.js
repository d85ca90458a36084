import { ofColours } from "../module/index.js";
import { resample } from "./resample.js";
const MOST_BYTES = 2 ** 26;
const MOST_PIXELS = 2 ** 26;
/** Read a picture; what cannot be read is an error in words for whoever gave it. */
export async function readPicture(file, input) {
    if (file.size === 0)
        throw new Error("is empty");
    if (file.size > MOST_BYTES) {
        throw new Error(`has ${megabytes(file.size)}: pictures are read up to ${megabytes(MOST_BYTES)}`);
    }
    const bitmap = await decoded(file);
    try {
        const rgba = rgbaOf(bitmap);
        const source = ofColours(rgba.data, input.channels);
        const pixels = resample(source, [rgba.height, rgba.width], [input.height, input.width], input.channels);
        return { preview: preview(bitmap), seen: seen(pixels, input), pixels };
    }
    finally {
        bitmap.close();
    }
}
/** Its size is asked for before it is decoded. */
async function decoded(file) {
    const unreadable = new Error("is not an image that this browser can read: use PNG, JPEG, WebP or GIF");
    const address = URL.createObjectURL(file);
    const image = new Image();
    try {
        await new Promise((loaded, failed) => {
            image.onload = loaded;
            image.onerror = failed;
            image.src = address;
        }).catch(() => {
            throw unreadable;
        });
        const { naturalWidth: width, naturalHeight: height } = image;
        if (!width || !height)
            throw unreadable;
        if (width * height > MOST_PIXELS) {
            throw new Error(`has ${width} × ${height} pixels, more than are read (${MOST_PIXELS.toLocaleString("en")}): scale it`);
        }
        return await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" }).catch(() => {
            throw unreadable;
        });
    }
    finally {
        image.removeAttribute("src");
        URL.revokeObjectURL(address);
    }
}
/** Opaque: what is transparent lies on white. */
function rgbaOf(bitmap) {
    const context = canvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
    if (!context)
        throw new Error("cannot be drawn: this browser has no canvas left");
    context.fillStyle = "white";
    context.fillRect(0, 0, bitmap.width, bitmap.height);
    context.drawImage(bitmap, 0, 0);
    const drawn = context.getImageData(0, 0, bitmap.width, bitmap.height);
    if (drawn.data[3] !== 255) { // a canvas with a side too long draws nothing, without a word
        throw new Error(`has ${bitmap.width} × ${bitmap.height} pixels, more than this browser can draw: scale it`);
    }
    return drawn;
}
function preview(bitmap) {
    const scale = Math.min(1, 256 / Math.max(bitmap.width, bitmap.height));
    const made = canvas(Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale)));
    const context = made.getContext("2d");
    if (context) {
        context.imageSmoothingQuality = "high";
        context.drawImage(bitmap, 0, 0, made.width, made.height);
    }
    return made;
}
function seen(pixels, input) {
    const made = canvas(input.width, input.height);
    const image = new ImageData(input.width, input.height);
    for (let place = 0; place < input.width * input.height; place++) {
        for (let channel = 0; channel < 3; channel++) {
            image.data[place * 4 + channel] = pixels[place * input.channels + Math.min(channel, input.channels - 1)] ?? 0;
        }
        image.data[place * 4 + 3] = 255;
    }
    made.getContext("2d")?.putImageData(image, 0, 0);
    return made;
}
function canvas(width, height) {
    return Object.assign(document.createElement("canvas"), { width, height });
}
export function megabytes(bytes) {
    return bytes < 1e5 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
