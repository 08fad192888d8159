// MTCNN: three networks that propose, refine and confirm faces, and locate five landmarks.
//
// The same search as ferlib/faces/mtcnn.py, which explains the constants. A network is an asynchronous function from a
// Float32Array and its shape (n, height, width, 3) to the network's outputs.

import { compareBoxes, nms, round } from "./boxes.js";
import { averageAreas, resize } from "./images.js";

const PNET_SIDE = 12, RNET_SIDE = 24, ONET_SIDE = 48;
const STRIDE = 2;
const FACTOR = 0.709;
const PNET_THRESHOLD = 0.6, RNET_THRESHOLD = 0.7, REDETECT_THRESHOLD = 0.5;
const PYRAMID_FACE = 20, MIN_SIDE = 24, ENLARGED_SIDE = 48, MAX_SIDE = 1600;
const MAX_OVERLAP = 0.6;
const LANDMARKS = ["left_eye", "right_eye", "nose", "mouth_left", "mouth_right"];

export class MtcnnDetector {
  constructor(networks, { minFaceSize, minConfidence }) {
    this.networks = networks;
    this.minFaceSize = minFaceSize;
    this.minConfidence = minConfidence;
  }

  /** Return the faces of an image, from left to right: { box, confidence, landmarks }. */
  async detect(image) {
    const { width, height } = image;
    let scale = Math.max(PYRAMID_FACE / this.minFaceSize, ENLARGED_SIDE / Math.min(width, height));
    scale = Math.min(scale, MAX_SIDE / Math.max(width, height));
    const resized = resize(image, Math.max(1, round(width * scale)), Math.max(1, round(height * scale)));
    if (Math.min(resized.width, resized.height) < MIN_SIDE) return [];
    const found = await this.detectCandidates(resized);
    const faces = found.map((candidate) => toFace(candidate, scale, width, height));
    return mergeDetections(faces.filter(({ box }) => Math.max(box[2], box[3]) >= this.minFaceSize));
  }

  /** Return the faces of the previous frame as they are in the next one, null where a face was lost. */
  async redetect(image, faces) {
    const found = [];
    for (const face of faces) found.push(await this.redetectOne(image, face));
    return found;
  }

  async redetectOne(image, face) {
    const [x, y, width, height] = face.box;
    const [square] = squared([{ corners: [x, y, x + width, y + height], score: 1 }]);
    const [x0, y0, x1, y1] = square.corners;
    const left = Math.max(0, Math.floor(x0) - 2), top = Math.max(0, Math.floor(y0) - 2);
    const region = {
      left,
      top,
      width: Math.min(image.width, Math.max(left + 2, Math.ceil(x1) + 3)) - left,
      height: Math.min(image.height, Math.max(top + 2, Math.ceil(y1) + 3)) - top,
    };
    if (Math.min(region.width, region.height) < 2) return null;
    const moved = { corners: [x0 - left, y0 - top, x1 - left, y1 - top], score: 1 };
    const [found] = await this.refine("onet", ONET_SIDE, image, [moved], region);
    if (!(found.score > REDETECT_THRESHOLD)) return null;
    const back = {
      corners: found.corners.map((value, i) => value + (i % 2 ? top : left)),
      score: found.score,
      landmarks: found.landmarks.map(([u, v]) => [u + left, v + top]),
    };
    return toFace(back, 1, image.width, image.height);
  }

  /** Return the candidates of an image in which the smallest face has 20 pixels. */
  async detectCandidates(image) {
    const proposed = await this.propose(image);
    let found = await this.refine("rnet", RNET_SIDE, image, proposed);
    found = found.filter(({ score }) => score > RNET_THRESHOLD);
    found = squared(suppress(found, 0.7, { greedy: false }));
    found = await this.refine("onet", ONET_SIDE, image, found);
    found = found.filter(({ score }) => score > this.minConfidence);
    return suppress(found, 0.7, { mode: "min", greedy: false });
  }

