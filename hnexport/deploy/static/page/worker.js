/** The ensemble, in a thread of its own: the page answers while it computes. */
import { load } from "../module/index.js";
const FILES = {
    wasm: ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"],
    webgpu: ["ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm"],
};
let ensemble = null;
const calls = {
    async start(provider) {
        const [script, wasm] = FILES[provider].map((name) => new URL(`../ort/${name}`, import.meta.url).href);
        const ort = (await import(script));
        const threads = globalThis.crossOriginIsolated ? Math.min(4, Math.ceil(navigator.hardwareConcurrency / 2)) : 1;
        ort.env.wasm.numThreads = threads;
        ort.env.wasm.wasmPaths = { wasm };
        ort.env.logLevel = "error";
        await ensemble?.release();
        ensemble = await load(new URL("../bundle/", import.meta.url), {
            ort, providers: [provider], onProgress: (progress) => postMessage({ progress }),
        });
        return { provider, threads, samples: ensemble.golden.inputs, kinds: ensemble.golden.kinds };
    },
    predict: (inputs, member) => loaded().predict(inputs, { member }),
    check: () => loaded().check(),
};
function loaded() {
    if (!ensemble)
        throw new Error("the ensemble is not loaded yet");
    return ensemble;
}
async function answer(request) {
    if (request.call === "start")
        return calls.start(request.provider);
    if (request.call === "predict")
        return calls.predict(request.inputs, request.member);
    return calls.check();
}
addEventListener("message", ({ data }) => {
    answer(data).then((result) => postMessage({ id: data.id, result }), (error) => postMessage({ id: data.id, error: error instanceof Error ? error.message : String(error) }));
});
