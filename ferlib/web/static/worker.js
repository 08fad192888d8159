// The networks, in a worker: images and frames in, faces with probabilities out. Nothing leaves the computer.
//
// Messages are { id, type, … }; each gets one answer { id, … } or { id, error }.

import * as ort from "./vendor/onnxruntime-web/ort.wasm.min.mjs";

import { EmotionClassifier, TrackClassifier } from "./classifier.js";
import { cutFace } from "./faces.js";
import { decodeImage, readPixels } from "./images.js";
import { AdaptiveDetector, MtcnnDetector } from "./mtcnn.js";
import { FaceTracker } from "./tracker.js";

const MAX_THREADS = 4;

let config = null;
let networks = null;
let classifier = null;
let stream = null;

const handlers = {
  /** Load the networks, whose addresses in `config` are relative to `base`. */
  async load({ config: given, base }) {
    config = given;
    ort.env.logLevel = "error";
    ort.env.wasm.wasmPaths = new URL("vendor/onnxruntime-web/", base).href;
    ort.env.wasm.numThreads = self.crossOriginIsolated ? countThreads() : 1;
    const names = Object.keys(config.networks);
    const files = await Promise.all(names.map((name) => download(new URL(config.networks[name], base))));
    networks = {};
    for (const [i, name] of names.entries()) networks[name] = await createNetwork(files[i]);
    classifier = new EmotionClassifier(networks.emotion, config);
    return { threads: ort.env.wasm.numThreads };
  },

  /** Find the faces of an image file; the probabilities are those before the class prior. */
  async image({ blob, minConfidence, maxPixels }) {
    const image = await decodeImage(blob, maxPixels);
    const detector = new MtcnnDetector(networks, { minConfidence });
    const faces = await detector.detect(image);
    const rows = await classifier.predict(faces.map((face) => cutFace(image, face, config.crop)));
    const { width, height } = image;
    return { width, height, faces: faces.map((face, i) => ({ ...face, probabilities: rows[i] })) };
  },

  /** Start a video or camera: frames get track IDs and smoothed probabilities from here on. */
  start({ usual, first, minConfidence, smoothing }) {
    const make = (minFaceSize) => new MtcnnDetector(networks, { minFaceSize, minConfidence });
    const detector = first === usual ? make(usual) : new AdaptiveDetector(make, { smallest: first, usual });
    stream = { tracker: new FaceTracker(detector), emotions: new TrackClassifier(classifier, smoothing) };
    return {};
  },

  /** Find the faces of the next frame, at a time in seconds; the probabilities are those before the class prior. */
  async frame({ bitmap, time }) {
    const image = readPixels(bitmap);
    bitmap.close();
    const tracked = await stream.tracker.update(image, time);
    const rows = await stream.emotions.update(tracked, time, (face) => cutFace(image, face, config.crop));
    const faces = tracked.map(({ trackId, face }, i) => ({ ...face, trackId, probabilities: rows[i] }));
    return { width: image.width, height: image.height, time, faces };
  },
};

/** Return the number of threads: half of the cores, since the browser draws and decodes on the others. */
function countThreads() {
  return Math.max(1, Math.min(MAX_THREADS, Math.floor(navigator.hardwareConcurrency / 2)));
}

async function download(url) {
  // The file of a model may change under its name.
  const response = await fetch(url, { cache: "no-cache" });
  if (!response.ok) throw new Error(`${url.pathname} cannot be loaded (${response.status}).`);
  return new Uint8Array(await response.arrayBuffer());
}

async function createNetwork(file) {
  const session = await ort.InferenceSession.create(file, {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
  });
  return {
    inputNames: session.inputNames,
    async run(inputs) {
      const feeds = {};
      for (const [name, [data, dims]] of Object.entries(inputs)) {
        feeds[name] = new ort.Tensor(data instanceof BigInt64Array ? "int64" : "float32", data, dims);
      }
      const outputs = await session.run(feeds);
      return session.outputNames.map((name) => outputs[name]);
    },
  };
}

// One message at a time: the networks share a memory, and tracks depend on the order of frames.
let queue = Promise.resolve();

self.addEventListener("message", ({ data: { id, type, ...message } }) => {
  queue = queue.then(async () => {
    try {
      self.postMessage({ id, ...(await handlers[type](message)) });
    } catch (error) {
      self.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
    }
  });
});
