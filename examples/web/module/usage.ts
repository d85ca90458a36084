import { checkNormalisation, imageInput } from "./images.js";
import { HnexportError, shown, type Manifest, type Normalisation, type OutputSpec, type Usage } from "./types.js";

type Held = Readonly<Record<string, unknown>>;

const FIELDS = ["normalisation", "class_names", "license", "assumed"];
const LICENSE = /^[A-Za-z0-9][A-Za-z0-9.+-]{0,63}$/;
const MOST_LETTERS = 200;
const SEVERAL_LINES = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]|(?![\u200c\u200d])\p{Cf}/u;

/** What a manifest says under `usage`, where nothing is said too; what is strange there is refused. */
export function readUsage(manifest: Manifest): Usage {
  const given: unknown = manifest.usage;
  const usage = given === undefined ? {} : fields(given, "usage", FIELDS);
  const { normalisation = null, class_names = {}, license = null, assumed = [] } = usage;
  if (license !== null && !(typeof license === "string" && LICENSE.test(license))) {
    throw wrong("usage.license", "an SPDX identifier such as apache-2.0", license);
  }
  return {
    normalisation: normalisation === null ? null : normalisationOf(normalisation, manifest),
    class_names: namesOf(class_names, manifest.outputs),
    license: license as string | null,
    assumed: listed(assumed, "usage.assumed"),
  };
}

function normalisationOf(given: unknown, manifest: Manifest): Normalisation {
  const { mean = [0], std = [1] } = fields(given, "usage.normalisation", ["mean", "std"]);
  const found = { mean, std } as Normalisation;
  const image = imageInput(manifest);
  if (image?.dtype === "uint8") throw wrong("usage.normalisation", "nothing, since the graph takes uint8", given);
  checkNormalisation(found, image?.channels, (name, expected) =>
    wrong(`usage.normalisation.${name}`, expected, found[name]));
  return found;
}

function namesOf(given: unknown, outputs: readonly OutputSpec[]): Record<string, readonly string[]> {
  const named = fields(given, "usage.class_names", outputs.map(({ name }) => name));
  return Object.fromEntries(Object.entries(named).map(([output, value]) => {
    const where = `usage.class_names.${output}`;
    const { kind, shape, axis } = outputs.find(({ name }) => name === output) as OutputSpec;
    if (kind !== "logits") throw wrong(where, "nothing, since this output is a value", value);
    const names = listed(value, where);
    const classes = shape[axis ?? 0];
    if (names.length !== classes) throw wrong(where, `${classes} names of classes`, names.length);
    const strange = names.find((name) =>
      SEVERAL_LINES.test(name) || name.trim() !== name || !name || [...name].length > MOST_LETTERS);
    if (strange !== undefined) throw wrong(where, `names of one line of at most ${MOST_LETTERS} letters`, strange);
    return [output, names];
  }));
}

function listed(given: unknown, where: string): readonly string[] {
  if (!Array.isArray(given)) throw wrong(where, "a list of strings", given);
  const other = given.findIndex((one) => typeof one !== "string");
  if (other >= 0) throw wrong(`${where}[${other}]`, "a string", given[other]);
  return given as readonly string[];
}

function fields(given: unknown, where: string, known: readonly string[]): Held {
  if (typeof given !== "object" || !given || Array.isArray(given)) throw wrong(where, "an object", given);
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown !== undefined) throw wrong(where, known.length ? `no other fields than ${known.join(", ")}` : "no fields", unknown);
  return given as Held;
}

function wrong(where: string, expected: string, found: unknown): HnexportError {
  return new HnexportError(`manifest.json is not valid: ${where}: expected ${expected}, found ${shown(found)}; copy the bundle again`);
}
