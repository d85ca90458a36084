import { imageTensor } from "../module/index.js";
import { found, html } from "./elements.js";
import { readPicture } from "./pictures.js";
/** Pictures that are dropped, picked, pasted, or among the samples. */
export class Images {
    input;
    settings;
    add;
    fail;
    normalisation;
    constructor(input, settings, add, fail, normalisation) {
        this.input = input;
        this.settings = settings;
        this.add = add;
        this.fail = fail;
        this.normalisation = normalisation;
    }
    listen() {
        const zone = found("drop");
        const picker = found("files");
        zone.hidden = false;
        picker.addEventListener("change", () => {
            void this.#read([...(picker.files ?? [])]);
            picker.value = ""; // the same file may be picked again
        });
        for (const kind of ["dragenter", "dragover"]) {
            document.addEventListener(kind, (event) => {
                event.preventDefault();
                zone.classList.add("over");
            });
        }
        document.addEventListener("dragleave", (event) => {
            if (!event.relatedTarget)
                zone.classList.remove("over");
        });
        document.addEventListener("drop", (event) => {
            event.preventDefault();
            zone.classList.remove("over");
            const files = [...(event.dataTransfer?.files ?? [])];
            if (files.length)
                void this.#read(files);
            else
                this.fail("What was dropped is no file: save the picture first, then drop or choose the file.");
        });
        document.addEventListener("paste", (event) => void this.#read([...(event.clipboardData?.files ?? [])]));
        this.#samples();
    }
    /** The first of the samples, so that there is something to see at once. */
    async first() {
        const [sample] = this.settings.samples;
        if (sample)
            await this.#sample(sample);
    }
    #samples() {
        const buttons = this.settings.samples.map((sample) => {
            const button = html("button", { type: "button", class: "sample", title: `Try ${nameOf(sample)}` }, html("img", { src: sample, alt: nameOf(sample), width: 56, height: 56 }));
            button.addEventListener("click", () => void this.#sample(sample));
            return button;
        });
        found("samples").append(...buttons);
        found("samples").hidden = !buttons.length;
    }
    async #sample(address) {
        const response = await fetch(address).catch(() => null);
        if (!response?.ok)
            return this.fail(`${nameOf(address)} cannot be read: is the site whole?`);
        await this.#read([new File([await response.blob()], nameOf(address))]);
    }
    async #read(files) {
        for (const file of files) {
            try {
                const picture = await readPicture(file, this.input);
                const tensor = () => imageTensor(picture.pixels, this.input, this.normalisation());
                this.add({ name: file.name, preview: sideBySide(picture), tensor });
            }
            catch (error) {
                this.fail(`${file.name} ${error.message}.`);
            }
        }
    }
}
function sideBySide({ preview, seen }) {
    preview.setAttribute("role", "img");
    preview.setAttribute("aria-label", "the picture");
    seen.setAttribute("role", "img");
    seen.setAttribute("aria-label", `as the network gets it, ${seen.width} × ${seen.height} pixels`);
    seen.title = `As the network gets it: ${seen.width} × ${seen.height} pixels`;
    return html("div", { class: "pictures" }, preview, seen);
}
const nameOf = (address) => decodeURIComponent(address.split("/").pop() ?? address);
