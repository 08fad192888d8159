// MTCNN: three networks that propose, refine and confirm faces, and locate five landmarks.
//
// The same search as ferlib/faces/mtcnn.py and mtcnn_networks.py, which explain the constants. A network has an
// asynchronous method `run` from input names to [data, dims] to its outputs.

import { compareBoxes, iou, nms, round } from "./boxes.js";
import { averageAreas, pad, resize } from "./images.js";

const PNET_SIDE = 12;
const RNET_SIDE = 24;
const ONET_SIDE = 48;
const STRIDE = 2;
const FACTOR = 0.709;
const PNET_LOG_ODDS = Math.log(0.6 / 0.4);
const RNET_THRESHOLD = 0.7;
const REDETECT_THRESHOLD = 0.5;
const MIN_FACE_SIZE = 20;
const PYRAMID_FACE = 20;
const MIN_SIDE = 24;
const ENLARGED_SIDE = 48;
const MAX_SIDE = 1600;
const MAX_OVERLAP = 0.6;
const SMALLEST_SHARE = 16;
const FILLED = 0.7;
const MAX_ASPECT = 2;
const BORDER = 6;
const CUT_TOLERANCE = 0.2;
const VISIBLE = 0.55;
const OVERLAP = 0.1;
const N_FIRST = 5;
const SURE = 0.98;
const SHRINKING = 0.7;
const BATCH = 32; // patches that are refined in one call
const LANDMARKS = ["left_eye", "right_eye", "nose", "mouth_left", "mouth_right"];

export class MtcnnDetector {
  /** Unless `minFaceSize` is given it is 20 pixels, and small faces next to large ones are discarded. */
  constructor(networks, { minFaceSize = null, minConfidence }) {
    this.networks = networks;
    this.minFaceSize = minFaceSize ?? MIN_FACE_SIZE;
    this.keepSmall = minFaceSize !== null;
    this.minConfidence = minConfidence;
  }

  /** Return the faces of an image, from left to right: { box, confidence, landmarks }. */
  async detect(image) {
    const { width, height } = image;
    const scale = Math.max(PYRAMID_FACE / this.minFaceSize, ENLARGED_SIDE / Math.min(width, height));
    const found = await this.detectReduced(image, Math.min(scale, MAX_SIDE / Math.max(width, height)));
    const size = ({ box }) => Math.max(box[2], box[3]);
    const faces = mergeDetections(found.filter((face) => size(face) >= this.minFaceSize));
    if (!faces.length) return this.detectFilling(image);
    if (this.keepSmall) return faces;
    const largest = Math.max(...faces.map(size));
    return faces.filter((face) => size(face) * SMALLEST_SHARE >= largest);
  }

  /** Return the faces of an image that is resized by a factor, also those that its edge cuts. */
  async detectReduced(image, scale) {
    const { width, height } = image;
    const resized = rescale(image, scale);
    if (Math.min(resized.width, resized.height) < MIN_SIDE) return [];
    const groups = await this.search(resized, BORDER);
    const [faces, cut] = groups.map((found) => found.map((candidate) => toFace(candidate, scale, width, height)));
    return [...faces, ...cut.filter(({ box }) => !faces.some((face) => iou(box, face.box) > OVERLAP))];
  }

