// node chromium.mjs FOLDER: unpack the Chromium that lies in npm's package, with the libraries and fonts that a bare
// machine lacks, and write FOLDER/chrome, a script that starts it with them.
import { copyFile, mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";

const folder = path.resolve(process.argv[2]);
await rm(folder, { recursive: true, force: true }); // the package takes what is there, even half of it
await mkdir(folder, { recursive: true });
process.env.TMPDIR = folder; // the package unpacks into the folder for temporary files
const { default: chromium, inflate } = await import("@sparticuz/chromium");
const found = await chromium.executablePath();
const modules = path.join(import.meta.dirname, "node_modules");
await inflate(path.join(modules, "@sparticuz/chromium/bin/al2023.tar.br"));
const fonts = path.join(folder, "fonts");
const configuration = path.join(fonts, "fonts.conf");
const mono = path.join(fonts, "fonts", "DejaVu_Sans_Mono"); // code is as wide as readers see it
await mkdir(mono, { recursive: true });
for (const style of ["", "-Bold", "-Oblique", "-BoldOblique"]) {
  const file = `DejaVuSansMono${style}.ttf`;
  await copyFile(path.join(modules, "dejavu-fonts-ttf/ttf", file), path.join(mono, file));
}
await writeFile(configuration, `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
<dir>${path.join(fonts, "fonts")}</dir><cachedir>${path.join(folder, "font-cache")}</cachedir>
<alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
`);
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const start = path.join(folder, "chrome");
await writeFile(start, `#!/bin/sh
LD_LIBRARY_PATH=${quoted(path.join(folder, "al2023", "lib"))}"\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
FONTCONFIG_FILE=${quoted(configuration)}
export LD_LIBRARY_PATH FONTCONFIG_FILE
exec ${quoted(found)} "$@"
`, { mode: 0o755 });
console.log(start);
