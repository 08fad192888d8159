// Cutting faces out of images, in the geometry of ferlib/core/crops.py.

import { round } from "./boxes.js";
import { crop, window } from "./images.js";

/** Return a face as a square image around its box; `margin` is the fraction that is added on each side. */
export function cutFace(image, { box: [x, y, width, height] }, { margin }) {
  // An image that the box covers completely is a face that was cut out before.
  if (x <= 0 && y <= 0 && x + width >= image.width && y + height >= image.height) {
    return crop(image, 0, 0, image.width, image.height);
  }
  const side = Math.max(1, round((1 + 2 * margin) * Math.max(width, height)));
  return window(image, round(x + width / 2 - side / 2), round(y + height / 2 - side / 2), side, side);
}
