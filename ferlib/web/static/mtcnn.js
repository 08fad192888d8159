// MTCNN: three networks that propose, refine and confirm faces, and locate five landmarks.
//
// The same search as ferlib/faces/mtcnn.py and mtcnn_networks.py, which explain the constants. A network has an
// asynchronous method `run` from input names to [data, dims] to its outputs.

import { compareBoxes, nms, round } from "./boxes.js";
import { averageAreas, resize } from "./images.js";

const PNET_SIDE = 12,
  RNET_SIDE = 24,
  ONET_SIDE = 48;
const STRIDE = 2;
const FACTOR = 0.709;
const PNET_LOG_ODDS = Math.log(0.6 / 0.4),
  RNET_THRESHOLD = 0.7,
  REDETECT_THRESHOLD = 0.5;
const PYRAMID_FACE = 20,
  MIN_SIDE = 24,
  ENLARGED_SIDE = 48,
  MAX_SIDE = 1600;
const MAX_OVERLAP = 0.6;
const BATCH = 32; // patches that are refined in one call
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
    const left = Math.max(0, Math.floor(x0) - 2),
      top = Math.max(0, Math.floor(y0) - 2);
    const region = {
      left,
      top,
      width: Math.min(image.width, Math.max(left + 2, Math.ceil(x1) + 3)) - left,
      height: Math.min(image.height, Math.max(top + 2, Math.ceil(y1) + 3)) - top,
    };
    if (Math.min(region.width, region.height) < 2) return null;
    const moved = { corners: [x0 - left, y0 - top, x1 - left, y1 - top], score: 1 };
    const [found] = await this.refine("onet", toPlanes(image, region), [moved]);
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
    const planes = toPlanes(image, { left: 0, top: 0, width: image.width, height: image.height });
    let found = await this.refine("rnet", planes, proposed);
    found = found.filter(({ score }) => score > RNET_THRESHOLD);
    found = squared(suppress(found, 0.7, { greedy: false }));
    found = await this.refine("onet", planes, found);
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
      const [{ data, dims }] = await this.networks.pnet.run({ image: [pixels, [1, h, w, 3]] });
      // For each window, offsets of the corners and the log-odds of a face.
      const [, , rows, columns] = dims;
      const plane = rows * columns;
      const found = [];
      for (let i = 0; i < plane; i++) {
        const logOdds = data[4 * plane + i];
        if (!(logOdds > PNET_LOG_ODDS)) continue;
        const left = (i % columns) * STRIDE,
          top = Math.floor(i / columns) * STRIDE;
        const window = [left + 1, top + 1, left + PNET_SIDE, top + PNET_SIDE];
        const corners = window.map((value, k) => (value + data[k * plane + i] * (PNET_SIDE - 1)) / scale);
        found.push({ corners, score: sigmoid(logOdds) });
      }
      candidates.push(...suppress(found, 0.5, { greedy: false }));
    }
    return squared(suppress(candidates, 0.7, { greedy: false }));
  }

  /** Return candidates as RNet or ONet corrects them; ONet adds landmarks. */
  async refine(name, planes, squares) {
    const side = name === "rnet" ? RNET_SIDE : ONET_SIDE;
    const refined = [];
    for (let start = 0; start < squares.length; start += BATCH) {
      const batch = squares.slice(start, start + BATCH);
      const [{ data, dims }] = await this.networks[name].run({ image: planes, ...patchInputs(planes, batch, side) });
      refined.push(...batch.map((square, i) => refineSquare(square, data.subarray(i * dims[1], (i + 1) * dims[1]))));
    }
    return refined;
  }
}

/** Return a square as a network corrects it: offsets of corners, of ONet ten coordinates, log-odds of a face. */
function refineSquare({ corners: [x0, y0, x1, y1] }, values) {
  const width = x1 - x0 + 1,
    height = y1 - y0 + 1;
  const sizes = [width, height, width, height];
  // The network lists five x, then five y.
  const landmarks = LANDMARKS.map((_, k) => [values[4 + k] * width + x0 - 1, values[9 + k] * height + y0 - 1]);
  return {
    corners: [x0, y0, x1, y1].map((value, k) => value + values[k] * sizes[k]),
    score: sigmoid(values.at(-1)),
    landmarks: values.length > 5 ? landmarks : null,
  };
}

