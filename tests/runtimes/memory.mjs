// Memory that a process has for itself, in bytes; what it maps of files does not count.
import { readFile } from "node:fs/promises";

export async function privateBytes(process) {
  const found = /Private_Dirty: *(\d+) kB/.exec(await readFile(`/proc/${process}/smaps_rollup`, "utf8"));
  return 1024 * Number(found[1]);
}
