import { readFiles, reader, readManifest } from "./files.js";
import { readGolden, rowErrors, rowsOf } from "./golden.js";
import { imageInput, imageTensor, requireImages } from "./images.js";
import { summarise } from "./summaries.js";
import { fittedInputs } from "./tensors.js";
import { HnexportError, shown, words, } from "./types.js";
const HYPERNET = "hypernet.onnx";
const NETWORK = "network.onnx";
const WEIGHTS = "weights.bin";
const GOLDEN = "golden.safetensors";
const SUPPLIED = "member.bin";
const LIMIT = 1e-5;
const BUDGET_BYTES = 2 ** 30;
/** Load a bundle, and check that it computes what it computed when it was built. */
export async function load(source, options) {
    const read = reader(source);
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
    manifest;
    /** How many members there are, 0 to `members - 1`. */
    members;
    inputs;
    outputs;
    golden;
    /** What its training knows and no tensor says: normalisation, class names, licence. */
    usage;
    /** The input that takes pictures; null where none does. */
    image;
    #ort;
    #options;
    #files;
    #limit;
    #resident = new Map();
    #hypernet = null;
    #last = Promise.resolve();
    constructor(manifest, files, options) {
        this.manifest = manifest;
        this.members = manifest.members;
        this.inputs = manifest.inputs.slice(1);
        this.outputs = manifest.outputs;
        this.usage = manifest.usage;
        this.image = imageInput(manifest);
        this.golden = readGolden(files[GOLDEN], manifest);
        this.#ort = options.ort;
        this.#options = options;
        this.#files = files;
        const each = (files[NETWORK]?.byteLength ?? 0) + memberBytes(manifest);
        const fitting = Math.floor(BUDGET_BYTES / (1.1 * Math.max(each, 1)));
        this.#limit = Math.max(1, Math.min(options.residentMembers ?? fitting, manifest.members));
    }
    /** The members that are ready. */
    get resident() {
        return [...this.#resident.keys()];
    }
    /** The names of an output's classes, by default of the first that has classes; null where the bundle has none. */
    classNames(output) {
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
    imageTensor(pixels, options = {}) {
        const input = requireImages(this.image, this.inputs);
        if (input.dtype === "uint8" && options.normalisation) {
            throw new HnexportError("this graph normalises its images itself: leave normalisation out");
        }
        return imageTensor(pixels, input, options.normalisation ?? this.usage.normalisation);
    }
    /** One member's outputs, by name. */
    async predict(inputs, options) {
        const member = this.#existing(options?.member);
        return this.#run(fittedInputs(inputs, this.inputs), member);
    }
    #run(fitted, member) {
        return this.#queued(async () => {
            const session = await this.#ready(member);
            const feeds = Object.fromEntries(this.inputs.map(({ name, dtype }) => {
                const { data, shape } = fitted[name];
                return [name, new this.#ort.Tensor(dtype, data, shape)];
            }));
            return outputsOf(await session.run(feeds), this.outputs);
        });
    }
    /** What several members say together, by output; by default all of them. `onMember` is told of each one's outputs. */
    async predictMean(inputs, options = {}) {
        const asked = options.members ?? Array.from({ length: this.members }, (_, member) => member);
        if (!asked.length)
            throw new HnexportError("members is empty: name at least one");
        const members = asked.map((member) => this.#existing(member));
        const fitted = fittedInputs(inputs, this.inputs); // once: the caller's arrays may change before the last member ran
        const found = [];
        for (const member of members) {
            const outputs = await this.#run(fitted, member);
            found.push(outputs);
            options.onMember?.(member, outputs);
        }
        return Object.fromEntries(this.outputs.map((spec) => [spec.name, summarise(spec, members, found.map((one) => one[spec.name]))]));
    }
    /**
     * The largest relative L2 error of a row of the golden samples against PyTorch in float64, which is at most 1e-5, or
     * four times what float32 may lose on that row; anything larger throws.
     */
    async check(options = {}) {
        const { golden } = this;
        const batched = (spec) => spec.shape[0] === "batch";
        const asked = this.outputs.every(batched) ? options.samples : undefined; // others are of all samples together
        const samples = asked ?? golden.kinds.length;
        const inputs = Object.fromEntries(this.inputs.map((spec) => {
            const given = golden.inputs[spec.name];
            return [spec.name, batched(spec) ? rowsOf(given, 0, samples) : given];
        }));
        let worst = 0;
        for (const member of options.members ?? golden.members) {
            const outputs = await this.predict(inputs, { member });
            const place = golden.members.indexOf(member);
            if (place < 0)
                throw new HnexportError(`there are golden samples of the members ${golden.members.join(", ")}, not of ${member}`);
            for (const spec of this.outputs) {
                const rows = batched(spec) ? samples : 1;
                const [exact, noise] = [golden.outputs, golden.noise].map((tensors) => {
                    const own = rowsOf(tensors[spec.name], place, place + 1);
                    const whole = { data: own.data, shape: own.shape.slice(1) };
                    return batched(spec) ? rowsOf(whole, 0, samples) : whole;
                });
                if (!spec.dtype.startsWith("float"))
                    continue; // whole numbers may be an argmax of nearly equal ones
                const each = noise.data.length / rows;
                rowErrors(outputs[spec.name], exact, rows).forEach((error, row) => {
                    worst = Math.max(worst, error);
                    const limit = Math.max(LIMIT, 4 * Number(noise.data[row * each] ?? 0));
                    if (!(error <= limit)) {
                        throw new HnexportError(`member ${member} does not compute what it should: ${spec.name} of the golden sample ${row} is off by ` +
                            `${error.toExponential(1)}, the limit is ${limit.toExponential(1)}`);
                    }
                });
            }
        }
        return worst;
    }
    /** Give back all memory. */
    async release() {
        await this.#queued(async () => {
            for (const session of this.#resident.values())
                await session.release();
            this.#resident.clear();
            await this.#hypernet?.release();
            this.#hypernet = null;
        });
    }
    #existing(member) {
        if (Number.isInteger(member) && member >= 0 && member < this.members)
            return member;
        const existing = this.members > 1 ? `members 0 to ${this.members - 1}` : "only member 0";
        if (typeof member !== "number")
            throw new HnexportError(`member: expected a number, found ${shown(member)}: this ensemble has ${existing}`);
        throw new HnexportError(`member ${member} does not exist: this ensemble has ${existing}`);
    }
    /** One call after the other: onnxruntime's sessions share their memory. */
    #queued(work) {
        const result = this.#last.then(work, work);
        this.#last = result.catch(() => undefined);
        return result;
    }
    async #ready(member) {
        const found = this.#resident.get(member);
        if (found) {
            this.#resident.delete(member);
            this.#resident.set(member, found);
            return found;
        }
        while (this.#resident.size >= this.#limit) {
            const [oldest, session] = this.#resident.entries().next().value;
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
    async #made(member) {
        const supplied = this.manifest.onnx?.supplied ?? [];
        const external = supplied.length ? { [SUPPLIED]: await this.#weights(member, supplied) } : {};
        return this.#open(NETWORK, external, this.#options.providers);
    }
    async #weights(member, supplied) {
        const providers = this.#options.providers;
        this.#hypernet ??= await this.#open(HYPERNET, {}, providers && onProcessor(providers));
        const id = new this.#ort.Tensor("int64", BigInt64Array.of(BigInt(member)), []);
        const found = await this.#hypernet.run({ cond_id: id });
        const parts = supplied.map((name) => {
            const data = found[name]?.data;
            if (!data)
                throw new HnexportError(`${HYPERNET} does not give ${name}: build the bundle again`);
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
    async #open(name, external, providers) {
        const held = this.#files[WEIGHTS];
        const beside = { ...(held ? { [WEIGHTS]: held } : {}), ...external };
        const options = {
            externalData: Object.entries(beside).map(([path, data]) => ({ path, data })),
            ...(providers ? { executionProviders: providers } : {}),
            logSeverityLevel: 3,
        };
        try {
            return await this.#ort.InferenceSession.create(this.#files[name], options);
        }
        catch (error) {
            throw new HnexportError(`onnxruntime cannot load ${name}: ${words(error)}`);
        }
    }
}
/** Weights are made on the processor wherever members compute: that is where they are needed. */
function onProcessor(providers) {
    const processor = providers.filter((name) => name === "wasm" || name === "cpu");
    if (processor.length)
        return processor;
    return [typeof globalThis.document === "undefined" && !("importScripts" in globalThis) ? "cpu" : "wasm"];
}
function outputsOf(found, specs) {
    return Object.fromEntries(specs.map(({ name }) => {
        const { data, dims } = found[name];
        return [name, { data: data, shape: [...dims] }];
    }));
}
function memberBytes(manifest) {
    const bytes = (dtype) => (/64$/.test(dtype) ? 8 : /16$/.test(dtype) ? 2 : /8$|bool/.test(dtype) ? 1 : 4);
    return manifest.slots.reduce((sum, slot) => sum + slot.shape.reduce((product, axis) => product * Number(axis), bytes(slot.dtype)), 0);
}
