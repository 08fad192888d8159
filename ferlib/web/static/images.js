// Size and color of images, with the results of ferlib/core/images.py, which uses OpenCV.
//
// An image is { data, width, height, channels }: Uint8 values row by row, 1 (gray), 3 (RGB) or 4 (RGBA) per pixel. The
// fourth channel is ignored: transparency is replaced by white when an image is decoded.

import { round } from "./boxes.js";

/** Decode a file, upright, into RGBA over white; without color management, as Pillow does. */
export async function decodeImage(blob, maxPixels) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    throw new Error("This browser cannot read the file as an image.");
  }
  try {
    const { width, height } = bitmap;
    if (width * height > maxPixels) {
      throw new Error(
        `The image has ${width} × ${height} pixels; the limit is ${Math.round(maxPixels / 1e6)} megapixels.`,
      );
    }
    return readPixels(bitmap);
  } finally {
    bitmap.close();
  }
}

let canvas = null;

/** Return the pixels of an ImageBitmap. */
export function readPixels(bitmap) {
  const { width, height } = bitmap;
  if (canvas === null || canvas.width !== width || canvas.height !== height) {
    canvas = new OffscreenCanvas(width, height);
  }
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  return { data: context.getImageData(0, 0, width, height).data, width, height, channels: 4 };
}

/** Return the part of an image in a rectangle that lies inside it. */
function crop({ data, width, channels }, x0, y0, x1, y1) {
  const size = (x1 - x0) * channels;
  const part = new Uint8ClampedArray(size * (y1 - y0));
  for (let y = y0; y < y1; y++) {
    const start = (y * width + x0) * channels;
    part.set(data.subarray(start, start + size), (y - y0) * size);
  }
  return { data: part, width: x1 - x0, height: y1 - y0, channels };
}

/** Return an image or a level with a border of a value. */
export function pad(image, border, value) {
  if (!border) return image;
  const { data, width, height, channels } = image;
  const wide = width + 2 * border;
  const padded = new data.constructor(wide * (height + 2 * border) * channels).fill(value);
  for (let y = 0; y < height; y++) {
    const line = data.subarray(y * width * channels, (y + 1) * width * channels);
    padded.set(line, ((y + border) * wide + border) * channels);
  }
  return { data: padded, width: wide, height: height + 2 * border, channels };
}

/** Return a window of an image; outside, pixels are mirrored at its edge, and the pixels at the edge are not repeated. */
export function window(image, x0, y0, width, height) {
  if (x0 >= 0 && y0 >= 0 && x0 + width <= image.width && y0 + height <= image.height) {
    return crop(image, x0, y0, x0 + width, y0 + height);
  }
  const { data, channels } = image;
  const part = new Uint8ClampedArray(width * height * channels);
  for (let y = 0, target = 0; y < height; y++) {
    const start = mirrored(y0 + y, image.height) * image.width;
    for (let x = 0; x < width; x++) {
      const source = (start + mirrored(x0 + x, image.width)) * channels;
      for (let c = 0; c < channels; c++) part[target++] = data[source + c];
    }
  }
  return { data: part, width, height, channels };
}

/** Return an index mirrored into 0 to n - 1, as often as necessary. */
export function mirrored(index, n) {
  if (n === 1) return 0;
  const period = 2 * (n - 1);
  const rest = Math.abs(index) % period;
  return Math.min(rest, period - rest);
}

/** Resize without stretching: the shorter side is mirrored at its edges. */
export function fit(image, width, height) {
  let fullWidth = image.width;
  let fullHeight = image.height;
  if (image.height * width < image.width * height) fullHeight = round((image.width * height) / width);
  else fullWidth = round((image.height * width) / height);
  const x0 = Math.floor((image.width - fullWidth) / 2);
  const y0 = Math.floor((image.height - fullHeight) / 2);
  const isWhole = fullWidth === image.width && fullHeight === image.height;
  return resize(isWhole ? image : window(image, x0, y0, fullWidth, fullHeight), width, height);
}

/** Convert to gray by the luma weights of ITU-R BT.601, in OpenCV's fixed-point numbers. */
export function toGray({ data, width, height, channels }) {
  if (channels === 1) return { data, width, height, channels };
  const gray = new Uint8ClampedArray(width * height);
  for (let i = 0, j = 0; i < gray.length; i++, j += channels) {
    gray[i] = (9798 * data[j] + 19235 * data[j + 1] + 3735 * data[j + 2] + 16384) >> 15;
  }
  return { data: gray, width, height, channels: 1 };
}

