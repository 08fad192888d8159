// The networks as seen from the page: in a worker, or in the service where the browser has no WebAssembly.

/** Whether this browser can run the networks. */
export function canRunNetworks() {
  return typeof WebAssembly === "object" && typeof OffscreenCanvas === "function" && typeof Worker === "function";
}

/** Images and frames are answered by a worker on this computer. */
export class WorkerEngine {
  constructor() {
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.waiting = new Map();
    this.nSent = 0;
    this.worker.addEventListener("message", ({ data: { id, ...answer } }) => {
      const { resolve, reject } = this.waiting.get(id);
      this.waiting.delete(id);
      if (answer.error === undefined) resolve(answer);
      else reject(new Error(answer.error));
    });
    // A worker that cannot be started, for example because a file is missing.
    this.worker.addEventListener("error", (event) => {
      const error = new Error(event.message || "The networks cannot be started.");
      for (const { reject } of this.waiting.values()) reject(error);
      this.waiting.clear();
    });
  }

  send(type, message, transfer = []) {
    return new Promise((resolve, reject) => {
      const id = ++this.nSent;
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, type, ...message }, transfer);
    });
  }

  /** Load the networks; return the number of threads. */
  load(config) {
    this.config = config;
    return this.send("load", { config, base: document.baseURI });
  }

  /** Return the faces of an image file, with probabilities before the class prior. */
  recognize(blob) {
    const { min_confidence: minConfidence, max_pixels: maxPixels } = this.config;
    return this.send("image", { blob, minConfidence, maxPixels });
  }

  /** Start a video or camera whose frames have a shorter side of `side` pixels. */
  start(side, isCamera) {
    const { min_face_size: smallest, min_confidence: minConfidence, smoothing } = this.config;
    const usual = Math.max(smallest, Math.round(side * this.config.video_face));
    // Small faces are looked for at first, but not with a camera, which must not keep people waiting.
    const first = isCamera ? usual : Math.max(smallest, Math.round(usual * this.config.first_face));
    return this.send("start", { usual, first, minConfidence, smoothing });
  }

  /** Return the faces of the next frame, which is consumed; see worker.js. */
  recognizeFrame(bitmap, time) {
    return this.send("frame", { bitmap, time }, [bitmap]);
  }
}

/** Images are sent to the service, which answers with the record that the command line writes. */
export class ServiceEngine {
  constructor(address) {
    this.address = new URL(address, document.baseURI);
    this.isService = true;
    this.isAllowed = false;
  }

  async recognize(blob) {
    const body = new FormData();
    body.append("file", blob);
    const response = await fetch(this.address, { method: "POST", body });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.detail ?? `The service answered with status ${response.status}.`);
    const faces = answer.faces.map(({ probabilities, ...face }) => ({
      ...face,
      probabilities: Object.values(probabilities),
    }));
    return { width: answer.width, height: answer.height, prior: answer.prior, faces };
  }
}
