// Photographs: one card per file, with boxes, probabilities, and downloads of all results.

import { imageRecord, saveText, toCsv, toJsonLines } from "./records.js";
import { FaceTable, Overlay, element } from "./views.js";

const SMALL_SIDE = 256; // CSS pixels

export class Photos {
  constructor(config, settings) {
    this.config = config;
    this.settings = settings;
    this.engine = null;
    this.items = [];
    this.queue = Promise.resolve();
    this.section = document.querySelector("#photos");
    this.list = document.querySelector("#photo-list");
    this.facts = document.querySelector("#photos-facts");
    this.csv = document.querySelector("#photos-csv");
    this.json = document.querySelector("#photos-json");
    this.csv.addEventListener("click", () =>
      saveText("faces.csv", toCsv(this.records, config.class_names), "text/csv"),
    );
    this.json.addEventListener("click", () => saveText("faces.jsonl", toJsonLines(this.records), "application/jsonl"));
    document.querySelector("#photos-clear").addEventListener("click", () => this.clear());
    settings.addEventListener("change", () => this.items.forEach((item) => this.show(item)));
  }

  /** Analyze files one after the other. */
  add(files) {
    this.section.hidden = false;
    for (const file of files) {
      const item = { file, card: this.makeCard(file), answer: null, error: null };
      this.items.push(item);
      this.queue = this.queue.then(() => this.analyze(item));
    }
    this.summarize();
  }

  async analyze(item) {
    // The list was cleared meanwhile.
    if (!this.items.includes(item)) return;
    try {
      item.answer = await this.engine.recognize(item.file);
    } catch (error) {
      item.error = error.message;
    }
    if (this.items.includes(item)) this.show(item);
    this.summarize();
  }

  makeCard(file) {
    const source = URL.createObjectURL(file);
    const image = element("img", { src: source, alt: `Photograph ${file.name}` });
    const stage = element("div", { className: "stage" }, image);
    const faces = element("div", { className: "faces" }, element("p", { className: "hint" }, "Waiting…"));
    const columns = element("div", { className: "columns" }, element("div", {}, stage), faces);
    const card = element(
      "article",
      { className: "photo", "aria-label": file.name },
      element("h3", {}, file.name),
      columns,
    );
    this.list.append(card);
    return { source, image, stage, faces, card, overlay: new Overlay(stage, this.config.colors) };
  }

  /** Show the result of a photograph with the present settings. */
  show(item) {
    const { image, stage, faces, overlay } = item.card;
    if (item.error !== null) {
      stage.hidden = true;
      faces.replaceChildren(element("p", { className: "notice" }, item.error));
      return;
    }
    if (item.answer === null) return;
    const { width, height } = item.answer;
    // Small images are enlarged, so that labels do not cover them.
    if (Math.max(width, height) < SMALL_SIDE) image.width = (SMALL_SIDE * width) / Math.max(width, height);
    // A service has weighted and decided already.
    const weigh = this.engine.isService ? (face) => face : (face) => this.settings.decide(face);
    item.faces = item.answer.faces.map(weigh);
    const single = item.faces.length === 1;
    overlay.draw(single ? item.faces : item.faces.map((face, i) => ({ ...face, number: i + 1 })), width, height);
    // Many tables are below the photograph.
    faces.parentElement.classList.toggle("columns", item.faces.length <= 2);
    const tables = item.faces.map((face, i) => {
      const table = new FaceTable(`Face ${i + 1}`, this.config.class_names, this.config.colors);
      table.update(face);
      return table.element;
    });
    faces.replaceChildren(...(tables.length ? tables : [element("p", { className: "hint" }, "No face was found.")]));
  }

  /** Tell how many are done and what was found. */
  summarize() {
    const done = this.items.filter(({ answer, error }) => answer !== null || error !== null);
    const counts = new Map();
    for (const { emotion } of done.flatMap(({ faces }) => faces ?? []))
      counts.set(emotion, (counts.get(emotion) ?? 0) + 1);
    const nFaces = [...counts.values()].reduce((sum, count) => sum + count, 0);
    const emotions = [...counts].map(([emotion, count]) => `${emotion} ${count}`).join(", ");
    const finished = done.length === this.items.length;
    const total = `${this.items.length} ${this.items.length === 1 ? "photograph" : "photographs"}`;
    const found = `${nFaces} ${nFaces === 1 ? "face" : "faces"}${emotions && `: ${emotions}`}`;
    this.facts.textContent = finished ? `${total}, ${found}.` : `${done.length} of ${total} analyzed…`;
    this.csv.disabled = this.json.disabled = !finished;
  }

  get records() {
    return this.items.map(({ file, answer, error, faces }) =>
      error === null
        ? imageRecord(file.name, { ...answer, faces }, this.config.class_names, {
            prior: answer.prior ?? this.settings.priorName,
            origin: this.settings.origin,
          })
        : { file: file.name, error },
    );
  }

  clear() {
    for (const { card } of this.items) URL.revokeObjectURL(card.source);
    this.items = [];
    this.list.replaceChildren();
    this.section.hidden = true;
    document.querySelector("#choose").focus();
  }
}
