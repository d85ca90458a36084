import { summarise, type OutputSpec, type Summary, type Tensor } from "../module/index.js";
import type { Remote } from "./remote.js";
import type { Settings } from "./settings.js";

/** One sample, and what each member said of it so far. */
export interface Item {
  readonly input: Tensor;
  readonly outputs: Map<number, Tensor>;
  /** Called when there is something new to show. */
  readonly show: (summary: Summary, missing: number) => void;
}

const MOST_AT_ONCE = 16;

/** Asks members about samples, one member after the other, and shows each answer when it comes. */
export class Predictions {
  readonly items: Item[] = [];
  chosen: readonly number[];
  remote: Remote | null = null;
  #running: Promise<void> | null = null;
  #asked = 0;

  constructor(
    private readonly settings: Settings,
    private readonly tell: (text: string) => void,
    private readonly fail: (text: string) => void,
  ) {
    this.chosen = Array.from({ length: settings.members }, (_, member) => member);
  }

  /** Show what is known, and ask for the rest. */
  update(): void {
    this.items.forEach((item) => this.#show(item));
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
    });
  }

  /** What was said before, or is being said now, does not count: the runtime or the inputs changed. */
  forget(): void {
    this.#asked++;
    this.items.forEach((item) => item.outputs.clear());
  }

  async #run(): Promise<void> {
    for (let next = this.#next(); next; next = this.#next()) {
      const { remote, settings: { input } } = this;
      const asked = this.#asked;
      const { member, items } = next;
      if (!remote) return;
      this.tell(`member ${member} …`);
      try {
        const outputs = await remote.predict({ [input.name]: together(items.map((item) => item.input)) }, member);
        if (asked !== this.#asked) continue;
        const output = outputs[this.settings.output.name] as Tensor;
        items.forEach((item, row) => item.outputs.set(member, rowOf(output, row, items.length)));
        items.forEach((item) => this.#show(item));
      } catch (error) {
        if (asked !== this.#asked) continue;
        this.tell("");
        return this.fail(`Member ${member} could not predict: ${(error as Error).message}`);
      }
    }
    this.tell("");
  }

  #next(): { member: number; items: Item[] } | null {
    for (const member of this.chosen) {
      const items = this.items.filter((item) => !item.outputs.has(member)).slice(0, MOST_AT_ONCE);
      if (items.length) return { member, items };
    }
    return null;
  }

  #show(item: Item): void {
    const members = this.chosen.filter((member) => item.outputs.has(member));
    if (!members.length) return;
    const { name, kind } = this.settings.output;
    const outputs = members.map((member) => item.outputs.get(member) as Tensor);
    const dtype = outputs[0]?.data instanceof Float32Array || outputs[0]?.data instanceof Float64Array ? "float" : "int";
    const spec: OutputSpec = { name, dtype, shape: [], kind, axis: kind === "logits" ? 1 : null };
    item.show(summarise(spec, members, outputs), this.chosen.length - members.length);
  }
}

function together(samples: readonly Tensor[]): Tensor {
  const first = samples[0] as Tensor;
  const each = first.data.length;
  const data = new (first.data.constructor as new (length: number) => typeof first.data)(each * samples.length);
  samples.forEach((sample, row) => data.set(sample.data as never, row * each));
  return { data, shape: [samples.length, ...first.shape.slice(1)] };
}

function rowOf(output: Tensor, row: number, rows: number): Tensor {
  const each = output.data.length / rows;
  return { data: output.data.slice(row * each, (row + 1) * each), shape: [1, ...output.shape.slice(1)] };
}
