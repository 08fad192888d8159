// Cutting faces out of images, in the geometry of ferlib/inference/recognizer.py.

import { round } from "./boxes.js";
import { crop } from "./images.js";

/** Return a face as an image: its box with a margin, a fraction of its width and height, clipped at the edges. */
export function cutFace(image, { box: [x, y, width, height] }, { margin }) {
  const left = x - margin * width,
    right = x + (1 + margin) * width;
  const top = y - margin * height,
    bottom = y + (1 + margin) * height;
  const x0 = Math.max(0, round(left)),
    y0 = Math.max(0, round(top));
  const x1 = Math.min(image.width, Math.max(round(right), round(left) + 1));
  const y1 = Math.min(image.height, Math.max(round(bottom), round(top) + 1));
  return crop(image, x0, y0, x1, y1);
}
