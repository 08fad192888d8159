// A video file or the camera: boxes over the running video, a timeline per person, and downloads.

import { imageRecord, saveText, toCsv, toJsonLines, videoRecord } from "./records.js";
import { Track } from "./tracker.js";
import { FaceTable, Overlay, Timeline, describe, element, legendItems } from "./views.js";

// Larger frames are reduced before they are analyzed: reading the pixels of a 4K frame takes longer than finding faces.
const MAX_SIDE = 1280;
// At 15 frames/s this is an hour; records take about 0.5 kB each.
const MAX_RECORDS = 60_000;
const TIMELINE_INTERVAL = 500,
  SPEECH_INTERVAL = 5000,
  RATE_INTERVAL = 2000; // milliseconds

export class Stream {
  constructor(config, settings) {
    this.config = config;
    this.settings = settings;
    this.engine = null;
    this.section = document.querySelector("#stream");
    this.title = document.querySelector("#stream-title");
    this.video = document.querySelector("#video");
    this.faces = document.querySelector("#stream-faces");
    this.facts = document.querySelector("#stream-facts");
    this.said = document.querySelector("#stream-said");
    this.stopButton = document.querySelector("#stop");
    this.downloads = [document.querySelector("#stream-csv"), document.querySelector("#stream-json")];
    this.overlay = new Overlay(document.querySelector("#stage"), config.colors);
    this.timeline = new Timeline(document.querySelector("#timeline"), config.class_names, config.colors);
    document.querySelector("#legend").append(...legendItems(config.class_names, config.colors));
    this.stopButton.addEventListener("click", () => this.stop());
    this.downloads[0].addEventListener("click", () =>
      this.save("csv", toCsv(this.records, config.class_names), "text/csv"),
    );
    this.downloads[1].addEventListener("click", () =>
      this.save("jsonl", toJsonLines(this.allRecords), "application/jsonl"),
    );
    settings.addEventListener("change", () => this.video.classList.toggle("mirrored", this.isMirrored));
    // Frames before and after a jump do not belong together.
    this.video.addEventListener("seeking", () => this.reset());
    this.video.addEventListener("error", () => this.video.src && this.fail("This browser cannot play the video."));
    this.session = 0;
  }

  get isMirrored() {
    return this.isCamera && this.settings.isMirrored;
  }

  /** Play and analyze a video file; its sound is kept. */
  async openFile(file) {
    this.prepare(file.name, false);
    this.video.controls = true;
    this.video.src = URL.createObjectURL(file);
    await this.run();
  }

  /** Show and analyze a camera, the one with an ID or any. */
  async openCamera(deviceId) {
    const size = { width: { ideal: 640 }, height: { ideal: 480 } };
    const video = deviceId ? { ...size, deviceId: { exact: deviceId } } : { ...size, facingMode: "user" };
    const media = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    this.prepare("camera", true);
    this.video.controls = false;
    this.video.srcObject = media;
    media.getVideoTracks()[0].addEventListener("ended", () => this.stop());
    await this.run();
  }

  prepare(name, isCamera) {
    this.stop();
    this.name = name;
    this.isCamera = isCamera;
    this.section.hidden = false;
    this.title.textContent = isCamera ? "Camera" : name;
    this.video.setAttribute("aria-label", isCamera ? "The camera" : `Video ${name}`);
    this.video.classList.toggle("mirrored", this.isMirrored);
    // Firefox does not start a video that might be heard without the reader's action.
    this.video.muted = isCamera;
    this.stopButton.disabled = false;
    this.clearResults();
  }

  async run() {
    const session = ++this.session;
    // Rejected where a browser wants the reader to press the button.
    const playing = this.video.play().catch(() => {});
    if (this.video.readyState < HTMLMediaElement.HAVE_METADATA) {
      await new Promise((resolve) => {
        this.video.addEventListener("loadedmetadata", resolve, { once: true });
        this.video.addEventListener("error", resolve, { once: true });
      });
    }
    if (session !== this.session || !this.video.videoWidth) return;
    await this.reset();
    await playing;
    this.stopButton.focus();
    this.followFrames(session);
  }

  /** Start again with new tracks and no results. */
  async reset() {
    this.clearResults();
    const { videoWidth, videoHeight } = this.video;
    if (!videoWidth) return;
    this.scale = Math.min(1, MAX_SIDE / Math.max(videoWidth, videoHeight));
    this.generation = (this.generation ?? 0) + 1;
    await this.engine.start(Math.min(videoWidth, videoHeight) * this.scale, this.isCamera);
  }

  clearResults() {
    this.records = [];
    this.tracks = new Map();
    this.times = [];
    this.lastTimeline = this.lastSpeech = -Infinity;
    this.tables = new Map();
    this.faces.replaceChildren();
    this.timeline.clear();
    this.overlay.clear();
    this.facts.textContent = "";
    this.firstTime = null;
    for (const button of this.downloads) button.disabled = true;
  }

  /** Analyze the frames of a session, always the newest one: those that come meanwhile replace each other. */
  followFrames(session) {
    let newest = null;
    let isBusy = false;
    const analyze = async () => {
      isBusy = true;
      while (newest !== null && session === this.session) {
        const { now, mediaTime } = newest;
        newest = null;
        await this.analyzeFrame(session, now, mediaTime);
      }
      isBusy = false;
    };
    const wait = () => {
      const next = (now, metadata) => {
        if (session !== this.session) return;
        newest = { now, mediaTime: metadata?.mediaTime };
        if (!isBusy) analyze();
        wait();
      };
      if ("requestVideoFrameCallback" in this.video) this.video.requestVideoFrameCallback(next);
      else requestAnimationFrame(next);
    };
    wait();
  }

