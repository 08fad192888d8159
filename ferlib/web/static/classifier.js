// The emotion network: face crops in, calibrated probabilities out, as in ferlib/runs/classifier.py.

import { fit, toGray } from "./images.js";
import { Smoother } from "./tracker.js";

export const UNCERTAIN = "uncertain";

// Views of faces that are classified in one call; memory grows with it.
const BATCH = 32;
const MIN_PROBABILITY = 1e-12;
// A tracked face is classified this many times per second at most; between two times its probabilities stay.
const MAX_RATE = 16;

export class EmotionClassifier {
  /** `network` is one as MtcnnDetector takes them; `config` comes from page.json. */
  constructor(network, config) {
    this.network = network;
    this.config = config;
    this.averagesMirrored = config.test_time_augmentation === "flip";
  }

  /**
   * Return the probabilities of face crops (images of any size), one array per crop, before the class prior.
   *
   * An array holds those of all outputs of the network, one after the other; `applyPrior` picks those of one output.
   * They are averaged over the views of the run's configuration, or are those of one view per crop: the mirror image
   * where `mirrored` is true.
   */
  async predict(crops, mirrored = null) {
    const [height, width] = this.config.image_size;
    const { channels, class_names: classNames, calibrations } = this.config;
    const views = crops.flatMap((crop, i) => {
      const pixels = fitToModel(crop, width, height, channels);
      const flipped = () => mirror(pixels, width, height, channels);
      if (mirrored !== null) return [{ i, pixels: mirrored[i] ? flipped() : pixels }];
      return this.averagesMirrored
        ? [
            { i, pixels },
            { i, pixels: flipped() },
          ]
        : [{ i, pixels }];
    });
    const sums = crops.map(() => calibrations.map(() => new Array(classNames.length).fill(0)));
    for (let start = 0; start < views.length; start += BATCH) {
      const batch = views.slice(start, start + BATCH);
      const size = height * width * channels;
      const input = new Float32Array(size * batch.length);
      batch.forEach(({ pixels }, k) => input.set(pixels, k * size));
      const dims = [batch.length, height, width, channels];
      const outputs = await this.network.run({ [this.network.inputNames[0]]: [input, dims] });
      batch.forEach(({ i }, k) => {
        sums[i].forEach((sum, o) => sum.forEach((_, c) => (sum[c] += outputs[o].data[k * classNames.length + c])));
      });
    }
    return sums.map((parts) => parts.flatMap((sum, o) => calibrate(normalize(sum), calibrations[o])));
  }
}

/** The smoothed emotions of tracked faces; the views of a face alternate, because smoothing averages over frames. */
export class TrackClassifier {
  /** `smoothing` is a time constant in seconds. */
  constructor(classifier, smoothing) {
    this.classifier = classifier;
    this.smoother = new Smoother(smoothing);
    this.states = new Map();
  }

  /** Return the probabilities of the visible tracks at a time in seconds, given a function that cuts out a face. */
  async update(tracked, time, cut) {
    const isDue = ({ trackId }) => !(time - this.states.get(trackId)?.time < 1 / MAX_RATE);
    const due = tracked.filter(isDue);
    const mirrored = due.map(
      ({ trackId }) => this.classifier.averagesMirrored && this.states.get(trackId)?.next === true,
    );
    const rows = await this.classifier.predict(
      due.map(({ face }) => cut(face)),
      mirrored,
    );
    due.forEach(({ trackId }, i) => {
      const probabilities = this.smoother.update(trackId, rows[i], time);
      this.states.set(trackId, { time, probabilities, next: !mirrored[i] });
    });
    const visible = tracked.map(({ trackId }) => [trackId, this.states.get(trackId)]);
    this.states = new Map(visible);
    return visible.map(([, { probabilities }]) => probabilities);
  }
}

/** Return an image as the network's input: gray or RGB of its size, values 0 to 255. */
function fitToModel(image, width, height, channels) {
  const colored = channels === 1 ? toGray(image) : image;
  const { data, channels: step } = fit(colored, width, height);
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

/**
 * Return the probabilities of the output that suits a prior, under its class shares.
 *
 * Each is multiplied by its factor; factors of null change nothing.
 */
export function applyPrior(probabilities, { output, factors }, nClasses) {
  const chosen = probabilities.slice(output * nClasses, (output + 1) * nClasses);
  if (factors === null) return chosen;
  return normalize(chosen.map((value, i) => Math.max(value, MIN_PROBABILITY) * factors[i]));
}

/** Return the most probable emotion, "uncertain" below a probability, and that probability. */
export function decide(probabilities, classNames, minProbability) {
  const probability = Math.max(...probabilities);
  const emotion = classNames[probabilities.indexOf(probability)];
  return { emotion: probability >= minProbability ? emotion : UNCERTAIN, probability };
}
