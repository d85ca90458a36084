/** The ensemble, in a thread of its own: the page answers while it computes. */
import { load, type LoadedEnsemble, type Runtime, type Tensor } from "../module/index.js";
import type { Provider } from "./settings.js";

export interface Started {
  readonly provider: Provider;
  readonly threads: number;
  /** The golden samples, by input. */
  readonly samples: Readonly<Record<string, Tensor>>;
  readonly kinds: readonly string[];
}

export type Request =
  | { readonly id: number; readonly call: "start"; readonly provider: Provider }
  | { readonly id: number; readonly call: "predict"; readonly inputs: Record<string, Tensor>; readonly member: number }
  | { readonly id: number; readonly call: "check" };

const FILES: Readonly<Record<Provider, readonly [string, string]>> = {
  wasm: ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"],
  webgpu: ["ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm"],
};

let ensemble: LoadedEnsemble | null = null;

const calls = {
  async start(provider: Provider): Promise<Started> {
    const [script, wasm] = FILES[provider].map((name) => new URL(`../ort/${name}`, import.meta.url).href) as [string, string];
    const ort = (await import(script)) as Runtime & {
      env: { logLevel: string; wasm: { numThreads: number; wasmPaths: { wasm: string } } };
    };
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
  predict: (inputs: Record<string, Tensor>, member: number) => loaded().predict(inputs, { member }),
  check: () => loaded().check(),
};

function loaded(): LoadedEnsemble {
  if (!ensemble) throw new Error("the ensemble is not loaded yet");
  return ensemble;
}

async function answer(request: Request): Promise<unknown> {
  if (request.call === "start") return calls.start(request.provider);
  if (request.call === "predict") return calls.predict(request.inputs, request.member);
  return calls.check();
}

addEventListener("message", ({ data }: MessageEvent<Request>) => {
  answer(data).then(
    (result) => postMessage({ id: data.id, result }),
    (error: unknown) => postMessage({ id: data.id, error: error instanceof Error ? error.message : String(error) }),
  );
});
