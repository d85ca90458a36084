import { readFiles, reader, readManifest, type Progress, type Read, type Source } from "./files.js";
import { readGolden, rowErrors, rowsOf, type Golden } from "./golden.js";
import { imageInput, imageTensor, requireImages, type ImageInput, type Pixels } from "./images.js";
import { summarise, type Summary } from "./summaries.js";
import { fittedInputs, type Inputs } from "./tensors.js";
import {
  HnexportError, shown, words, type Manifest, type Normalisation, type Numbers, type Runtime, type RuntimeTensor,
  type Session, type Tensor, type TensorSpec, type Usage,
} from "./types.js";

/** How a bundle is loaded. */
export interface LoadOptions {
  /** onnxruntime, as it was imported: `import * as ort from "onnxruntime-web"`. */
  readonly ort: Runtime;
  /** Where members compute, as onnxruntime calls it: `["webgpu"]`, `["wasm"]`; by default its own choice. */
  readonly providers?: readonly string[];
  /** So many members are kept ready, by default as many as take 1 GiB; those of the least recently used are dropped. */
  readonly residentMembers?: number;
  /** How much of the golden samples to compute first: one sample of a member (the default), or nothing. */
  readonly check?: "sample" | "none";
  readonly onProgress?: (progress: Progress) => void;
}

const HYPERNET = "hypernet.onnx";
const NETWORK = "network.onnx";
const WEIGHTS = "weights.bin";
const GOLDEN = "golden.safetensors";
const SUPPLIED = "member.bin";
const LIMIT = 1e-5;
const BUDGET_BYTES = 2 ** 30;

/** Load a bundle, and check that it computes what it computed when it was built. */
export async function load(source: Source, options: LoadOptions): Promise<LoadedEnsemble> {
  const read: Read = reader(source);
  const tell = options.onProgress ?? (() => undefined);
  const manifest = await readManifest(read);
  const names = [HYPERNET, NETWORK, WEIGHTS, GOLDEN].filter((name) => name !== WEIGHTS || name in manifest.files);
  const files = await readFiles(read, manifest, names, tell);
  tell({ stage: "open", loadedBytes: 1, totalBytes: 1 });
  const ensemble = new LoadedEnsemble(manifest, files, options);
  if (options.check !== "none") {
    tell({ stage: "check", loadedBytes: 1, totalBytes: 1 });
    await ensemble.check({ members: ensemble.golden.members.slice(0, 1), samples: 1 });
  }
  return ensemble;
}

/** An ensemble, ready to predict. Each member is made once and then costs what a plain network costs. */
export class LoadedEnsemble {
  /** How many members there are, 0 to `members - 1`. */
  readonly members: number;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: Manifest["outputs"];
  readonly golden: Golden;
  /** What its training knows and no tensor says: normalisation, class names, licence. */
  readonly usage: Usage;
  /** The input that takes pictures; null where none does. */
  readonly image: ImageInput | null;

  readonly #ort: Runtime;
  readonly #options: LoadOptions;
  readonly #files: Record<string, Uint8Array>;
  readonly #limit: number;
  readonly #resident = new Map<number, Session>();
  #hypernet: Session | null = null;
  #last: Promise<unknown> = Promise.resolve();

  constructor(readonly manifest: Manifest, files: Record<string, Uint8Array>, options: LoadOptions) {
    this.members = manifest.members;
    this.inputs = manifest.inputs.slice(1);
    this.outputs = manifest.outputs;
    this.usage = manifest.usage;
    this.image = imageInput(manifest);
    this.golden = readGolden(files[GOLDEN] as Uint8Array, manifest);
    this.#ort = options.ort;
    this.#options = options;
    this.#files = files;
    const each = (files[NETWORK]?.byteLength ?? 0) + memberBytes(manifest);
    const fitting = Math.floor(BUDGET_BYTES / (1.1 * Math.max(each, 1)));
    this.#limit = Math.max(1, Math.min(options.residentMembers ?? fitting, manifest.members));
  }

