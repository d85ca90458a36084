import type { Progress, Summary } from "../module/index.js";
import { answer } from "./card.js";
import { found, html } from "./elements.js";
import { numbersForm } from "./form.js";
import { Images, type Given } from "./images.js";
import { memberBoxes } from "./members.js";
import { Normalising } from "./normalising.js";
import { megabytes } from "./pictures.js";
import { Predictions, type Item } from "./predictions.js";
import { Remote } from "./remote.js";
import { readSettings, type Provider, type Settings } from "./settings.js";
import type { Started } from "./worker.js";

const NAMES: Readonly<Record<Provider, string>> = { wasm: "WebAssembly", webgpu: "WebGPU" };

function tell(text: string): void {
  found("status").textContent = text;
}

function fail(text: string): void {
  const gone = html("button", { type: "button", class: "small", "aria-label": "Dismiss" }, "×");
  const line = html("li", {}, html("span", {}, text), gone);
  gone.addEventListener("click", () => line.remove());
  found("errors").append(line);
}

function show(progress: Progress): void {
  const bar = found<HTMLProgressElement>("progress");
  bar.hidden = false;
  if (progress.stage === "download") {
    bar.value = progress.loadedBytes / Math.max(progress.totalBytes, 1);
    tell(`Weights: ${megabytes(progress.loadedBytes)} of ${megabytes(progress.totalBytes)}`);
  } else {
    bar.removeAttribute("value");
    tell(progress.stage === "open" ? "Starting onnxruntime …" : "Checking a golden sample …");
  }
}

/** Which providers this browser has, the one to begin with first: a real GPU, otherwise the processor. */
async function providers(): Promise<Provider[]> {
  type Adapter = { isFallbackAdapter?: boolean; info?: { isFallbackAdapter?: boolean; architecture?: string } };
  const gpu = (navigator as { gpu?: { requestAdapter(): Promise<Adapter | null> } }).gpu;
  const adapter = await gpu?.requestAdapter().catch(() => null);
  const asked = new URLSearchParams(location.search).get("provider");
  if (!adapter) return ["wasm"];
  const software = adapter.isFallbackAdapter || adapter.info?.isFallbackAdapter
    || adapter.info?.architecture === "swiftshader";
  return (asked ? asked === "webgpu" : !software) ? ["webgpu", "wasm"] : ["wasm", "webgpu"];
}

function describe(settings: Settings): void {
  const { name, members, input, output, origin, license } = settings;
  const takes = input.kind === "image" ? `${input.width} × ${input.height} pixels` : `${input.shape.join(" × ")} numbers`;
  const gives = output.kind === "logits" ? `${output.size} classes` : `${output.size} numbers`;
  document.title = `${name} · hnexport`;
  found("name").textContent = name;
  found("about").textContent = `${members} ${members === 1 ? "member" : "members"} · ${takes} · ${gives} · ${origin}`
    + (license ? ` · licence ${license}` : "");
}

function card(given: Given, predictions: Predictions, settings: Settings): void {
  const remove = html("button", { type: "button", class: "small", "aria-label": `Remove ${given.name}` }, "×");
  const says = html("div", { class: "says" }, html("p", { class: "quiet" }, "waiting for the first member …"));
  const made = html("article", { class: "card" },
    html("header", {}, html("h2", {}, given.name), remove), given.preview, says);
  const nameOf = (one: number): string =>
    settings.labels?.[one] ?? (settings.output.kind === "logits" ? `class ${one}` : `${settings.output.name} ${one}`);
  const item: Item = {
    get input() {
      return given.tensor();
    },
    outputs: new Map(),
    show: (summary: Summary, missing: number) => {
      says.replaceChildren(...answer(summary, nameOf),
        ...(missing ? [html("p", { class: "quiet" }, `${missing} more to come …`)] : []));
      says.dataset.members = summary.members.join(" ");
      document.documentElement.dataset.firstPrediction ??= performance.now().toFixed(0);
    },
  };
  remove.addEventListener("click", () => {
    made.remove();
    predictions.items.splice(predictions.items.indexOf(item), 1);
  });
  found("results").prepend(made);
  predictions.items.push(item);
  predictions.update();
}

/** The runtime on the first provider that starts and passes the check. */
async function start(order: readonly Provider[]): Promise<{ remote: Remote; started: Started }> {
  let last: unknown;
  for (const provider of order) {
    const remote = new Remote(show);
    try {
      return { remote, started: await remote.start(provider) };
    } catch (error) {
      remote.end();
      last = error;
      if (provider !== order.at(-1)) fail(`${NAMES[provider]} is not used: ${(error as Error).message}`);
    }
  }
  throw last;
}

function explain(settings: Settings, { provider, threads }: Started): void {
  const { runtime, weights_bytes } = settings;
  const where = provider === "webgpu" ? "" : ` with ${threads} ${threads === 1 ? "thread" : "threads"}`;
  const slow = provider === "wasm" && !crossOriginIsolated ? " (more need the headers COOP and COEP)" : "";
  found("facts").textContent = `${NAMES[provider]}${where}${slow} · onnxruntime-web ${runtime.version}, `
    + `${megabytes(runtime.bytes[provider])} · weights ${megabytes(weights_bytes)}`;
}

async function main(): Promise<void> {
  const settings = await readSettings();
  describe(settings);
  const predictions = new Predictions(settings, tell, fail);
  memberBoxes(settings.members, (chosen) => {
    predictions.chosen = chosen;
    predictions.update();
  });
  const add = (given: Given): void => card(given, predictions, settings);
  if (settings.input.kind === "image") {
    const { input } = settings;
    const again = (): void => {
      predictions.forget();
      predictions.update();
    };
    const { channels, normalisation } = input;
    const normalising = normalisation.by === "graph" ? null : new Normalising(channels, normalisation, again);
    const images = new Images(input, settings, add, fail, () => normalising?.applied ?? null);
    images.listen();
    void images.first();
  }
  const order = await providers();
  const use = async (chosen: readonly Provider[]): Promise<Started> => {
    predictions.remote?.end();
    predictions.remote = null;
    predictions.forget();
    const { remote, started } = await start(chosen);
    found("progress").hidden = true;
    tell("");
    explain(settings, started);
    predictions.remote = remote;
    predictions.update();
    return started;
  };
  const select = found<HTMLSelectElement>("provider");
  const { provider, samples } = await use(order[0] === "webgpu" ? order : ["wasm"]);
  select.append(...order.map((one) => html("option", { value: one }, NAMES[one])));
  select.value = provider;
  found("where").hidden = order.length < 2;
  select.addEventListener("change", () => {
    select.disabled = true;
    use([select.value as Provider]).catch(stopped).finally(() => (select.disabled = false));
  });
  const given = samples[settings.input.name];
  if (settings.input.kind === "numbers" && given) numbersForm(settings.input, given, add, fail);
  document.documentElement.dataset.ready = provider;
}

function stopped(error: unknown): void {
  found("progress").hidden = true;
  tell("");
  fail(`The ensemble could not be loaded: ${(error as Error).message}`);
}

found("starting").remove();
found("app").hidden = false;
main().catch(stopped);
