import { size } from "./tensors.js";
import { HnexportError } from "./types.js";
/** What the members say together of one output, from each one's own. */
export function summarise(spec, members, outputs) {
    const shape = outputs[0]?.shape;
    if (!shape)
        throw new HnexportError("there are no members to summarise");
    const together = joined(outputs, shape);
    return spec.kind === "logits" && spec.axis !== null
        ? ofLogits(together, members, spec.axis)
        : ofValue(together, members, spec.dtype);
}
function joined(outputs, shape) {
    const each = size(shape);
    const first = outputs[0];
    const kind = first.data.constructor;
    const data = new kind(each * outputs.length);
    outputs.forEach((one, member) => data.set(one.data, member * each));
    return { data, shape: [outputs.length, ...shape] };
}
/** With the mean probability q, the mutual information is `mean_m sum_c p_mc (log p_mc - log q_c)`. */
function ofLogits(logits, members, axis) {
    const [count = 0, ...shape] = logits.shape;
    const classes = shape[axis] ?? 0;
    const inner = size(shape.slice(axis + 1)); // numbers between two classes
    const rows = size(shape) / Math.max(classes, 1);
    const without = shape.filter((_, index) => index !== axis);
    const logP = new Float64Array(logits.data.length);
    const probabilities = new Float64Array(size(shape));
    const votes = new Int32Array(size(shape));
    const entropy = new Float64Array(rows);
    const information = new Float64Array(rows);
    for (let row = 0; row < rows; row++) {
        const start = Math.floor(row / inner) * inner * classes + (row % inner);
        const at = (one) => start + one * inner;
        for (let member = 0; member < count; member++) {
            const base = member * size(shape);
            let most = -Infinity;
            let best = 0;
            let spoiled = false;
            for (let one = 0; one < classes; one++) {
                const value = Number(logits.data[base + at(one)]);
                spoiled ||= Number.isNaN(value);
                if (value > most)
                    [most, best] = [value, one];
            }
            let sum = 0;
            for (let one = 0; one < classes; one++)
                sum += Math.exp(Number(logits.data[base + at(one)]) - most);
            for (let one = 0; one < classes; one++) {
                logP[base + at(one)] = spoiled ? NaN : Number(logits.data[base + at(one)]) - most - Math.log(sum);
            }
            if (!spoiled)
                votes[at(best)] = (votes[at(best)] ?? 0) + 1;
        }
        for (let one = 0; one < classes; one++) {
            const own = Array.from({ length: count }, (_, member) => logP[member * size(shape) + at(one)] ?? NaN);
            const logQ = logSum(own) - Math.log(count);
            const q = Math.exp(logQ);
            probabilities[at(one)] = q;
            if (q !== 0)
                entropy[row] = (entropy[row] ?? 0) - q * logQ;
            for (const value of own) {
                const p = Math.exp(value);
                if (p !== 0)
                    information[row] = (information[row] ?? 0) + (p * (value - logQ)) / count;
            }
        }
        if (entropy[row] < 0)
            entropy[row] = 0;
        if (information[row] < 0)
            information[row] = 0;
    }
    return {
        kind: "logits",
        members,
        logits,
        memberProbabilities: { data: logP.map(Math.exp), shape: logits.shape },
        probabilities: { data: probabilities, shape },
        predictiveEntropy: { data: entropy, shape: without },
        mutualInformation: { data: information, shape: without },
        votes: { data: votes, shape },
    };
}
/** Of numbers of any size, which neither overflows nor underflows. */
function logSum(values) {
    const most = Math.max(...values);
    return most === -Infinity ? most : most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}
function ofValue(values, members, dtype) {
    const [count = 0, ...shape] = values.shape;
    if (!dtype.startsWith("float"))
        return { kind: "value", members, values, mean: null, variance: null };
    const each = size(shape);
    const mean = new Float64Array(each);
    const variance = new Float64Array(each);
    for (let index = 0; index < each; index++) {
        let sum = 0;
        for (let member = 0; member < count; member++)
            sum += Number(values.data[member * each + index]);
        mean[index] = sum / count;
        let squares = 0;
        for (let member = 0; member < count; member++) {
            squares += (Number(values.data[member * each + index]) - sum / count) ** 2;
        }
        variance[index] = squares / count;
    }
    return { kind: "value", members, values, mean: { data: mean, shape }, variance: { data: variance, shape } };
}