  /** Return square candidates that PNet finds in the levels of the image pyramid. */
  async propose(image) {
    const { width, height } = image;
    const nLevels = round(-(Math.log(Math.min(width, height) / PNET_SIDE) / Math.log(FACTOR) + 1));
    const candidates = [];
    for (let level = 0; level < nLevels; level++) {
      const scale = (PNET_SIDE / PYRAMID_FACE) * FACTOR ** level;
      const [w, h] = [Math.trunc(width * scale), Math.trunc(height * scale)];
      if (Math.min(w, h) < PNET_SIDE) continue;
      const pixels = averageAreas(image, w, h).data;
      for (let i = 0; i < pixels.length; i++) pixels[i] = (pixels[i] - 127.5) / 128;
      const [offsets, probabilities] = await this.networks.pnet(pixels, [1, h, w, 3]);
      const [, rows, columns] = probabilities.dims;
      const found = [];
      for (let row = 0, i = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++, i++) {
          const score = probabilities.data[2 * i + 1];
          if (!(score > PNET_THRESHOLD)) continue;
          const starts = [column * STRIDE, row * STRIDE];
          const windows = [starts[0] + 1, starts[1] + 1, starts[0] + PNET_SIDE, starts[1] + PNET_SIDE];
          const corners = windows.map((value, k) => (value + offsets.data[4 * i + k] * (PNET_SIDE - 1)) / scale);
          found.push({ corners, score });
        }
      }
      candidates.push(...suppress(found, 0.5, { greedy: false }));
    }
    return squared(suppress(candidates, 0.7, { greedy: false }));
  }

  /** Return candidates as RNet or ONet corrects them; ONet adds landmarks. */
  async refine(network, side, image, squares, region = { left: 0, top: 0, width: image.width, height: image.height }) {
    if (!squares.length) return [];
    const patches = cutPatches(image, region, squares, side);
    const outputs = await this.networks[network](patches, [squares.length, side, side, 3]);
    const offsets = outputs[0].data, probabilities = outputs.at(-1).data;
    const points = outputs.length === 3 ? outputs[1].data : null;
    return squares.map(({ corners: [x0, y0, x1, y1] }, i) => {
      const width = x1 - x0 + 1, height = y1 - y0 + 1;
      const offset = (k) => offsets[4 * i + k];
      return {
        corners: [x0 + offset(0) * width, y0 + offset(1) * height, x1 + offset(2) * width, y1 + offset(3) * height],
        score: probabilities[2 * i + 1],
        // The network lists five x, then five y.
        landmarks: points && LANDMARKS.map((_, k) => [points[10 * i + k] * width + x0 - 1, points[10 * i + 5 + k] * height + y0 - 1]),
      };
    });
  }
}

function suppress(candidates, threshold, options) {
  const corners = candidates.flatMap((candidate) => candidate.corners);
  const scores = candidates.map(({ score }) => score);
  return nms(corners, scores, threshold, options).map((i) => candidates[i]);
}

/** Return candidates with squares around the same centers, as wide as the longer sides. */
function squared(candidates) {
  return candidates.map((candidate) => {
    const [x0, y0, x1, y1] = candidate.corners;
    const width = x1 - x0, height = y1 - y0;
    const side = Math.max(width, height);
    const x = x0 + (width * 0.5 - side * 0.5), y = y0 + (height * 0.5 - side * 0.5);
    return { ...candidate, corners: [x, y, x + side, y + side] };
  });
}

/** Return a candidate of an image that was resized by a factor as a face of the original, clipped to whole pixels. */
function toFace({ corners, score, landmarks }, scale, width, height) {
  const [left, top, right, bottom] = corners.map((value) => value / scale);
  const [x, y, w, h] = [left, top, right - left, bottom - top].map(round);
  const x0 = Math.min(Math.max(x, 0), width - 1), y0 = Math.min(Math.max(y, 0), height - 1);
  const x1 = Math.min(Math.max(x + w, x0 + 1), width), y1 = Math.min(Math.max(y + h, y0 + 1), height);
  const points = LANDMARKS.map((name, i) => [name, landmarks[i].map((value) => value / scale)]);
  return { box: [x0, y0, x1 - x0, y1 - y0], confidence: score, landmarks: Object.fromEntries(points) };
}

/** Return the faces from left to right, only the most confident of those that overlap. */
function mergeDetections(faces) {
  const corners = faces.flatMap(({ box: [x, y, width, height] }) => [x, y, x + width, y + height]);
  const kept = nms(corners, faces.map(({ confidence }) => confidence), MAX_OVERLAP, { mode: "min" });
  return kept.map((i) => faces[i]).sort((a, b) => compareBoxes(a.box, b.box));
}

/**
 * Return the squares of a region resized bilinearly to (n, side, side, 3), from -1 to 1; 0 outside the region.
 *
 * Sampled at the same points as TensorFlow's crop_and_resize, with which the thresholds were tuned.
 */
function cutPatches(image, region, squares, side) {
  const { data, channels } = image;
  const { left, top, width, height } = region;
  const patches = new Float32Array(squares.length * side * side * 3);
  const [green, blue] = channels === 1 ? [0, 0] : [1, 2];
  let target = 0;
  for (const { corners: [x0, y0, x1, y1] } of squares) {
    for (let i = 0; i < side; i++) {
      const y = (y0 + (i / (side - 1)) * (y1 - y0)) * ((height - 1) / height);
      const above = Math.floor(y);
      const below = Math.min(above + 1, height - 1);
      for (let j = 0; j < side; j++, target += 3) {
        const x = (x0 + (j / (side - 1)) * (x1 - x0)) * ((width - 1) / width);
        if (!(y >= 0 && y <= height - 1 && x >= 0 && x <= width - 1)) continue;
        const before = Math.floor(x);
        const after = Math.min(before + 1, width - 1);
        const u = x - before, v = y - above;
        const weights = [(1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v];
        const a = ((top + above) * image.width + left + before) * channels;
        const b = ((top + above) * image.width + left + after) * channels;
        const c = ((top + below) * image.width + left + before) * channels;
        const d = ((top + below) * image.width + left + after) * channels;
        const sample = (k) =>
          (weights[0] * data[a + k] + weights[1] * data[b + k] + weights[2] * data[c + k] + weights[3] * data[d + k] - 127.5) / 128;
        patches[target] = sample(0);
        patches[target + 1] = sample(green);
        patches[target + 2] = sample(blue);
      }
    }
  }
  return patches;
}
