import { found } from "./elements.js";
const WHO = { ensemble: "the bundle says", given: "this page was told" };
const listed = (numbers) => numbers.map((one) => Number(one.toPrecision(6))).join(", ");
/** Mean and standard deviation of pictures: what applies, who says it, and fields to try others. */
export class Normalising {
    channels;
    said;
    changed;
    /** What the fields said when it was last possible: what is marked as wrong is not used. */
    #applied;
    #fields;
    constructor(channels, said, changed) {
        this.channels = channels;
        this.said = said;
        this.changed = changed;
        this.#applied = said;
        this.#fields = { mean: found("mean"), std: found("std") };
        found("normalisation").hidden = false;
        for (const id of ["mean", "std"])
            this.#fields[id].addEventListener("change", () => this.#read(id));
        found("back").addEventListener("click", () => {
            this.#applied = said;
            this.#write();
            changed();
        });
        this.#write();
    }
    get applied() {
        return this.#applied;
    }
    #read(id) {
        const field = this.#fields[id];
        const given = field.value.split(/[\s,;]+/).filter(Boolean).map(Number);
        const { channels } = this;
        const right = given.every((one) => Number.isFinite(one) && (id === "mean" || one > 0))
            && [1, channels].includes(given.length);
        const count = channels === 1 ? "one number" : `one number, or ${channels}`;
        field.setCustomValidity(right ? "" : `${count}${id === "std" ? ", above 0" : ""}`);
        this.#explain();
        if (!field.reportValidity())
            return;
        this.#applied = { ...this.#applied, [id]: given };
        this.#explain();
        this.changed();
    }
    #write() {
        for (const id of ["mean", "std"]) {
            this.#fields[id].value = listed(this.said[id]);
            this.#fields[id].setCustomValidity("");
        }
        this.#explain();
    }
    #explain() {
        const { mean, std } = this.said;
        const same = ["mean", "std"].every((id) => this.#fields[id].validity.valid && this.#applied[id].join() === this.said[id].join());
        const who = WHO[this.said.by];
        found("said").textContent = same ? `of pixel/255, as ${who}` : `changed here; ${who} mean ${listed(mean)} and std ${listed(std)}`;
        found("back").hidden = same;
    }
}
