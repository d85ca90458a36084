import type { Progress, Tensor } from "../module/index.js";
import type { Provider } from "./settings.js";
import type { Request, Started } from "./worker.js";

type Answer = { progress: Progress } | { id: number; result: unknown } | { id: number; error: string };
type Unnumbered<T> = T extends unknown ? Omit<T, "id"> : never;

/** The ensemble in its worker. */
export class Remote {
  readonly #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  readonly #pending = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  #number = 0;

  constructor(tell: (progress: Progress) => void) {
    this.#worker.addEventListener("message", ({ data }: MessageEvent<Answer>) => {
      if ("progress" in data) return tell(data.progress);
      const call = this.#pending.get(data.id);
      this.#pending.delete(data.id);
      if ("error" in data) call?.reject(new Error(data.error));
      else call?.resolve(data.result as never);
    });
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#fail(event.message || "it could not be loaded");
    });
  }

  start(provider: Provider): Promise<Started> {
    return this.#call({ call: "start", provider });
  }

  predict(inputs: Record<string, Tensor>, member: number): Promise<Record<string, Tensor>> {
    return this.#call({ call: "predict", inputs, member });
  }

  /** The largest relative L2 error of a row of every golden sample and member. */
  check(): Promise<number> {
    return this.#call({ call: "check" });
  }

  end(): void {
    this.#worker.terminate();
    this.#fail("it was ended");
  }

  #fail(why: string): void {
    for (const { reject } of this.#pending.values()) reject(new Error(`the runtime stopped: ${why}`));
    this.#pending.clear();
  }

  #call<T>(request: Unnumbered<Request>): Promise<T> {
    const id = ++this.#number;
    return new Promise<T>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#worker.postMessage({ ...request, id });
    });
  }
}