/** Return a probability, rounded as Python does it: candidates that tie there must tie here. */
function sigmoid(logOdds) {
  return Math.fround(1 / (1 + Math.exp(-logOdds)));
}

function suppress(candidates, threshold, options) {
  const corners = candidates.flatMap((candidate) => candidate.corners.map(Math.fround));
  const scores = candidates.map(({ score }) => score);
  return nms(corners, scores, threshold, options).map((i) => candidates[i]);
}

/** Return candidates with squares around the same centers, as wide as the longer sides. */
function squared(candidates) {
  return candidates.map((candidate) => {
    const [x0, y0, x1, y1] = candidate.corners;
    const width = x1 - x0,
      height = y1 - y0;
    const side = Math.max(width, height);
    const x = x0 + (width * 0.5 - side * 0.5),
      y = y0 + (height * 0.5 - side * 0.5);
    return { ...candidate, corners: [x, y, x + side, y + side] };
  });
}

/** Return a candidate of an image that was resized by a factor as a face of the original, clipped to whole pixels. */
function toFace({ corners, score, landmarks }, scale, width, height) {
  const [left, top, right, bottom] = corners.map((value) => value / scale);
  const [x, y, w, h] = [left, top, right - left, bottom - top].map(round);
  const x0 = Math.min(Math.max(x, 0), width - 1),
    y0 = Math.min(Math.max(y, 0), height - 1);
  const x1 = Math.min(Math.max(x + w, x0 + 1), width),
    y1 = Math.min(Math.max(y + h, y0 + 1), height);
  const points = LANDMARKS.map((name, i) => [name, landmarks[i].map((value) => value / scale)]);
  return { box: [x0, y0, x1 - x0, y1 - y0], confidence: score, landmarks: Object.fromEntries(points) };
}

/** Return the faces from left to right, only the most confident of those that overlap. */
function mergeDetections(faces) {
  const corners = faces.flatMap(({ box: [x, y, width, height] }) => [x, y, x + width, y + height]);
  const kept = nms(
    corners,
    faces.map(({ confidence }) => confidence),
    MAX_OVERLAP,
    { mode: "min" },
  );
  return kept.map((i) => faces[i]).sort((a, b) => compareBoxes(a.box, b.box));
}

/** Return a region of an image as a network's input (1, 3, height, width), from -1 to 1. */
function toPlanes({ data, width: step, channels }, { left, top, width, height }) {
  const size = width * height;
  const planes = new Float32Array(3 * size);
  for (let y = 0, target = 0; y < height; y++) {
    for (let x = 0; x < width; x++, target++) {
      const source = ((top + y) * step + left + x) * channels;
      for (let c = 0; c < 3; c++) planes[c * size + target] = (data[source + (channels === 1 ? 0 : c)] - 127.5) / 128;
    }
  }
  return [planes, [1, 3, height, width]];
}

/** Return the inputs with which a network samples squares of an image: bilinear, and 0 outside the image. */
function patchInputs([, [, , height, width]], squares, side) {
  const n = squares.length;
  const regions = new Float32Array(4 * n);
  const inside = { x: new Float32Array(n * side), y: new Float32Array(n * side) };
  squares.forEach(({ corners }, i) => {
    for (const [axis, length, name] of [
      [0, width, "x"],
      [1, height, "y"],
    ]) {
      const last = length - 1;
      const start = corners[axis] * (last / length),
        end = corners[axis + 2] * (last / length);
      for (let j = 0; j < side; j++) {
        const point = start + (j / (side - 1)) * (end - start);
        inside[name][i * side + j] = point >= 0 && point <= last ? 1 : 0;
      }
      const half = (end - start) / (side - 1) / 2;
      regions[4 * i + axis] = start - half;
      regions[4 * i + axis + 2] = end + half;
    }
  });
  return {
    regions: [regions, [n, 4]],
    indices: [new BigInt64Array(n), [n]],
    inside_y: [inside.y, [n, 1, side, 1]],
    inside_x: [inside.x, [n, 1, 1, side]],
  };
}
