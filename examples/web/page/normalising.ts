import { found } from "./elements.js";
import type { Normalisation } from "../module/index.js";
import type { Applied } from "./settings.js";

type Said = Exclude<Applied, { readonly by: "graph" }>;

const WHO = { ensemble: "the bundle says", given: "this page was told" };
const listed = (numbers: readonly number[]): string => numbers.map((one) => Number(one.toPrecision(6))).join(", ");

/** Mean and standard deviation of pictures: what applies, who says it, and fields to try others. */
export class Normalising {
  /** What the fields said when it was last possible: what is marked as wrong is not used. */
  #applied: Normalisation;
  readonly #fields: Readonly<Record<"mean" | "std", HTMLInputElement>>;

  constructor(private readonly channels: number, private readonly said: Said, private readonly changed: () => void) {
    this.#applied = said;
    this.#fields = { mean: found<HTMLInputElement>("mean"), std: found<HTMLInputElement>("std") };
    found("normalisation").hidden = false;
    for (const id of ["mean", "std"] as const) this.#fields[id].addEventListener("change", () => this.#read(id));
    found("back").addEventListener("click", () => {
      this.#applied = said;
      this.#write();
      changed();
    });
    this.#write();
  }

  get applied(): Normalisation {
    return this.#applied;
  }

  #read(id: "mean" | "std"): void {
    const field = this.#fields[id];
    const given = field.value.split(/[\s,;]+/).filter(Boolean).map(Number);
    const { channels } = this;
    const right = given.every((one) => Number.isFinite(one) && (id === "mean" || one > 0))
      && [1, channels].includes(given.length);
    const count = channels === 1 ? "one number" : `one number, or ${channels}`;
    field.setCustomValidity(right ? "" : `${count}${id === "std" ? ", above 0" : ""}`);
    this.#explain();
    if (!field.reportValidity()) return;
    this.#applied = { ...this.#applied, [id]: given };
    this.#explain();
    this.changed();
  }

  #write(): void {
    for (const id of ["mean", "std"] as const) {
      this.#fields[id].value = listed(this.said[id]);
      this.#fields[id].setCustomValidity("");
    }
    this.#explain();
  }

  #explain(): void {
    const { mean, std } = this.said;
    const same = (["mean", "std"] as const).every((id) =>
      this.#fields[id].validity.valid && this.#applied[id].join() === this.said[id].join());
    const who = WHO[this.said.by];
    found("said").textContent = same ? `of pixel/255, as ${who}` : `changed here; ${who} mean ${listed(mean)} and std ${listed(std)}`;
    found("back").hidden = same;
  }
}
