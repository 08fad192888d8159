// Results as the command line writes them: JSON Lines with one record per image or frame, CSV with one row per face.
//
// The same schema as ferlib/inference/results.py. Faces are { box, confidence, landmarks, emotion, probability,
// probabilities }, in a video also trackId; `probabilities` is in the order of `classNames`.

const FACE_COLUMNS = [
  "file",
  "frame",
  "time",
  "face",
  "x",
  "y",
  "width",
  "height",
  "confidence",
  "emotion",
  "probability",
];

/** Return the record of an image, or of a frame if `position` is { frame, time }. */
export function imageRecord(file, { width, height, faces }, classNames, { position, prior, origin = {} }) {
  const where = position === undefined ? {} : { frame: position.frame, time: decimals(position.time, 3) };
  return { file, ...where, width, height, prior, faces: faces.map((face) => faceRecord(face, classNames)), ...origin };
}

function faceRecord(face, classNames) {
  const { landmarks } = face;
  return {
    ...(face.trackId === undefined ? {} : { track_id: face.trackId }),
    box: face.box,
    confidence: decimals(face.confidence, 6),
    landmarks:
      landmarks &&
      Object.fromEntries(
        Object.entries(landmarks).map(([name, point]) => [name, point.map((value) => decimals(value, 1))]),
      ),
    emotion: face.emotion,
    probability: decimals(face.probability, 6),
    probabilities: byName(face.probabilities, classNames),
  };
}

/** Return the last record of a video: its length and its tracks. */
export function videoRecord(file, { frames, seconds, tracks }, classNames, origin) {
  const records = tracks.map((track) => ({
    track_id: track.trackId,
    first: decimals(track.first, 3),
    last: decimals(track.last, 3),
    frames: track.nFrames,
    probabilities: byName(track.mean, classNames),
  }));
  return { file, frames, seconds: decimals(seconds, 3), tracks: records, ...origin };
}

function byName(probabilities, classNames) {
  return Object.fromEntries(classNames.map((name, i) => [name, decimals(probabilities[i], 6)]));
}

function decimals(value, digits) {
  return Number(value.toFixed(digits));
}

/** Return records as JSON Lines. */
export function toJsonLines(records) {
  return records.map((record) => `${JSON.stringify(record)}\n`).join("");
}

/** Return the faces of records as CSV. */
export function toCsv(records, classNames) {
  const rows = records.flatMap((record) =>
    (record.faces ?? []).map((face, i) => faceRow(record, face, i + 1, classNames)),
  );
  const header = [...FACE_COLUMNS, ...classNames.map((name) => `p_${name}`), "prior"];
  return [header, ...rows].map((row) => `${row.map(quote).join(",")}\n`).join("");
}

function faceRow(record, face, number, classNames) {
  const probabilities = classNames.map((name) => face.probabilities[name]);
  const position = [record.frame ?? "", record.time ?? "", face.track_id ?? number];
  return [
    record.file,
    ...position,
    ...face.box,
    face.confidence,
    face.emotion,
    face.probability,
    ...probabilities,
    record.prior,
  ];
}

function quote(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Offer a text as a file to save. */
export function saveText(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
