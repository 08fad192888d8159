// The emotion network: face crops in, calibrated probabilities out, as in ferlib/runs/classifier.py.

import { resize, toGray } from "./images.js";

export const UNCERTAIN = "uncertain";

// As many faces as are classified in one call; memory grows with it.
const BATCH = 16;
const MIN_PROBABILITY = 1e-12;

export class EmotionClassifier {
  /** `network` is one as MtcnnDetector takes them; `config` comes from page.json. */
  constructor(network, config) {
    this.network = network;
    this.config = config;
  }

  /**
   * Return the probabilities of face crops (images of any size), one array per crop, before the class prior.
   *
   * Unless a view is chosen ("plain" or "mirrored"), they are averaged over the views of the run's configuration.
   */
  async predict(crops, view = null) {
    const views = this.isMirrored ? (view === null ? ["plain", "mirrored"] : [view]) : ["plain"];
    const rows = [];
    for (let start = 0; start < crops.length; start += BATCH) {
      rows.push(...(await this.predictBatch(crops.slice(start, start + BATCH), views)));
    }
    return rows;
  }

  get isMirrored() {
    return this.config.test_time_augmentation === "flip";
  }

  async predictBatch(crops, views) {
    const [height, width] = this.config.image_size;
    const { channels } = this.config;
    const size = height * width * channels;
    const n = crops.length;
    const input = new Float32Array(size * n * views.length);
    crops.forEach((crop, i) => {
      const pixels = fitToModel(crop, width, height, channels);
      views.forEach((view, k) => {
        input.set(view === "plain" ? pixels : mirror(pixels, width, height, channels), (k * n + i) * size);
      });
    });
    const dims = [n * views.length, height, width, channels];
    const [{ data }] = await this.network.run({ [this.network.inputNames[0]]: [input, dims] });
    const nClasses = this.config.class_names.length;
    return crops.map((_, i) => {
      const mean = new Array(nClasses).fill(0);
      views.forEach((_, k) => {
        for (let c = 0; c < nClasses; c++) mean[c] += data[(k * n + i) * nClasses + c] / views.length;
      });
      return calibrate(mean, this.config.calibration);
    });
  }
}

/** Return an image as the network's input: gray or RGB of its size, values 0 to 255. */
function fitToModel(image, width, height, channels) {
  const colored = channels === 1 ? toGray(image) : image;
  const { data, channels: step } = resize(colored, width, height);
  if (step === channels) return Float32Array.from(data);
  const pixels = new Float32Array(width * height * channels);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < channels; c++) pixels[i * channels + c] = data[i * step + Math.min(c, step - 1)];
  }
  return pixels;
}

function mirror(pixels, width, height, channels) {
  const mirrored = new Float32Array(pixels.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (y * width + x) * channels;
      mirrored.set(pixels.subarray(from, from + channels), (y * width + width - 1 - x) * channels);
    }
  }
  return mirrored;
}

/** Scale and shift the logits of each class: vector scaling. */
function calibrate(probabilities, calibration) {
  if (calibration === null) return probabilities;
  const logs = probabilities.map((value) => Math.log(Math.max(value, MIN_PROBABILITY)));
  const mean = logs.reduce((sum, value) => sum + value) / logs.length;
  return softmax(logs.map((value, i) => (value - mean) * calibration.scales[i] + calibration.biases[i]));
}

function softmax(logits) {
  const largest = Math.max(...logits);
  return normalize(logits.map((value) => Math.exp(value - largest)));
}

function normalize(values) {
  const sum = values.reduce((total, value) => total + value);
  return values.map((value) => value / sum);
}

/** Return probabilities under other class shares: each is multiplied by its factor; null changes nothing. */
export function applyPrior(probabilities, factors) {
  if (factors === null) return probabilities;
  return normalize(probabilities.map((value, i) => Math.max(value, MIN_PROBABILITY) * factors[i]));
}

/** Return the most probable emotion, "uncertain" below a probability, and that probability. */
export function decide(probabilities, classNames, minProbability) {
  const probability = Math.max(...probabilities);
  const emotion = classNames[probabilities.indexOf(probability)];
  return { emotion: probability >= minProbability ? emotion : UNCERTAIN, probability };
}
