import { bars, heat, split } from "./charts.js";
import { html } from "./elements.js";
const SHOWN = 5;
/** What the chosen members say of one sample. */
export function answer(summary, nameOf) {
    return summary.kind === "logits" ? ofClasses(summary, nameOf) : ofValues(summary, nameOf);
}
function ofClasses(summary, nameOf) {
    const mean = [...summary.probabilities.data].map(Number);
    const own = [...summary.memberProbabilities.data].map(Number);
    const classes = mean.length;
    const { members } = summary;
    const of = (member, one) => own[member * classes + one] ?? NaN;
    if (mean.some(Number.isNaN))
        return [html("p", { class: "headline" }, "The outputs are not numbers (NaN).")];
    const order = mean.map((_, one) => one).sort((a, b) => (mean[b] ?? 0) - (mean[a] ?? 0)).slice(0, SHOWN);
    const [best = 0] = order;
    const votes = Number(summary.votes.data[best]);
    const several = members.length > 1;
    const who = several ? `mean of ${members.length} members; first choice of ${votes}` : `member ${members[0]}`;
    const parts = [
        html("p", { class: "headline" }, html("strong", {}, nameOf(best)), ` ${share(mean[best])} `, html("span", { class: "quiet" }, who)),
        bars(order.map((one) => ({
            label: nameOf(one),
            value: mean[one] ?? 0,
            text: share(mean[one]),
            dots: several ? members.map((member, at) => ({ at: of(at, one), title: `member ${member}: ${share(of(at, one))}` })) : [],
        })), several ? "Mean probability of each class; dots are members" : "Probability of each class"),
    ];
    if (!several)
        return parts;
    const entropy = Number(summary.predictiveEntropy.data[0]);
    const information = Number(summary.mutualInformation.data[0]);
    const rows = members.map((member, at) => {
        const top = Array.from({ length: classes }, (_, one) => one).reduce((a, b) => (of(at, b) > of(at, a) ? b : a));
        const cells = order.map((one) => ({ text: share(of(at, one)), share: of(at, one), best: one === top }));
        return { name: String(member), cells: [{ text: nameOf(top), share: 0, best: true }, ...cells] };
    });
    return [...parts,
        html("h3", {}, "Disagreement"),
        split(Math.max(0, entropy - information), information, Math.log(Math.max(classes, 2))),
        html("details", { open: members.length <= 12 }, html("summary", {}, "Each member"), heat(["first choice", ...order.map(nameOf)], rows))];
}
function ofValues(summary, nameOf) {
    const { members, values } = summary;
    const each = values.data.length / members.length;
    const at = (member, one) => Number(values.data[member * each + one]);
    const columns = Array.from({ length: each }, (_, one) => one);
    const spread = (one) => Math.sqrt(Number(summary.variance?.data[one] ?? 0));
    const lines = columns.map((one) => {
        const mean = summary.mean ? `${number(Number(summary.mean.data[one]))} ± ${number(spread(one))}` : number(at(0, one));
        return html("div", { class: "row", role: "listitem" }, html("span", { class: "label" }, nameOf(one)), html("span", { class: "value" }, mean));
    });
    const rows = members.map((member, place) => ({
        name: String(member), cells: columns.map((one) => ({ text: number(at(place, one)), share: 0, best: false })),
    }));
    const title = members.length > 1 ? `mean and spread of ${members.length} members` : `member ${members[0]}`;
    return [html("p", { class: "headline" }, title),
        html("div", { class: "bars numbers", role: "list", "aria-label": title }, ...lines),
        html("details", { open: members.length <= 12 }, html("summary", {}, "Each member"), heat(columns.map(nameOf), rows))];
}
function share(probability) {
    const value = 100 * (probability ?? NaN);
    return value >= 99.95 ? "100 %" : value < 0.05 ? "0 %" : `${value.toFixed(1)} %`;
}
const number = (value) => (Number.isInteger(value) ? String(value) : value.toPrecision(4));
