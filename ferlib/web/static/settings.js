// What the reader chooses: class prior, smallest probability, and how the camera is shown.

import { applyPrior, decide } from "./classifier.js";

const PRIOR_NAMES = { photographs: "Photographs", training: "Training data" };

export class Settings extends EventTarget {
  constructor(config) {
    super();
    this.config = config;
    this.prior = document.querySelector("#prior");
    this.minimum = document.querySelector("#min-probability");
    this.mirror = document.querySelector("#mirror");
    for (const name of Object.keys(config.priors)) this.prior.add(new Option(PRIOR_NAMES[name] ?? name, name));
    for (const input of [this.prior, this.minimum, this.mirror]) {
      input.addEventListener("change", () => this.dispatchEvent(new Event("change")));
    }
  }

  /** The name of the class prior. */
  get priorName() {
    return this.prior.value;
  }

  get isMirrored() {
    return this.mirror.checked;
  }

  /** What records say of their origin. */
  get origin() {
    return { detector: this.config.detector, model: this.config.model };
  }

  /** Return a face with its emotion, given probabilities before the class prior. */
  decide(face) {
    const { priors, class_names: classNames } = this.config;
    const probabilities = applyPrior(face.probabilities, priors[this.priorName], classNames.length);
    const smallest = Math.min(100, Math.max(0, Number(this.minimum.value) || 0)) / 100;
    return { ...face, probabilities, ...decide(probabilities, classNames, smallest) };
  }
}
