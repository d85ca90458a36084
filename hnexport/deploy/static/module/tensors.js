import { HnexportError, shown } from "./types.js";
const HALF = globalThis.Float16Array ?? Uint16Array;
/** The arrays of JavaScript that hold a dtype. */
export const ARRAYS = {
    bool: Uint8Array, uint8: Uint8Array, int8: Int8Array, int16: Int16Array, uint16: Uint16Array, int32: Int32Array,
    uint32: Uint32Array, int64: BigInt64Array, uint64: BigUint64Array, float16: HALF, float32: Float32Array,
    float64: Float64Array,
};
export const size = (shape) => shape.reduce((product, axis) => product * axis, 1);
/**
 * Every input as a tensor that fits its specification; the batch of all is one. They are copies: a call may wait for
 * others, and whoever called fills his arrays with the next picture meanwhile.
 */
export function fittedInputs(inputs, specs) {
    if (typeof inputs !== "object" || !inputs)
        throw new HnexportError(`inputs: expected ${names(specs)}, found ${shown(inputs)}`);
    const named = isTensor(inputs) || ArrayBuffer.isView(inputs) ? alone(inputs, specs) : inputs;
    const unknown = Object.keys(named).find((name) => !specs.some((spec) => spec.name === name));
    if (unknown !== undefined)
        throw new HnexportError(`there is no input ${unknown}, only ${names(specs)}`);
    const fitted = {};
    const axes = new Map();
    for (const spec of specs) {
        const given = named[spec.name];
        if (given === undefined)
            throw new HnexportError(`the input ${spec.name} is missing: expected ${expected(spec)}`);
        const tensor = fitted[spec.name] = fit(given, spec);
        spec.shape.forEach((axis, index) => {
            const found = tensor.shape[index] ?? 0;
            const before = axes.get(String(axis));
            if (typeof axis === "string" && before && before.size !== found) {
                throw new HnexportError(`${spec.name} has ${found} along ${axis}, ${before.of} has ${before.size}`);
            }
            if (typeof axis === "string")
                axes.set(axis, { size: found, of: spec.name });
        });
    }
    return fitted;
}
function alone(input, specs) {
    const only = specs[0];
    if (!only || specs.length !== 1)
        throw new HnexportError(`this network takes ${names(specs)}: give them by name`);
    return { [only.name]: input };
}
function fit(given, spec) {
    const data = isTensor(given) ? given.data : given;
    const kind = ARRAYS[spec.dtype];
    const clamped = spec.dtype === "uint8" && data instanceof Uint8ClampedArray;
    if (!kind || !(data instanceof kind || clamped)) {
        throw new HnexportError(`${spec.name}: expected ${expected(spec)} in ${kind?.name ?? "no array"}, found ${data?.constructor?.name}`);
    }
    const shape = isTensor(given) ? given.shape : batchOf(data.length, spec);
    const fits = shape.length === spec.shape.length && shape.every((axis) => Number.isInteger(axis) && axis >= 0)
        && spec.shape.every((axis, index) => typeof axis === "string" || axis === shape[index]);
    if (!fits || size(shape) !== data.length) {
        throw new HnexportError(`${spec.name}: expected ${expected(spec)}, found ${data.length} numbers as [${shape.join(", ")}]`);
    }
    return { data: clamped ? new Uint8Array(data) : data.slice(), shape: [...shape] };
}
function batchOf(length, spec) {
    const fixed = spec.shape.filter((axis) => typeof axis === "number");
    const free = spec.shape.length - fixed.length;
    const row = size(fixed);
    if (free > 1)
        throw new HnexportError(`${spec.name}: its axes ${expected(spec)} need a shape, give { data, shape }`);
    return spec.shape.map((axis) => (typeof axis === "number" ? axis : Math.floor(length / Math.max(row, 1))));
}
export function isTensor(value) {
    const tensor = value;
    return typeof value === "object" && !!tensor && ArrayBuffer.isView(tensor.data) && Array.isArray(tensor.shape);
}
const names = (specs) => specs.map((spec) => spec.name).join(", ") || "nothing";
const expected = (spec) => `${spec.dtype} [${spec.shape.join(", ")}]`;
