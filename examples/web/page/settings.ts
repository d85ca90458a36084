import type { ImageInput as Pictures } from "../module/index.js";

/** What `hnexport deploy web` says of the site, in `site.json`. */
export interface Settings {
  readonly name: string;
  readonly origin: string;
  readonly members: number;
  readonly input: ImageInput | NumbersInput;
  readonly output: { readonly name: string; readonly kind: "logits" | "value"; readonly size: number };
  /** Under which the weights are given, as SPDX calls it, if the bundle says it. */
  readonly license: string | null;
  /** The names of the classes, if they are known. */
  readonly labels: readonly string[] | null;
  /** Pictures to try, relative to the page. */
  readonly samples: readonly string[];
  readonly runtime: { readonly version: string; readonly bytes: Readonly<Record<Provider, number>> };
  readonly weights_bytes: number;
}

export interface ImageInput extends Pictures {
  readonly kind: "image";
  readonly normalisation: Applied;
}

/** `(pixel / 255 - mean) / std`, one number or one a channel, and who says so; the graph itself, which takes uint8. */
export type Applied =
  | { readonly by: "given" | "ensemble"; readonly mean: readonly number[]; readonly std: readonly number[] }
  | { readonly by: "graph"; readonly mean: null; readonly std: null };

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
