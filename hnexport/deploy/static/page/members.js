import { found, html } from "./elements.js";
/** Which members are asked: a box for each, and one for all. */
export function memberBoxes(members, changed) {
    const boxes = Array.from({ length: members }, (_, member) => html("input", { type: "checkbox", value: member }));
    const all = html("button", { type: "button", class: "small" }, "All");
    const only = html("button", { type: "button", class: "small", title: "Only the first of those chosen" }, "Only one");
    const report = () => {
        const chosen = boxes.filter((box) => box.checked).map((box) => Number(box.value));
        all.disabled = chosen.length === members;
        only.disabled = chosen.length === 1;
        changed(chosen);
    };
    const set = (chosen) => {
        boxes.forEach((box, member) => (box.checked = chosen(member)));
        report();
    };
    boxes.forEach((box) => {
        box.checked = true;
        box.addEventListener("change", () => {
            if (!boxes.some((one) => one.checked))
                box.checked = true; // somebody has to answer
            report();
        });
    });
    all.disabled = true;
    all.addEventListener("click", () => set(() => true));
    only.addEventListener("click", () => {
        const first = boxes.findIndex((box) => box.checked);
        set((member) => member === first);
    });
    found("members").append(all, only, ...boxes.map((box, member) => html("label", { class: "chip" }, box, html("span", {}, String(member)))));
}
