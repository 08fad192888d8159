// Elements that show faces: boxes with labels over an image, tables of probabilities, and timelines.

import { UNCERTAIN } from "./classifier.js";

const SVG = "http://www.w3.org/2000/svg";
const LABEL_SIZE = 14; // CSS pixels
const LISTED = 0.1; // emotions with a smaller mean probability are not listed
const GAP = 1; // seconds without a face that stay empty in a timeline

/** Return an element with attributes and children. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function svgElement(name, attributes = {}) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export function percent(value) {
  return `${Math.round(100 * value)}\u00a0%`; // the space does not break
}

/** Return what a label says of a face: its number or track, emotion and probability. */
export function describe(face) {
  const number = face.trackId ?? face.number;
  const start = number === undefined ? "" : `${number}: `;
  const end = face.emotion === UNCERTAIN ? "" : ` ${percent(face.probability)}`;
  return start + face.emotion + end;
}

/** Boxes and labels over an image or video in an element of class "stage". */
export class Overlay {
  constructor(stage, colors) {
    this.stage = stage;
    this.colors = colors;
    this.svg = svgElement("svg", { "aria-hidden": "true" });
    stage.append(this.svg);
    this.drawn = null;
    new ResizeObserver(() => this.drawn && this.draw(...this.drawn)).observe(stage);
  }

  /** Draw the faces of an image of a size, mirrored if the image is shown so. */
  draw(faces, width, height, mirrored = false) {
    this.drawn = [faces, width, height, mirrored];
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren();
    // Lines and letters have the same size on the screen, whatever the size of the image.
    const unit = width / (this.stage.clientWidth || width);
    const boxes = faces.map((face) =>
      mirrored ? [width - face.box[0] - face.box[2], ...face.box.slice(1)] : face.box,
    );
    const labels = [];
    faces.forEach((face, i) => this.drawBox(boxes[i], this.color(face), unit));
    faces.forEach((face, i) => labels.push(this.drawLabel(face, boxes[i], boxes, labels, { unit, width, height })));
  }

  clear() {
    this.drawn = null;
    this.svg.replaceChildren();
  }

  color(face) {
    return this.colors[face.emotion] ?? "#FFFFFF";
  }

  drawBox([x, y, width, height], color, unit) {
    const shape = { x, y, width, height, fill: "none", rx: 3 * unit };
    this.svg.append(svgElement("rect", { ...shape, stroke: "#000", "stroke-width": 5 * unit, "stroke-opacity": 0.6 }));
    this.svg.append(svgElement("rect", { ...shape, stroke: color, "stroke-width": 3 * unit }));
  }

  /** Draw a label where it covers least of faces and other labels; return its box. */
  drawLabel(face, box, boxes, labels, { unit, width, height }) {
    const size = LABEL_SIZE * unit;
    const color = this.color(face);
    const text = svgElement("text", { "font-size": size, fill: isBright(color) ? "#000" : "#fff" });
    text.textContent = describe(face);
    this.svg.append(text);
    const label = [text.getComputedTextLength() + 0.6 * size, 1.35 * size];
    const [x, y] = placeLabel(label, box, boxes, labels, [width, height], 2 * unit);
    text.setAttribute("x", x + 0.3 * size);
    text.setAttribute("y", y + size);
    const back = svgElement("rect", { x, y, width: label[0], height: label[1], rx: 3 * unit, fill: color });
    this.svg.insertBefore(back, text);
    return [x, y, ...label];
  }
}

/** Return the left and top of a label: above, below, next to or inside its box, as in ferlib/inference/annotate.py. */
function placeLabel([width, height], [x, y, boxWidth, boxHeight], boxes, labels, size, gap) {
  const right = x + boxWidth,
    bottom = y + boxHeight;
  const corners = [
    [x - gap, y - height - gap],
    [right - width + gap, y - height - gap],
    [x - gap, bottom + gap],
    [right - width + gap, bottom + gap],
    [right + gap, y],
    [x - width - gap, y],
    [x, bottom - height],
    [x, y],
  ];
  let best = null;
  for (const [left, top] of corners) {
    const place = [
      Math.max(0, Math.min(left, size[0] - width)),
      Math.max(0, Math.min(top, size[1] - height)),
      width,
      height,
    ];
    // Covering a label is worse than covering a face; earlier corners win ties.
    const cost = 4 * coveredArea(place, labels) + coveredArea(place, boxes);
    if (best === null || cost < best.cost) best = { cost, place };
  }
  return best.place;
}

/** Return the area that a box shares with others. */
function coveredArea([x, y, width, height], others) {
  return others.reduce((sum, [u, v, w, h]) => {
    const shared =
      Math.max(0, Math.min(x + width, u + w) - Math.max(x, u)) *
      Math.max(0, Math.min(y + height, v + h) - Math.max(y, v));
    return sum + shared;
  }, 0);
}