  /** The members that are ready. */
  get resident(): readonly number[] {
    return [...this.#resident.keys()];
  }

  /** The names of an output's classes, by default of the first that has classes; null where the bundle has none. */
  classNames(output?: string): readonly string[] | null {
    if (output !== undefined && !this.outputs.some(({ name }) => name === output)) {
      throw new HnexportError(`there is no output ${output}, only ${this.outputs.map(({ name }) => name).join(", ")}`);
    }
    const name = output ?? this.outputs.find(({ kind }) => kind === "logits")?.name;
    return name === undefined ? null : this.usage.class_names[name] ?? null;
  }

  /**
   * Pictures in the network's size as it takes them, with the normalisation of the bundle unless another is given.
   * Where neither says it, a network of float32 pictures is refused: a wrong guess gives numbers.
   */
  imageTensor(pixels: Pixels, options: { readonly normalisation?: Normalisation } = {}): Tensor {
    const input = requireImages(this.image, this.inputs);
    if (input.dtype === "uint8" && options.normalisation) {
      throw new HnexportError("this graph normalises its images itself: leave normalisation out");
    }
    return imageTensor(pixels, input, options.normalisation ?? this.usage.normalisation);
  }

  /** One member's outputs, by name. */
  async predict(inputs: Inputs, options: { readonly member: number }): Promise<Record<string, Tensor>> {
    const member = this.#existing(options?.member);
    return this.#run(fittedInputs(inputs, this.inputs), member);
  }

  #run(fitted: Readonly<Record<string, Tensor>>, member: number): Promise<Record<string, Tensor>> {
    return this.#queued(async () => {
      const session = await this.#ready(member);
      const feeds = Object.fromEntries(this.inputs.map(({ name, dtype }) => {
        const { data, shape } = fitted[name] as Tensor;
        return [name, new this.#ort.Tensor(dtype as never, data as never, shape)];
      }));
      return outputsOf(await session.run(feeds as never), this.outputs);
    });
  }

  /** What several members say together, by output; by default all of them. `onMember` is told of each one's outputs. */
  async predictMean(
    inputs: Inputs,
    options: {
      readonly members?: readonly number[];
      readonly onMember?: (member: number, outputs: Record<string, Tensor>) => void;
    } = {},
  ): Promise<Record<string, Summary>> {
    const asked = options.members ?? Array.from({ length: this.members }, (_, member) => member);
    if (!asked.length) throw new HnexportError("members is empty: name at least one");
    const members = asked.map((member) => this.#existing(member));
    const fitted = fittedInputs(inputs, this.inputs); // once: the caller's arrays may change before the last member ran
    const found: Record<string, Tensor>[] = [];
    for (const member of members) {
      const outputs = await this.#run(fitted, member);
      found.push(outputs);
      options.onMember?.(member, outputs);
    }
    return Object.fromEntries(
      this.outputs.map((spec) => [spec.name, summarise(spec, members, found.map((one) => one[spec.name] as Tensor))]),
    );
  }

  /**
   * The largest relative L2 error of a row of the golden samples against PyTorch in float64, which is at most 1e-5, or
   * four times what float32 may lose on that row; anything larger throws.
   */
  async check(options: { readonly members?: readonly number[]; readonly samples?: number } = {}): Promise<number> {
    const { golden } = this;
    const batched = (spec: TensorSpec): boolean => spec.shape[0] === "batch";
    const asked = this.outputs.every(batched) ? options.samples : undefined; // others are of all samples together
    const samples = asked ?? golden.kinds.length;
    const inputs = Object.fromEntries(this.inputs.map((spec) => {
      const given = golden.inputs[spec.name] as Tensor;
      return [spec.name, batched(spec) ? rowsOf(given, 0, samples) : given];
    }));
    let worst = 0;
    for (const member of options.members ?? golden.members) {
      const outputs = await this.predict(inputs, { member });
      const place = golden.members.indexOf(member);
      if (place < 0) throw new HnexportError(`there are golden samples of the members ${golden.members.join(", ")}, not of ${member}`);
      for (const spec of this.outputs) {
        const rows = batched(spec) ? samples : 1;
        const [exact, noise] = [golden.outputs, golden.noise].map((tensors) => {
          const own = rowsOf(tensors[spec.name] as Tensor, place, place + 1);
          const whole = { data: own.data, shape: own.shape.slice(1) };
          return batched(spec) ? rowsOf(whole, 0, samples) : whole;
        }) as [Tensor, Tensor];
        if (!spec.dtype.startsWith("float")) continue; // whole numbers may be an argmax of nearly equal ones
        const each = noise.data.length / rows;
        rowErrors(outputs[spec.name] as Tensor, exact, rows).forEach((error, row) => {
          worst = Math.max(worst, error);
          const limit = Math.max(LIMIT, 4 * Number(noise.data[row * each] ?? 0));
          if (!(error <= limit)) {
            throw new HnexportError(
              `member ${member} does not compute what it should: ${spec.name} of the golden sample ${row} is off by ` +
              `${error.toExponential(1)}, the limit is ${limit.toExponential(1)}`,
            );
          }
        });
      }
    }
    return worst;
  }

  /** Give back all memory. */
  async release(): Promise<void> {
    await this.#queued(async () => {
      for (const session of this.#resident.values()) await session.release();
      this.#resident.clear();
      await this.#hypernet?.release();
      this.#hypernet = null;
    });
  }

  #existing(member: number): number {
    if (Number.isInteger(member) && member >= 0 && member < this.members) return member;
    const existing = this.members > 1 ? `members 0 to ${this.members - 1}` : "only member 0";
    if (typeof member !== "number") throw new HnexportError(`member: expected a number, found ${shown(member)}: this ensemble has ${existing}`);
    throw new HnexportError(`member ${member} does not exist: this ensemble has ${existing}`);
  }

  /** One call after the other: onnxruntime's sessions share their memory. */
  #queued<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work, work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #ready(member: number): Promise<Session> {
    const found = this.#resident.get(member);
    if (found) {
      this.#resident.delete(member);
      this.#resident.set(member, found);
      return found;
    }
    while (this.#resident.size >= this.#limit) {
      const [oldest, session] = this.#resident.entries().next().value as [number, Session];
      this.#resident.delete(oldest);
      await session.release();
    }
    const made = await this.#made(member);
    this.#resident.set(member, made);
    if (this.#resident.size === this.members) { // its weights are needed no more
      await this.#hypernet?.release();
      this.#hypernet = null;
    }
    return made;
  }

  /** A member's weights from the hypernetwork, as the file that its network expects beside itself. */
  async #made(member: number): Promise<Session> {
    const supplied = this.manifest.onnx?.supplied ?? [];
    const external = supplied.length ? { [SUPPLIED]: await this.#weights(member, supplied) } : {};
    return this.#open(NETWORK, external, this.#options.providers);
  }

  async #weights(member: number, supplied: readonly string[]): Promise<Uint8Array> {
    const providers = this.#options.providers;
    this.#hypernet ??= await this.#open(HYPERNET, {}, providers && onProcessor(providers));
    const id = new this.#ort.Tensor("int64" as never, BigInt64Array.of(BigInt(member)) as never, []);
    const found = await this.#hypernet.run({ cond_id: id } as never) as Record<string, RuntimeTensor>;
    const parts = supplied.map((name) => {
      const data = found[name]?.data as Numbers | undefined;
      if (!data) throw new HnexportError(`${HYPERNET} does not give ${name}: build the bundle again`);
      return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    });
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.byteLength;
    }
    Object.values(found).forEach((tensor) => tensor.dispose?.());
    return whole;
  }

  async #open(
    name: string, external: Record<string, Uint8Array>, providers: readonly string[] | undefined,
  ): Promise<Session> {
    const held = this.#files[WEIGHTS];
    const beside = { ...(held ? { [WEIGHTS]: held } : {}), ...external };
    const options = {
      externalData: Object.entries(beside).map(([path, data]) => ({ path, data })),
      ...(providers ? { executionProviders: providers } : {}),
      logSeverityLevel: 3,
    };
    try {
      return await this.#ort.InferenceSession.create(this.#files[name] as Uint8Array, options);
    } catch (error) {
      throw new HnexportError(`onnxruntime cannot load ${name}: ${words(error)}`);
    }
  }
}

/** Weights are made on the processor wherever members compute: that is where they are needed. */
function onProcessor(providers: readonly string[]): readonly string[] {
  const processor = providers.filter((name) => name === "wasm" || name === "cpu");
  if (processor.length) return processor;
  return [typeof globalThis.document === "undefined" && !("importScripts" in globalThis) ? "cpu" : "wasm"];
}

function outputsOf(found: Readonly<Record<string, unknown>>, specs: Manifest["outputs"]): Record<string, Tensor> {
  return Object.fromEntries(specs.map(({ name }) => {
    const { data, dims } = found[name] as RuntimeTensor;
    return [name, { data: data as Numbers, shape: [...dims] }];
  }));
}

function memberBytes(manifest: Manifest): number {
  const bytes = (dtype: string): number => (/64$/.test(dtype) ? 8 : /16$/.test(dtype) ? 2 : /8$|bool/.test(dtype) ? 1 : 4);
  return manifest.slots.reduce(
    (sum, slot) => sum + slot.shape.reduce<number>((product, axis) => product * Number(axis), bytes(slot.dtype)), 0);
}
