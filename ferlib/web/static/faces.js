// Cutting faces out of images, with the results of ferlib/core/crops.py, which explains the constants.

import { round } from "./boxes.js";
import { mirrored, window } from "./images.js";

// Where FER2013's images of 48 x 48 pixels have the landmarks.
const PLACES = {
  left_eye: [14.5, 17.7],
  right_eye: [32.4, 17.2],
  nose: [23.5, 27.9],
  mouth_left: [16.4, 37.4],
  mouth_right: [31.1, 37.1],
};
const SIDE = 48;
const MIN_SCALE = 0.5;

/** Return a face as a square image; an image that the box covers completely is returned as it is. */
export function cutFace(image, { box: [x, y, width, height], landmarks }, { method, margin }) {
  if (x <= 0 && y <= 0 && x + width >= image.width && y + height >= image.height) return image;
  const scale = 1 + 2 * margin;
  const longer = Math.max(width, height);
  if (method === "landmarks") {
    const place = align(landmarks);
    if (Math.hypot(...place.factor) * SIDE >= MIN_SCALE * longer) return cutTurned(image, place, scale);
  }
  const side = Math.max(1, round(scale * longer));
  return window(image, round(x + width / 2 - side / 2), round(y + height / 2 - side / 2), side, side);
}

/** Return the center of a face's square, and the image's pixels per pixel of FER2013's as a factor that also turns. */
function align(landmarks) {
  const names = Object.keys(PLACES);
  const found = names.map((name) => landmarks[name]);
  const wanted = names.map((name) => PLACES[name]);
  const mean = (points, k) => points.reduce((sum, point) => sum + point[k], 0) / points.length;
  const [foundMean, wantedMean] = [found, wanted].map((points) => [mean(points, 0), mean(points, 1)]);
  // Least squares, with points as complex numbers.
  let real = 0;
  let imaginary = 0;
  let total = 0;
  wanted.forEach(([x, y], i) => {
    const [u, v] = [x - wantedMean[0], y - wantedMean[1]];
    real += u * found[i][0] + v * found[i][1];
    imaginary += u * found[i][1] - v * found[i][0];
    total += u * u + v * v;
  });
  const factor = [real / total, imaginary / total];
  const [a, b] = [SIDE / 2 - wantedMean[0], SIDE / 2 - wantedMean[1]];
  const center = [foundMean[0] + a * factor[0] - b * factor[1], foundMean[1] + a * factor[1] + b * factor[0]];
  return { center, factor };
}

/** Return a turned square around a center, interpolated linearly in the image's own resolution. */
function cutTurned({ data, width, height, channels }, { center, factor }, scale) {
  const length = Math.hypot(...factor);
  const side = Math.max(1, round(length * SIDE * scale));
  const [cos, sin] = [factor[0] / length, factor[1] / length];
  const turned = new Uint8ClampedArray(side * side * channels);
  for (let j = 0, target = 0; j < side; j++) {
    for (let i = 0; i < side; i++) {
      // From pixel centers to pixel centers.
      const [a, b] = [i + 0.5 - side / 2, j + 0.5 - side / 2];
      const x = center[0] + a * cos - b * sin - 0.5;
      const y = center[1] + a * sin + b * cos - 0.5;
      const [left, top] = [Math.floor(x), Math.floor(y)];
      const [u, v] = [x - left, y - top];
      const columns = [mirrored(left, width), mirrored(left + 1, width)];
      const rows = [mirrored(top, height) * width, mirrored(top + 1, height) * width];
      for (let c = 0; c < channels; c++, target++) {
        const value = (row, column) => data[(rows[row] + columns[column]) * channels + c];
        const upper = value(0, 0) * (1 - u) + value(0, 1) * u;
        const lower = value(1, 0) * (1 - u) + value(1, 1) * u;
        turned[target] = upper * (1 - v) + lower * v;
      }
    }
  }
  return { data: turned, width: side, height: side, channels };
}