function isBright(color) {
  const [red, green, blue] = [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 130;
}

/** A table of a face's probabilities, which can be updated. */
export class FaceTable {
  constructor(name, classNames, colors) {
    this.name = name;
    this.classNames = classNames;
    this.caption = element("caption");
    this.rows = classNames.map((emotion) => {
      const bar = element("span");
      bar.style.background = colors[emotion];
      const value = element("td", { className: "value" });
      const cell = element("td", {}, element("span", { className: "bar", "aria-hidden": "true" }, bar));
      return { bar, value, row: element("tr", {}, element("th", { scope: "row" }, emotion), cell, value) };
    });
    const body = element("tbody", {}, ...this.rows.map(({ row }) => row));
    this.element = element("table", { className: "face" }, this.caption, body);
  }

  update(face) {
    const probability = face.emotion === UNCERTAIN ? "" : `, ${percent(face.probability)}`;
    this.caption.textContent = `${this.name}: ${face.emotion}${probability}`;
    this.rows.forEach(({ bar, value, row }, i) => {
      bar.style.width = `${100 * face.probabilities[i]}%`;
      value.textContent = percent(face.probabilities[i]);
      row.classList.toggle("best", face.emotion === this.classNames[i]);
    });
  }
}

/** Return the names and colors of the emotions as list items. */
export function legendItems(classNames, colors) {
  return classNames.map((name) => {
    const swatch = element("span", { className: "swatch", "aria-hidden": "true" });
    swatch.style.background = colors[name];
    return element("li", {}, swatch, name);
  });
}

/** The emotions of each track over time, as stacked bands. */
export class Timeline {
  constructor(container, classNames, colors) {
    this.container = container;
    this.classNames = classNames;
    this.colors = colors;
    this.empty = [...container.childNodes];
    this.figures = new Map();
  }

  clear() {
    this.figures.clear();
    this.container.replaceChildren(...this.empty);
  }

  /** Draw tracks between two times in seconds. */
  update(tracks, start, end) {
    for (const track of tracks) {
      if (!this.figures.has(track.trackId)) {
        if (this.figures.size === 0) this.container.replaceChildren();
        this.figures.set(track.trackId, this.addFigure());
      }
      this.drawTrack(track, this.figures.get(track.trackId), start, end);
    }
  }

  addFigure() {
    const caption = element("figcaption");
    const svg = svgElement("svg", { viewBox: "0 0 1000 100", preserveAspectRatio: "none", role: "img" });
    const ends = [element("span"), element("span")];
    const axis = element("div", { className: "axis", "aria-hidden": "true" }, ...ends);
    this.container.append(element("figure", {}, caption, svg, axis));
    return { caption, svg, ends };
  }

  drawTrack(track, { caption, svg, ends }, start, end) {
    const text = describeTrack(track, this.classNames);
    caption.textContent = text;
    svg.setAttribute("aria-label", text);
    ends[0].textContent = `${start.toFixed(1)} s`;
    ends[1].textContent = `${end.toFixed(1)} s`;
    const x = (time) => ((1000 * (time - start)) / Math.max(end - start, 1e-3)).toFixed(1);
    svg.replaceChildren();
    for (const piece of splitAtGaps(track.timeline)) {
      let lower = piece.map(() => 0);
      this.classNames.forEach((name, k) => {
        const upper = piece.map((point, i) => lower[i] + point.probabilities[k]);
        // Steps: a point holds until the next one.
        const edge = (heights) =>
          piece.flatMap(({ time, until }, i) => [`${x(time)},${y(heights[i])}`, `${x(until)},${y(heights[i])}`]);
        const points = [...edge(upper), ...edge(lower).reverse()].join(" ");
        svg.append(svgElement("polygon", { points, fill: this.colors[name] }));
        lower = upper;
      });
    }
  }
}

function y(value) {
  return (100 * (1 - value)).toFixed(1);
}

/** Return the pieces of a timeline without gaps; each point gets the time until which it holds. */
function splitAtGaps(points) {
  const steps = points
    .slice(1)
    .map((point, i) => point.time - points[i].time)
    .sort((a, b) => a - b);
  const step = steps.length ? steps[steps.length >> 1] : 0.1;
  const pieces = [];
  points.forEach((point, i) => {
    const next = points[i + 1];
    const goesOn = next !== undefined && next.time - point.time <= Math.max(GAP, 3 * step);
    if (i === 0 || pieces.at(-1).ended) pieces.push([]);
    pieces.at(-1).push({ ...point, until: goesOn ? next.time : point.time + step });
    if (!goesOn) pieces.at(-1).ended = true;
  });
  return pieces;
}

/** Return when a person was visible and the emotions with a mean probability of at least 10 %. */
export function describeTrack(track, classNames) {
  const { mean } = track;
  const order = classNames.map((_, i) => i).sort((a, b) => mean[b] - mean[a]);
  const emotions = order.filter((i) => mean[i] >= LISTED).map((i) => `${classNames[i]} ${percent(mean[i])}`);
  return `Person ${track.trackId}, ${track.first.toFixed(1)} to ${track.last.toFixed(1)} s: ${emotions.join(", ")}`;
}