  async analyzeFrame(session, now, mediaTime) {
    const { generation } = this;
    const source = this.isCamera ? now / 1000 : (mediaTime ?? this.video.currentTime);
    this.firstTime ??= this.isCamera ? source : 0;
    const time = source - this.firstTime;
    try {
      const bitmap = await this.grab();
      const { width, height, faces } = await this.engine.recognizeFrame(bitmap, time);
      // Otherwise the video was stopped, or it jumped to another place.
      if (session === this.session && generation === this.generation) this.show(time, width, height, faces);
    } catch (error) {
      if (session === this.session) this.fail(error.message);
    }
  }

  /** Return the present frame as a bitmap. */
  grab() {
    if (this.scale === 1) return createImageBitmap(this.video);
    const resizeWidth = Math.round(this.video.videoWidth * this.scale);
    const resizeHeight = Math.round(this.video.videoHeight * this.scale);
    return createImageBitmap(this.video, { resizeWidth, resizeHeight, resizeQuality: "medium" });
  }

  show(time, width, height, found) {
    const { videoWidth, videoHeight } = this.video;
    const faces = found.map((face) => this.settings.decide(enlarge(face, videoWidth / width, videoHeight / height)));
    const size = { width: videoWidth, height: videoHeight, faces };
    const position = { frame: this.records.length, time };
    if (this.records.length < MAX_RECORDS) {
      this.records.push(
        imageRecord(this.name, size, this.config.class_names, { position, prior: this.settings.priorName }),
      );
    }
    this.lastTime = time;
    for (const { trackId, probabilities } of faces) {
      if (!this.tracks.has(trackId)) this.tracks.set(trackId, new Track(trackId, time, probabilities.length));
      this.tracks.get(trackId).add(time, probabilities);
    }
    this.overlay.draw(faces, videoWidth, videoHeight, this.isMirrored);
    this.showTables(faces);
    this.showFacts(faces);
    for (const button of this.downloads) button.disabled = false;
  }

  showTables(faces) {
    const present = new Set(faces.map(({ trackId }) => trackId));
    for (const [trackId, table] of this.tables) {
      if (!present.has(trackId)) {
        table.element.remove();
        this.tables.delete(trackId);
      }
    }
    for (const face of faces) {
      if (!this.tables.has(face.trackId)) {
        const table = new FaceTable(`Person ${face.trackId}`, this.config.class_names, this.config.colors);
        this.tables.set(face.trackId, table);
        this.faces.append(table.element);
      }
      this.tables.get(face.trackId).update(face);
    }
  }

  /** Update what need not change with every frame. */
  showFacts(faces) {
    const now = performance.now();
    this.times = [...this.times.filter((earlier) => now - earlier <= RATE_INTERVAL), now];
    if (now - this.lastTimeline >= TIMELINE_INTERVAL) {
      this.lastTimeline = now;
      this.timeline.update(this.tracks.values(), 0, this.lastTime);
      const rate = this.times.length > 1 ? (1000 * (this.times.length - 1)) / (now - this.times[0]) : 0;
      const { videoWidth, videoHeight } = this.video;
      this.facts.textContent = `${videoWidth} × ${videoHeight} pixels, ${rate.toFixed(1)} frames/s analyzed`;
    }
    const text = faces.length ? faces.map((face) => `Person ${describe(face)}`).join(", ") : "No face.";
    if (now - this.lastSpeech >= SPEECH_INTERVAL && text !== this.said.textContent) {
      this.lastSpeech = now;
      this.said.textContent = text;
    }
  }

  /** Stop the video or camera; the results stay. */
  stop() {
    this.session++;
    for (const track of this.video.srcObject?.getTracks() ?? []) track.stop();
    this.video.pause();
    if (this.video.srcObject) {
      this.video.srcObject = null;
      this.overlay.clear();
    }
    if (this.video.src) {
      URL.revokeObjectURL(this.video.src);
      this.video.removeAttribute("src");
      this.video.load();
      this.overlay.clear();
    }
    this.video.controls = false;
    if (this.tracks?.size) this.timeline.update(this.tracks.values(), 0, this.lastTime);
    this.stopButton.disabled = true;
  }

  fail(message) {
    this.stop();
    this.facts.textContent = message;
  }

  /** The records of the frames and of the whole video. */
  get allRecords() {
    const summary = { frames: this.records.length, seconds: this.lastTime, tracks: [...this.tracks.values()] };
    return [
      ...this.records,
      videoRecord(this.name, summary, this.config.class_names, {
        prior: this.settings.priorName,
        ...this.settings.origin,
      }),
    ];
  }

  save(suffix, text, type) {
    saveText(`${this.name.replace(/\.[^.]*$/, "")}.${suffix}`, text, type);
  }
}

/** Return a face of a reduced frame in the pixels of the original one. */
function enlarge(face, horizontal, vertical) {
  if (horizontal === 1 && vertical === 1) return face;
  const [x, y, width, height] = face.box;
  const left = Math.round(x * horizontal),
    top = Math.round(y * vertical);
  const box = [left, top, Math.round((x + width) * horizontal) - left, Math.round((y + height) * vertical) - top];
  const points = Object.entries(face.landmarks).map(([name, [u, v]]) => [name, [u * horizontal, v * vertical]]);
  return { ...face, box, landmarks: Object.fromEntries(points) };
}