  /** Return the face that fills an image: larger than its windows, it is found in a small copy with a border. */
  async detectFilling(image) {
    const { width, height } = image;
    const shorter = Math.min(width, height);
    if (Math.max(width, height) > MAX_ASPECT * shorter || shorter < MIN_SIDE) return [];
    const scale = ENLARGED_SIDE / shorter;
    const border = ENLARGED_SIDE / 2;
    const [found] = await this.search(pad(rescale(image, scale), border, 127), 0);
    const isLarge = ({ corners: [x0, y0, x1, y1] }) => Math.max(x1 - x0, y1 - y0) >= FILLED * ENLARGED_SIDE;
    const moved = found.filter(isLarge).map(({ corners, score, landmarks }) => ({
      corners: corners.map((value) => value - border),
      score,
      landmarks: landmarks.map(([x, y]) => [x - border, y - border]),
    }));
    return mergeDetections(moved.map((candidate) => toFace(candidate, scale, width, height)));
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

  /**
   * Return the candidates of an image in which the smallest face has 20 pixels.
   *
   * The second group has those that the image's edge cuts; without a border it is empty.
   */
  async search(image, border) {
    const groups = await this.propose(image, border);
    const planes = toPlanes(image, { left: 0, top: 0, width: image.width, height: image.height });
    const refined = (await this.refineGroups("rnet", planes, groups)).map((group) => {
      const likely = group.filter(({ score }) => score > RNET_THRESHOLD);
      return squared(suppress(likely, 0.7, { greedy: false }));
    });
    const [inside, outside] = await this.refineGroups("onet", planes, refined);
    const isSure = ({ score }) => score > this.minConfidence;
    const found = suppress(inside.filter(isSure), 0.7, { mode: "min", greedy: false });
    if (!border) return [found, []];
    const lowest = this.minConfidence - CUT_TOLERANCE;
    const unsure = [...inside.filter((candidate) => !isSure(candidate)), ...outside].filter(
      ({ score }) => score > lowest,
    );
    const cut = unsure.filter(({ corners }) => isCut(corners, image.width, image.height));
    return [found, suppress(cut, 0.7, { mode: "min" })];
  }

  /** Return groups of candidates as a network corrects them, in one call. */
  async refineGroups(name, planes, groups) {
    const refined = await this.refine(name, planes, groups.flat());
    return [refined.slice(0, groups[0].length), refined.slice(groups[0].length)];
  }

  /** Return square candidates that PNet finds in the levels of the image pyramid: inside, and beyond the edge. */
  async propose(image, border) {
    const { width, height } = image;
    const nLevels = round(-(Math.log(Math.min(width, height) / PNET_SIDE) / Math.log(FACTOR) + 1));
    const groups = [[], []];
    for (let level = 0; level < nLevels; level++) {
      const scale = (PNET_SIDE / PYRAMID_FACE) * FACTOR ** level;
      const [w, h] = [Math.trunc(width * scale), Math.trunc(height * scale)];
      if (Math.min(w, h) < PNET_SIDE) continue;
      const pixels = averageAreas(image, w, h);
      for (let i = 0; i < pixels.data.length; i++) pixels.data[i] = (pixels.data[i] - 127.5) / 128;
      const found = await this.proposeInLevel(pixels, border, scale);
      found.forEach((group, i) => groups[i].push(...suppress(group, 0.5, { greedy: false }, Math.fround)));
    }
    return groups.map((group) => squared(suppress(group, 0.7, { greedy: false }, Math.fround)));
  }

  /** Return the candidates of a level's windows, those inside the level and those that reach beyond its edge. */
  async proposeInLevel(pixels, border, scale) {
    const { width, height } = pixels;
    const padded = await this.applyPnet(pad(pixels, border, 0));
    // On an odd side, the last windows inside reach a pixel beyond it, into the border: they are computed without.
    const last = PNET_SIDE - 1;
    const isOdd = (side) => border > 0 && side % 2 === 1;
    const bottom = isOdd(height) ? await this.applyPnet(part(pixels, 0, height - last, width, last)) : null;
    const right = isOdd(width) ? await this.applyPnet(part(pixels, width - last, 0, last, height)) : null;
    const first = border / STRIDE;
    const [nRows, nColumns] = [countWindows(height), countWindows(width)];
    const found = [[], []];
    for (let i = 0; i < padded.rows * padded.columns; i++) {
      const row = Math.floor(i / padded.columns) - first;
      const column = (i % padded.columns) - first;
      const isInside = row >= 0 && row < nRows && column >= 0 && column < nColumns;
      let [source, index] = [padded, i];
      if (isInside && right !== null && column === nColumns - 1) [source, index] = [right, row];
      else if (isInside && bottom !== null && row === nRows - 1) [source, index] = [bottom, column];
      const plane = source.rows * source.columns;
      const value = (k) => source.data[k * plane + index];
      if (!(value(4) > PNET_LOG_ODDS)) continue;
      const [left, top] = [column * STRIDE, row * STRIDE];
      const window = [left + 1, top + 1, left + PNET_SIDE, top + PNET_SIDE];
      const corners = window.map((start, k) => (start + value(k) * (PNET_SIDE - 1)) / scale);
      found[isInside ? 0 : 1].push({ corners, score: sigmoid(value(4)) });
    }
    return found;
  }

  /** Return PNet's values for each window: offsets of the corners and the log-odds of a face, one after the other. */
  async applyPnet({ data, width, height }) {
    const [output] = await this.networks.pnet.run({ image: [data, [1, height, width, 3]] });
    const [, , rows, columns] = output.dims;
    return { data: output.data, rows, columns };
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

/** Return the candidates that are left after NMS of their corners, which are rounded first. */
function suppress(candidates, threshold, options, rounding = (value) => value) {
  const corners = candidates.flatMap((candidate) => candidate.corners.map(rounding));
  const scores = candidates.map(({ score }) => score);
  return nms(corners, scores, threshold, options).map((i) => candidates[i]);
}

/** Return the number of PNet's windows on a side; the last one reaches a pixel beyond an odd side. */
function countWindows(side) {
  return Math.ceil((side - 2) / STRIDE) - 4;
}

/** Return a rectangle of a level with three channels. */
function part({ data, width }, left, top, w, h) {
  const cut = new Float32Array(3 * w * h);
  for (let y = 0; y < h; y++) {
    const start = 3 * ((top + y) * width + left);
    cut.set(data.subarray(start, start + 3 * w), 3 * y * w);
  }
  return { data: cut, width: w, height: h };
}

/** Return whether a box reaches beyond the edge of an image, with most of its area inside. */
function isCut([x0, y0, x1, y1], width, height) {
  const clip = (value, limit) => Math.min(Math.max(value, 0), limit);
  const clipped = [clip(x0, width), clip(y0, height), clip(x1, width), clip(y1, height)];
  const area = ([left, top, right, bottom]) => (right - left) * (bottom - top);
  const reaches = clipped.some((value, i) => value !== [x0, y0, x1, y1][i]);
  return reaches && area(clipped) / area([x0, y0, x1, y1]) >= VISIBLE;
}

/** Return an image resized by a factor, at least one pixel large. */
function rescale(image, scale) {
  return resize(image, Math.max(1, round(image.width * scale)), Math.max(1, round(image.height * scale)));
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

/** A detector for one video that looks for small faces first, and then for faces as small as those it has found. */
export class AdaptiveDetector {
  /** `make` returns a detector for a smallest face; see ferlib/faces/adaptive.py. */
  constructor(make, { smallest, usual }) {
    this.make = make;
    this.smallest = smallest;
    this.size = usual;
    this.first = make(smallest);
    this.later = null;
    this.nCalls = 0;
  }

  async detect(image) {
    this.nCalls++;
    if (this.nCalls > N_FIRST) {
      this.later ??= this.make(this.size);
      return this.later.detect(image);
    }
    const faces = await this.first.detect(image);
    for (const { box, confidence } of faces) {
      if (confidence < SURE) continue;
      const size = round(Math.max(box[2], box[3]) * SHRINKING);
      this.size = Math.max(this.smallest, Math.min(this.size, size));
    }
    return faces;
  }

  redetect(image, faces) {
    return this.first.redetect(image, faces);
  }
}
