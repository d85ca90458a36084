/** What `hnexport deploy web` says of the site, in `site.json`. */
export interface Settings {
  readonly name: string;
  readonly origin: string;
  readonly members: number;
  readonly input: ImageInput | NumbersInput;
  readonly output: { readonly name: string; readonly kind: "logits" | "value"; readonly size: number };
  /** The names of the classes, if they are known. */
  readonly labels: readonly string[] | null;
  /** Pictures to try, relative to the page. */
  readonly samples: readonly string[];
  readonly runtime: { readonly version: string; readonly bytes: Readonly<Record<Provider, number>> };
  readonly weights_bytes: number;
}

export interface ImageInput {
  readonly kind: "image";
  readonly name: string;
  readonly dtype: "float32" | "uint8";
  readonly layout: "nchw" | "nhwc" | "flat-hwc";
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** Subtracted from pixel/255, one number a channel; then divided by `std`. */
  readonly mean: readonly number[] | null;
  readonly std: readonly number[] | null;
}

export interface NumbersInput {
  readonly kind: "numbers";
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
}

export type Provider = "wasm" | "webgpu";

export async function readSettings(): Promise<Settings> {
  const response = await fetch("site.json");
  if (!response.ok) throw new Error(`site.json cannot be read: the server answers ${response.status}`);
  return ((await response.json()) as { page: Settings }).page;
}
