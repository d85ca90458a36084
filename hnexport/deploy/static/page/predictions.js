import { summarise } from "../module/index.js";
const MOST_AT_ONCE = 16;
/** Asks members about samples, one member after the other, and shows each answer when it comes. */
export class Predictions {
    settings;
    tell;
    fail;
    items = [];
    chosen;
    remote = null;
    #running = null;
    #asked = 0;
    constructor(settings, tell, fail) {
        this.settings = settings;
        this.tell = tell;
        this.fail = fail;
        this.chosen = Array.from({ length: settings.members }, (_, member) => member);
    }
    /** Show what is known, and ask for the rest. */
    update() {
        this.items.forEach((item) => this.#show(item));
        this.#running ??= this.#run().finally(() => {
            this.#running = null;
        });
    }
    /** What was said before, or is being said now, does not count: the runtime or the inputs changed. */
    forget() {
        this.#asked++;
        this.items.forEach((item) => item.outputs.clear());
    }
    async #run() {
        for (let next = this.#next(); next; next = this.#next()) {
            const { remote, settings: { input } } = this;
            const asked = this.#asked;
            const { member, items } = next;
            if (!remote)
                return;
            this.tell(`member ${member} …`);
            try {
                const outputs = await remote.predict({ [input.name]: together(items.map((item) => item.input)) }, member);
                if (asked !== this.#asked)
                    continue;
                const output = outputs[this.settings.output.name];
                items.forEach((item, row) => item.outputs.set(member, rowOf(output, row, items.length)));
                items.forEach((item) => this.#show(item));
            }
            catch (error) {
                if (asked !== this.#asked)
                    continue;
                this.tell("");
                return this.fail(`Member ${member} could not predict: ${error.message}`);
            }
        }
        this.tell("");
    }
    #next() {
        for (const member of this.chosen) {
            const items = this.items.filter((item) => !item.outputs.has(member)).slice(0, MOST_AT_ONCE);
            if (items.length)
                return { member, items };
        }
        return null;
    }
    #show(item) {
        const members = this.chosen.filter((member) => item.outputs.has(member));
        if (!members.length)
            return;
        const { name, kind } = this.settings.output;
        const outputs = members.map((member) => item.outputs.get(member));
        const dtype = outputs[0]?.data instanceof Float32Array || outputs[0]?.data instanceof Float64Array ? "float" : "int";
        const spec = { name, dtype, shape: [], kind, axis: kind === "logits" ? 1 : null };
        item.show(summarise(spec, members, outputs), this.chosen.length - members.length);
    }
}
function together(samples) {
    const first = samples[0];
    const each = first.data.length;
    const data = new first.data.constructor(each * samples.length);
    samples.forEach((sample, row) => data.set(sample.data, row * each));
    return { data, shape: [samples.length, ...first.shape.slice(1)] };
}
function rowOf(output, row, rows) {
    const each = output.data.length / rows;
    return { data: output.data.slice(row * each, (row + 1) * each), shape: [1, ...output.shape.slice(1)] };
}
