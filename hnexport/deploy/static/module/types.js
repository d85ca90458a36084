/** What went wrong, in words for whoever called. */
export class HnexportError extends Error {
    name = "HnexportError";
}
/** What was given in another's place, in a word. */
export function shown(given) {
    if (given === null || given === undefined)
        return String(given);
    if (typeof given === "string")
        return `string ${JSON.stringify(given.slice(0, 40))}`;
    return Array.isArray(given) ? `list [${given.join(", ").slice(0, 40)}]` : `${typeof given} ${String(given).slice(0, 40)}`;
}
export function words(error) {
    return error instanceof Error ? error.message : String(error);
}
