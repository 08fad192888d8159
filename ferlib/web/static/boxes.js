// Geometry of boxes and rounding, as in ferlib/core/boxes.py.

/** Round to the nearest integer, halves to the even one, as Python and NumPy do. */
export function round(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Return the intersection of two boxes [x, y, width, height] divided by their union. */
export function iou(a, b) {
  const width = Math.min(a[0] + a[2], b[0] + b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[1] + a[3], b[1] + b[3]) - Math.max(a[1], b[1]);
  const intersection = Math.max(0, width) * Math.max(0, height);
  return intersection / (a[2] * a[3] + b[2] * b[3] - intersection);
}

/** Compare two boxes by x, then y, width and height. */
export function compareBoxes(a, b) {
  for (let i = 0; i < 4; i++) {
    if (a[i] !== b[i]) return a[i] - b[i];
  }
  return 0;
}

/**
 * Return the indices of the boxes that remain after non-maximum suppression, highest score first.
 *
 * `corners` has x0, y0, x1, y1 of each box in a row. `mode` "min" divides the intersection by the smaller box, "union"
 * by the union. Unless `greedy`, suppressed boxes suppress others too.
 */
export function nms(corners, scores, threshold, { mode = "union", greedy = true } = {}) {
  const order = Array.from(scores.keys()).sort((i, j) => scores[j] - scores[i] || i - j);
  const areas = order.map((i) => (corners[4 * i + 2] - corners[4 * i]) * (corners[4 * i + 3] - corners[4 * i + 1]));
  const kept = [];
  const before = []; // positions in `order` that can suppress
  order.forEach((i, position) => {
    const suppressed = before.some((other) => {
      const j = order[other];
      const width = Math.min(corners[4 * i + 2], corners[4 * j + 2]) - Math.max(corners[4 * i], corners[4 * j]);
      const height =
        Math.min(corners[4 * i + 3], corners[4 * j + 3]) - Math.max(corners[4 * i + 1], corners[4 * j + 1]);
      const intersection = Math.max(0, width) * Math.max(0, height);
      const smaller = Math.min(areas[position], areas[other]);
      const whole = mode === "min" ? smaller : areas[position] + areas[other] - intersection;
      return intersection > threshold * whole;
    });
    if (!suppressed) kept.push(i);
    if (!suppressed || !greedy) before.push(position);
  });
  return kept;
}
