/** What went wrong, in words for whoever called. */
export class HnexportError extends Error {
    name = "HnexportError";
}
