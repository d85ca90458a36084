// node chromium.mjs FOLDER: unpack the Chromium that lies in npm's package, with the libraries and fonts that a bare
// machine lacks.
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";

const folder = path.resolve(process.argv[2]);
await mkdir(folder, { recursive: true });
process.env.TMPDIR = folder; // the package unpacks into the folder for temporary files
const { default: chromium, inflate } = await import("@sparticuz/chromium");
const found = await chromium.executablePath();
await inflate(path.join(path.dirname(import.meta.filename), "node_modules/@sparticuz/chromium/bin/al2023.tar.br"));
const fonts = path.join(folder, "fonts");
await writeFile(path.join(fonts, "fonts.conf"), `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>${path.join(fonts, "fonts")}</dir><cachedir>${path.join(folder, "font-cache")}</cachedir></fontconfig>
`);
console.log(found);
