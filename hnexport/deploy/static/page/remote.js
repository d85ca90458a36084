/** The ensemble in its worker. */
export class Remote {
    #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    #pending = new Map();
    #number = 0;
    constructor(tell) {
        this.#worker.addEventListener("message", ({ data }) => {
            if ("progress" in data)
                return tell(data.progress);
            const call = this.#pending.get(data.id);
            this.#pending.delete(data.id);
            if ("error" in data)
                call?.reject(new Error(data.error));
            else
                call?.resolve(data.result);
        });
        this.#worker.addEventListener("error", (event) => {
            event.preventDefault();
            this.#fail(event.message || "it could not be loaded");
        });
    }
    start(provider) {
        return this.#call({ call: "start", provider });
    }
    predict(inputs, member) {
        return this.#call({ call: "predict", inputs, member });
    }
    /** The largest relative L2 error of a row of every golden sample and member. */
    check() {
        return this.#call({ call: "check" });
    }
    end() {
        this.#worker.terminate();
        this.#fail("it was ended");
    }
    #fail(why) {
        for (const { reject } of this.#pending.values())
            reject(new Error(`the runtime stopped: ${why}`));
        this.#pending.clear();
    }
    #call(request) {
        const id = ++this.#number;
        return new Promise((resolve, reject) => {
            this.#pending.set(id, { resolve, reject });
            this.#worker.postMessage({ ...request, id });
        });
    }
}
