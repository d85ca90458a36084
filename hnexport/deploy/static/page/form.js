import { found, html } from "./elements.js";
const WHOLE = /^u?int|^bool/;
/** A field for each number of a small input; the golden samples are there to begin with. */
export function numbersForm(input, samples, add, fail) {
    const each = samples.data.length / (samples.shape[0] ?? 1);
    const fields = Array.from({ length: each }, (_, at) => html("input", { type: "number", step: WHOLE.test(input.dtype) ? 1 : "any", "aria-label": `${input.name} ${at}` }));
    let number = 0;
    const fill = (sample) => fields.forEach((field, at) => (field.value = String(Number(samples.data[sample * each + at]))));
    const ask = () => {
        const empty = fields.findIndex((field) => !field.validity.valid || field.value === "");
        if (empty >= 0) {
            fields[empty]?.focus();
            return fail(`${input.name} ${empty} is not a number${WHOLE.test(input.dtype) ? " without a fraction" : ""}.`);
        }
        const data = new samples.data.constructor(each);
        fields.forEach((field, at) => {
            data[at] = data instanceof BigInt64Array || data instanceof BigUint64Array ? BigInt(field.value) : Number(field.value);
        });
        const tensor = { data, shape: [1, ...input.shape] };
        const text = [...data].map((one) => Number(Number(one).toPrecision(4))).join(", ");
        add({ name: `Sample ${++number}`, preview: html("p", { class: "given" }, text), tensor: () => tensor });
    };
    const select = html("select", { id: "golden" }, ...Array.from({ length: samples.shape[0] ?? 0 }, (_, sample) => html("option", { value: sample }, `sample ${sample}`)));
    select.addEventListener("change", () => fill(Number(select.value)));
    const button = html("button", { type: "submit", class: "primary" }, "Predict");
    const form = found("numbers");
    form.append(html("label", { for: "golden" }, "Begin with"), select, html("div", { class: "fields" }, ...fields), button);
    form.hidden = false;
    form.addEventListener("submit", (event) => {
        event.preventDefault();
        ask();
    });
    fill(0);
    ask();
}
