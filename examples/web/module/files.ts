import { HnexportError, shown, words, type Manifest } from "./types.js";
import { readUsage } from "./usage.js";

/** How far the loading is. */
export interface Progress {
  readonly stage: "download" | "open" | "check";
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

/** Gives a file of the bundle; `loaded` is told of bytes as they come. */
export type Read = (name: string, loaded?: (bytes: number) => void) => Promise<Uint8Array>;

/** Where a bundle lies: the address of its folder, or a function that reads its files (also as Node's Buffer). */
export type Source = string | URL | ((name: string, loaded?: (bytes: number) => void) => Promise<Uint8Array | ArrayBuffer>);

export function reader(source: Source): Read {
  if (typeof source === "function") return async (name, loaded) => asBytes(await source(name, loaded), name);
  const text = String(source);
  const folder = address(text.endsWith("/") ? text : `${text}/`);
  return (name, loaded) => download(new URL(name, folder), loaded);
}

function address(text: string): URL {
  try {
    return new URL(text, globalThis.location?.href);
  } catch {
    throw new HnexportError(`${text} is no address: give one, or a function that reads a file by its name`);
  }
}

/** A plain Uint8Array over the same bytes: `slice` of Node's Buffer copies nothing, and its buffer is that of others. */
function asBytes(given: unknown, name: string): Uint8Array {
  if (ArrayBuffer.isView(given)) return new Uint8Array(given.buffer, given.byteOffset, given.byteLength);
  if (given instanceof ArrayBuffer) return new Uint8Array(given);
  throw new HnexportError(`${name}: expected a Uint8Array of the file's bytes, found ${shown(given)}`);
}

async function download(address: URL, loaded?: (bytes: number) => void): Promise<Uint8Array> {
  let response: Response;
  try {
    response = await fetch(address);
  } catch (error) {
    throw new HnexportError(`${address} cannot be reached: ${words(error)}`);
  }
  if (!response.ok) throw new HnexportError(`${address} cannot be read: the server answers ${response.status}`);
  const parts: Uint8Array[] = [];
  let size = 0;
  const stream = response.body?.getReader();
  while (stream) {
    const { done, value } = await stream.read().catch((error: unknown) => {
      throw new HnexportError(`${address} was cut while it was read: ${words(error)}`);
    });
    if (done) break;
    parts.push(value);
    size += value.byteLength;
    loaded?.(value.byteLength);
  }
  if (parts.length === 1 && parts[0]) return parts[0];
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}

export async function readManifest(read: Read): Promise<Manifest> {
  const name = "manifest.json";
  let found: Manifest;
  try {
    found = JSON.parse(new TextDecoder().decode(await read(name))) as Manifest;
  } catch (error) {
    if (error instanceof HnexportError) throw error;
    throw new HnexportError(`${name} cannot be read: ${words(error)}`);
  }
  if (found?.schema !== "hnexport-bundle") throw new HnexportError(`${name} is not the manifest of a bundle`);
  if (found.schema_version !== 2) {
    throw new HnexportError(
      `the bundle has schema version ${found.schema_version}, this module reads 2: build it again`,
    );
  }
  if (!found.onnx) throw new HnexportError("the bundle holds no ONNX files: build it with the format onnx");
  if (found.conditions?.length) {
    throw new HnexportError(
      `a member's weights are made of ${found.conditions.join(", ")}, which this module does not give: call model.onnx`,
    );
  }
  const wrong = missing(found);
  if (wrong) throw new HnexportError(`${name} is damaged: it has no ${wrong}; copy the bundle again`);
  return { ...found, usage: readUsage(found) };
}

/** The first part that is not there as it should be; what a manifest says may have been written by anybody. */
function missing({ members, inputs, outputs, slots, onnx, files }: Manifest): string | undefined {
  const tensors = (specs: unknown): boolean =>
    Array.isArray(specs) && specs.every((spec) => typeof spec?.name === "string" && Array.isArray(spec.shape));
  const present: Readonly<Record<string, boolean>> = {
    members: Number.isInteger(members) && members > 0,
    inputs: tensors(inputs) && inputs[0]?.name === "cond_id",
    outputs: tensors(outputs) && outputs.length > 0,
    slots: tensors(slots),
    supplied: Array.isArray(onnx?.supplied),
    files: typeof files === "object" && !!files && Object.values(files).every((one) =>
      Number.isInteger(one?.size_bytes) && typeof one.sha256 === "string"),
  };
  return Object.keys(present).find((part) => !present[part]);
}

/** Several files of a bundle, each as the manifest has it. */
export async function readFiles(
  read: Read, manifest: Manifest, names: readonly string[], tell: (progress: Progress) => void,
): Promise<Record<string, Uint8Array>> {
  const records = names.map((name) => {
    const record = manifest.files[name];
    if (!record) throw new HnexportError(`the bundle has no ${name}: build it again`);
    return { name, ...record };
  });
  const totalBytes = records.reduce((sum, record) => sum + record.size_bytes, 0);
  let loadedBytes = 0;
  const loaded = (bytes: number): void => {
    loadedBytes += bytes;
    tell({ stage: "download", loadedBytes: Math.min(loadedBytes, totalBytes), totalBytes });
  };
  const found = await Promise.all(records.map(async ({ name, size_bytes, sha256 }) => {
    const content = await read(name, loaded);
    const digest = content.byteLength === size_bytes ? await sha256Of(content) : "";
    if (content.byteLength !== size_bytes || (digest !== null && digest !== sha256)) {
      throw new HnexportError(
        `${name} is damaged: expected ${size_bytes} bytes with SHA-256 ${sha256.slice(0, 16)}…, ` +
        `found ${content.byteLength}${digest ? ` with ${digest.slice(0, 16)}…` : ""}; copy the bundle again`,
      );
    }
    return [name, content] as const;
  }));
  return Object.fromEntries(found);
}

/** In hexadecimal; null where this place has none (a page that is neither HTTPS nor localhost). */
async function sha256Of(content: Uint8Array): Promise<string | null> {
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) return null;
  const digest = new Uint8Array(await subtle.digest("SHA-256", content as Uint8Array<ArrayBuffer>));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
