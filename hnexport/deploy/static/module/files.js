import { HnexportError } from "./types.js";
export function reader(source) {
    if (typeof source === "function")
        return source;
    const text = String(source);
    const folder = new URL(text.endsWith("/") ? text : `${text}/`, globalThis.location?.href);
    return (name, loaded) => download(new URL(name, folder), loaded);
}
async function download(address, loaded) {
    let response;
    try {
        response = await fetch(address);
    }
    catch (error) {
        throw new HnexportError(`${address} cannot be reached: ${words(error)}`);
    }
    if (!response.ok)
        throw new HnexportError(`${address} cannot be read: the server answers ${response.status}`);
    const parts = [];
    let size = 0;
    const stream = response.body?.getReader();
    while (stream) {
        const { done, value } = await stream.read().catch((error) => {
            throw new HnexportError(`${address} was cut while it was read: ${words(error)}`);
        });
        if (done)
            break;
        parts.push(value);
        size += value.byteLength;
        loaded?.(value.byteLength);
    }
    if (parts.length === 1 && parts[0])
        return parts[0];
    const whole = new Uint8Array(size);
    let at = 0;
    for (const part of parts) {
        whole.set(part, at);
        at += part.byteLength;
    }
    return whole;
}
export async function readManifest(read) {
    const name = "manifest.json";
    let found;
    try {
        found = JSON.parse(new TextDecoder().decode(await read(name)));
    }
    catch (error) {
        if (error instanceof HnexportError)
            throw error;
        throw new HnexportError(`${name} cannot be read: ${words(error)}`);
    }
    if (found?.schema !== "hnexport-bundle")
        throw new HnexportError(`${name} is not the manifest of a bundle`);
    if (found.schema_version !== 2) {
        throw new HnexportError(`the bundle has schema version ${found.schema_version}, this module reads 2: build it again`);
    }
    if (!found.onnx)
        throw new HnexportError("the bundle holds no ONNX files: build it with the format onnx");
    if (found.conditions?.length) {
        throw new HnexportError(`${found.name} makes its weights of ${found.conditions.join(", ")} too, and this module keeps members, whose ` +
            "weights are made once: call model.onnx with onnxruntime");
    }
    return found;
}
/** Several files of a bundle, each as the manifest has it. */
export async function readFiles(read, manifest, names, tell) {
    const records = names.map((name) => {
        const record = manifest.files[name];
        if (!record)
            throw new HnexportError(`the bundle has no ${name}: build it again`);
        return { name, ...record };
    });
    const totalBytes = records.reduce((sum, record) => sum + record.size_bytes, 0);
    let loadedBytes = 0;
    const loaded = (bytes) => {
        loadedBytes += bytes;
        tell({ stage: "download", loadedBytes: Math.min(loadedBytes, totalBytes), totalBytes });
    };
    const found = await Promise.all(records.map(async ({ name, size_bytes, sha256 }) => {
        const content = await read(name, loaded);
        const digest = content.byteLength === size_bytes ? await sha256Of(content) : "";
        if (content.byteLength !== size_bytes || (digest !== null && digest !== sha256)) {
            throw new HnexportError(`${name} is damaged: expected ${size_bytes} bytes with SHA-256 ${sha256.slice(0, 16)}…, ` +
                `found ${content.byteLength}${digest ? ` with ${digest.slice(0, 16)}…` : ""}; copy the bundle again`);
        }
        return [name, content];
    }));
    return Object.fromEntries(found);
}
/** In hexadecimal; null where this place has none (a page that is neither HTTPS nor localhost). */
async function sha256Of(content) {
    const subtle = globalThis.crypto?.subtle;
    if (!subtle)
        return null;
    const digest = new Uint8Array(await subtle.digest("SHA-256", content));
    return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
export function words(error) {
    return error instanceof Error ? error.message : String(error);
}
