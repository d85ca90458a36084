import { html, svg } from "./elements.js";
const HEIGHT = 22;
/** Bars from 0 to 1, one a row, with a dot for every member. */
export function bars(rows, title) {
    const list = html("div", { class: "bars", role: "list", "aria-label": title });
    for (const { label, value, text, dots } of rows) {
        const chart = svg("svg", { width: "100%", height: HEIGHT, "aria-hidden": "true" }, svg("rect", { class: "track", width: "100%", height: HEIGHT, rx: 4 }), svg("rect", { class: "bar", width: percent(value), height: HEIGHT, rx: 4 }), ...dots.map(({ at, title: hint }) => svg("circle", { class: "dot", cx: percent(at), cy: HEIGHT / 2, r: 4.5 }, svg("title", {}, hint))));
        list.append(html("div", { class: "row", role: "listitem" }, html("span", { class: "label", title: label }, label), html("span", { class: "chart" }, chart), html("span", { class: "value" }, text)));
    }
    return list;
}
/** How the uncertainty of the mean splits: what every member is unsure of, and what they disagree about. */
export function split(unsure, disagreement, most) {
    const [first, second] = [unsure / most, disagreement / most];
    const words = `${unsure.toFixed(2)} nats every member is unsure of, ${disagreement.toFixed(2)} nats they disagree `
        + `about, ${most.toFixed(2)} nats at most`;
    const chart = svg("svg", { width: "100%", height: HEIGHT, role: "img", "aria-label": words }, svg("rect", { class: "track", width: "100%", height: HEIGHT, rx: 4 }), svg("rect", { class: "unsure", width: percent(first), height: HEIGHT }), svg("rect", { class: "disagree", x: percent(first), width: percent(second), height: HEIGHT }));
    return html("div", { class: "split" }, html("span", { class: "chart" }, chart), html("p", { class: "key" }, html("span", {}, html("span", { class: "swatch unsure" }), `each member is unsure: ${unsure.toFixed(2)}`), " ", html("span", {}, html("span", { class: "swatch disagree" }), `members disagree: ${disagreement.toFixed(2)}`), " ", html("span", { class: "quiet" }, `of at most ${most.toFixed(2)} nats`)));
}
/** Members against columns, each cell shaded by its share: the numbers themselves are the chart. */
export function heat(columns, rows) {
    const head = html("tr", {}, html("th", { scope: "col" }, "Member"), ...columns.map((name) => html("th", { scope: "col", title: name }, name)));
    const body = rows.map(({ name, cells }) => html("tr", {}, html("th", { scope: "row" }, name), ...cells.map(({ text, share, best }) => {
        const cell = html("td", { title: text, class: best && "best" }, text);
        cell.style.setProperty("--share", String(Number.isFinite(share) ? share : 0));
        return cell;
    })));
    return html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Each member" }, html("table", { class: "heat" }, html("thead", {}, head), html("tbody", {}, ...body)));
}
const percent = (share) => `${(100 * Math.max(0, Math.min(1, share || 0))).toFixed(2)}%`;
