/** Pictures in other sizes as Pillow's BICUBIC makes them: the page sees what `predict --resize` sees. */

const BITS = 22;
const SUPPORT = 2;

interface Window {
  readonly start: number;
  readonly weights: readonly number[];
}

/** `pixels` is `[height, width, channel]`, and so is what comes back. */
export function resample(
  pixels: Uint8Array, size: readonly [number, number], to: readonly [number, number], channels: number,
): Uint8Array {
  const [height, width] = size;
  const [toHeight, toWidth] = to;
  if (toWidth > width && toHeight < height) { // as Pillow does: what comes between is rounded, so that the order counts
    return across(down(pixels, height, width, toHeight, channels), toHeight, width, toWidth, channels);
  }
  return down(across(pixels, height, width, toWidth, channels), height, toWidth, toHeight, channels);
}

function across(pixels: Uint8Array, height: number, width: number, to: number, channels: number): Uint8Array {
  return width === to ? pixels : along(pixels, height, width, to, channels, width * channels, channels);
}

function down(pixels: Uint8Array, height: number, width: number, to: number, channels: number): Uint8Array {
  if (height === to) return pixels;
  const turned = transposed(pixels, height, width, channels);
  return transposed(along(turned, width, height, to, channels, height * channels, channels), width, to, channels);
}

function along(
  pixels: Uint8Array, lines: number, size: number, to: number, channels: number, stride: number, step: number,
): Uint8Array {
  const found = new Uint8Array(lines * to * channels);
  const windows = Array.from({ length: to }, (_, at) => windowAt(at, size, to));
  for (let line = 0; line < lines; line++) {
    for (let at = 0; at < to; at++) {
      const { start, weights } = windows[at] as Window;
      for (let channel = 0; channel < channels; channel++) {
        let sum = 2 ** (BITS - 1);
        let place = line * stride + start * step + channel;
        for (const weight of weights) {
          sum += (pixels[place] ?? 0) * weight;
          place += step;
        }
        found[(line * to + at) * channels + channel] = Math.max(0, Math.min(255, Math.floor(sum / 2 ** BITS)));
      }
    }
  }
  return found;
}

/** Which pixels make the one at `at`, and with which weights: in fixed point, as Pillow rounds them. */
function windowAt(at: number, size: number, to: number): Window {
  const scale = size / to;
  const filter = Math.max(scale, 1);
  const centre = (at + 0.5) * scale;
  const start = Math.max(0, Math.trunc(centre - SUPPORT * filter + 0.5));
  const end = Math.min(size, Math.trunc(centre + SUPPORT * filter + 0.5));
  const raw = Array.from({ length: end - start }, (_, index) => bicubic((index + start - centre + 0.5) / filter));
  const sum = raw.reduce((total, weight) => total + weight, 0);
  const weights = raw.map((weight) => Math.trunc((weight / sum) * 2 ** BITS + (weight < 0 ? -0.5 : 0.5)));
  return { start, weights };
}

function bicubic(distance: number): number {
  const a = -0.5;
  const x = Math.abs(distance);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

function transposed(pixels: Uint8Array, height: number, width: number, channels: number): Uint8Array {
  const found = new Uint8Array(pixels.length);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      for (let channel = 0; channel < channels; channel++) {
        found[(column * height + row) * channels + channel] = pixels[(row * width + column) * channels + channel] ?? 0;
      }
    }
  }
  return found;
}