/** Resize to whole numbers of pixels: by area averaging if the image shrinks, else linearly. */
export function resize(image, width, height) {
  if (width === image.width && height === image.height) return image;
  const shrinks = width < image.width || height < image.height;
  if (shrinks && width <= image.width && height <= image.height) {
    const pixels = averageAreas(image, width, height);
    const data = new Uint8ClampedArray(pixels.data.length);
    // OpenCV rounds halves up where it averages 2 x 2 pixels, else to the even number.
    const halves = image.width === 2 * width && image.height === 2 * height;
    for (let i = 0; i < data.length; i++) {
      data[i] = halves ? Math.floor(pixels.data[i] + 0.5) : round(pixels.data[i]);
    }
    return { ...pixels, data };
  }
  return interpolate(image, width, height, shrinks);
}

/** Return the mean of each pixel's area in a smaller size, Float32, with at most three channels. */
export function averageAreas(image, width, height) {
  const channels = Math.min(image.channels, 3);
  const step = image.channels;
  const columns = areaWeights(image.width, width);
  const rows = areaWeights(image.height, height);
  const line = new Float32Array(width * channels);
  const result = new Float32Array(width * height * channels);
  let current = -1;
  for (let k = 0; k < rows.from.length; k++) {
    if (rows.from[k] !== current) {
      current = rows.from[k];
      line.fill(0);
      const start = current * image.width * step;
      for (let i = 0; i < columns.from.length; i++) {
        const weight = columns.weight[i];
        const source = start + columns.from[i] * step;
        const target = columns.to[i] * channels;
        for (let c = 0; c < channels; c++) line[target + c] += weight * image.data[source + c];
      }
    }
    const weight = rows.weight[k];
    const offset = rows.to[k] * line.length;
    for (let i = 0; i < line.length; i++) result[offset + i] += weight * line[i];
  }
  return { data: result, width, height, channels };
}

/** Return which pixels of a longer line are averaged into each pixel of a shorter one, and their weights. */
function areaWeights(length, target) {
  const scale = length / target;
  const from = [];
  const to = [];
  const weight = [];
  const add = (source, destination, value) => {
    from.push(source);
    to.push(destination);
    weight.push(value);
  };
  for (let i = 0; i < target; i++) {
    const start = i * scale;
    const end = start + scale;
    const size = Math.min(scale, length - start);
    const last = Math.min(Math.floor(end), length - 1);
    const first = Math.min(Math.ceil(start), last);
    if (first - start > 1e-3) add(first - 1, i, (first - start) / size);
    for (let j = first; j < last; j++) add(j, i, 1 / size);
    if (end - last > 1e-3) add(last, i, Math.min(end - last, 1, size) / size);
  }
  return { from, to, weight: Float32Array.from(weight) };
}

/** Interpolate linearly, in OpenCV's fixed-point numbers; `asArea` is its area mode where one side grows. */
function interpolate(image, width, height, asArea) {
  const channels = Math.min(image.channels, 3);
  const step = image.channels;
  const columns = linearWeights(image.width, width, asArea);
  const rows = linearWeights(image.height, height, asArea);
  const data = new Uint8ClampedArray(width * height * channels);
  const line = (y) => {
    const values = new Int32Array(width * channels);
    const start = y * image.width;
    for (let i = 0; i < width; i++) {
      const left = (start + columns.from[i]) * step;
      const right = (start + Math.min(columns.from[i] + 1, image.width - 1)) * step;
      for (let c = 0; c < channels; c++) {
        values[i * channels + c] =
          image.data[left + c] * (2048 - columns.weight[i]) + image.data[right + c] * columns.weight[i];
      }
    }
    return values;
  };
  let lines = [];
  let current = -1;
  for (let y = 0; y < height; y++) {
    if (rows.from[y] !== current) {
      current = rows.from[y];
      lines = [line(current), line(Math.min(current + 1, image.height - 1))];
    }
    const lower = rows.weight[y];
    const upper = 2048 - lower;
    for (let i = 0; i < lines[0].length; i++) {
      data[y * lines[0].length + i] =
        (((upper * (lines[0][i] >> 4)) >> 16) + ((lower * (lines[1][i] >> 4)) >> 16) + 2) >> 2;
    }
  }
  return { data, width, height, channels };
}

/** Return the left pixel of each interpolated one, and the weight of the right one in 2048ths. */
function linearWeights(length, target, asArea) {
  const scale = length / target;
  const from = [];
  const weight = [];
  for (let i = 0; i < target; i++) {
    let position, rest;
    if (asArea) {
      position = Math.floor(i * scale);
      rest = i + 1 - (position + 1) / scale;
      rest = rest <= 0 ? 0 : rest - Math.floor(rest);
    } else {
      rest = (i + 0.5) * scale - 0.5;
      position = Math.floor(rest);
      rest -= position;
    }
    if (position < 0) [position, rest] = [0, 0];
    if (position >= length - 1) [position, rest] = [length - 1, 0];
    from.push(position);
    weight.push(round(rest * 2048));
  }
  return { from, weight };
}
