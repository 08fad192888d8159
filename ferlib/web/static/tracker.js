// Tracks of faces over time, smoothed probabilities and summaries.
//
// As in ferlib/faces/tracker.py and in stream.py and tracks.py of ferlib/inference, which explain the constants.
// Times are in seconds.

import { compareBoxes, iou } from "./boxes.js";

const DETECT_INTERVAL = 0.5,
  MAX_AGE = 2.0,
  LOST_FACTOR = 5;
const HIGH_CONFIDENCE = 0.98,
  MIN_HITS = 3;
const MATCH_IOU = 0.2,
  DUPLICATE_IOU = 0.5;
const RETURN_DISTANCE = 1.0,
  RETURN_SCALE = 1.6;
const MAX_POINTS = 500;

/** Assign track IDs to the faces of one video; the whole frame is searched twice per second, and more after a loss. */
export class FaceTracker {
  constructor(detector) {
    this.detector = detector;
    this.nIds = 0;
    this.restart();
  }

  restart() {
    this.tracks = [];
    this.lastDetection = -Infinity;
  }

  /** Return the visible faces of the next frame from left to right: { trackId, face }. */
  async update(image, time) {
    if (time < this.lastDetection) this.restart();
    this.tracks = this.tracks.filter((track) => time - track.lastSeen <= MAX_AGE);
    await this.redetect(image, time);
    const lost = this.tracks.some((track) => !track.visible);
    if (time - this.lastDetection >= DETECT_INTERVAL / (lost ? LOST_FACTOR : 1)) await this.detect(image, time);
    this.mergeDuplicates();
    return this.confirmed();
  }

  async redetect(image, time) {
    const visible = this.tracks.filter((track) => track.visible);
    const faces = await this.detector.redetect(
      image,
      visible.map((track) => track.face),
    );
    visible.forEach((track, i) => {
      if (faces[i] === null || iou(faces[i].box, track.face.box) < MATCH_IOU) track.visible = false;
      else hit(track, faces[i], time);
    });
  }

  async detect(image, time) {
    this.lastDetection = time;
    const faces = await this.detector.detect(image);
    const matches = this.match(faces);
    for (const [i, j] of matches) {
      const track = this.tracks[i];
      if (track.lastSeen === time && track.visible) track.face = faces[j];
      else hit(track, faces[j], time);
    }
    const matched = new Set(matches.values());
    for (const [j, face] of faces.entries()) {
      if (!matched.has(j)) this.tracks.push({ face, lastSeen: time, hits: 1, trackId: null, visible: true });
    }
  }

  /** Return a map from tracks to faces, by index; best matches first, each face once. */
  match(faces) {
    const scores = [];
    this.tracks.forEach((track, i) =>
      faces.forEach((face, j) => {
        const score = matchScore(track, face);
        if (score > 0) scores.push([score, i, j]);
      }),
    );
    scores.sort((a, b) => b[0] - a[0] || b[1] - a[1] || b[2] - a[2]);
    const matches = new Map();
    const taken = new Set();
    for (const [, i, j] of scores) {
      if (matches.has(i) || taken.has(j)) continue;
      matches.set(i, j);
      taken.add(j);
    }
    return matches;
  }

  /** Keep the older of two tracks that came to follow the same face. */
  mergeDuplicates() {
    const kept = [];
    const order = [...this.tracks].sort((a, b) => (a.trackId === null) - (b.trackId === null) || b.hits - a.hits);
    for (const track of order) {
      const others = kept.filter((other) => other.visible && track.visible);
      if (others.every((other) => iou(track.face.box, other.face.box) <= DUPLICATE_IOU)) kept.push(track);
    }
    this.tracks = kept;
  }

  confirmed() {
    const tracked = [];
    for (const track of this.tracks.filter(({ visible }) => visible)) {
      const sure = track.face.confidence >= HIGH_CONFIDENCE || track.hits >= MIN_HITS;
      if (track.trackId === null && sure) track.trackId = ++this.nIds;
      if (track.trackId !== null) tracked.push({ trackId: track.trackId, face: track.face });
    }
    return tracked.sort((a, b) => compareBoxes(a.face.box, b.face.box));
  }
}

function hit(track, face, time) {
  Object.assign(track, { face, lastSeen: time, visible: true, hits: track.hits + 1 });
}

/** Return how well a face matches a track: above 1 by IoU, below 1 by distance if it was lost, 0 for no match. */
function matchScore(track, face) {
  const overlap = iou(track.face.box, face.box);
  if (overlap >= MATCH_IOU) return 1 + overlap + (track.visible ? 1 : 0);
  if (track.visible) return 0;
  const [x, y, width, height] = track.face.box;
  const [u, v, w, h] = face.box;
  const distance = Math.hypot(x + width / 2 - u - w / 2, y + height / 2 - v - h / 2) / Math.max(width, height);
  const scale = Math.max(w * h, width * height) / Math.min(w * h, width * height);
  return scale <= RETURN_SCALE ** 2 ? Math.max(0, 1 - distance / RETURN_DISTANCE) : 0;
}

/** Exponential means of each track's probabilities, with a time constant in seconds. */
export class Smoother {
  constructor(seconds) {
    this.seconds = seconds;
    this.means = new Map();
  }

  /** Return a track's smoothed probabilities after a new frame. */
  update(trackId, probabilities, time) {
    const earlier = this.means.get(trackId);
    let mean = probabilities;
    if (this.seconds > 0 && earlier !== undefined) {
      const weight = Math.exp(-Math.max(0, time - earlier.time) / this.seconds);
      mean = probabilities.map((value, i) => weight * earlier.mean[i] + (1 - weight) * value);
    }
    const limit = time - 20 * this.seconds - 1;
    for (const [id, item] of this.means) {
      if (item.time <= limit) this.means.delete(id);
    }
    this.means.set(trackId, { mean, time });
    return mean;
  }
}

/** One track of a video: first and last time, mean probabilities, and a timeline of at most 500 points. */
export class Track {
  constructor(trackId, time, nClasses) {
    this.trackId = trackId;
    this.first = this.last = time;
    this.nFrames = 0;
    this.sum = new Array(nClasses).fill(0);
    this.framesPerPoint = 1;
    this.points = []; // sums over the frames of a point: time, probabilities, number of frames
  }

  add(time, probabilities) {
    this.last = time;
    this.nFrames++;
    probabilities.forEach((value, i) => (this.sum[i] += value));
    const frame = [time, ...probabilities, 1];
    const point = this.points.at(-1);
    if (point !== undefined && point.at(-1) < this.framesPerPoint) addTo(point, frame);
    else this.points.push(frame);
    if (this.points.length > MAX_POINTS) {
      const merged = [];
      for (let i = 0; i < this.points.length; i += 2) {
        merged.push(this.points[i]);
        if (i + 1 < this.points.length) addTo(merged.at(-1), this.points[i + 1]);
      }
      this.points = merged;
      this.framesPerPoint *= 2;
    }
  }

  get mean() {
    return this.sum.map((value) => value / this.nFrames);
  }

  /** The points as { time, probabilities }. */
  get timeline() {
    return this.points.map((point) => {
      const count = point.at(-1);
      return { time: point[0] / count, probabilities: point.slice(1, -1).map((value) => value / count) };
    });
  }
}

function addTo(sums, values) {
  values.forEach((value, i) => (sums[i] += value));
}
