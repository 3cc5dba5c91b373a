/** A slider for each biomarker, with the curve of biological age along it. */

import { drawShape } from "./shapes.js";
import { findMedian } from "./sidecar.js";
import { fromPanel, showNumber } from "./units.js";

/** @typedef {import("./sidecar.js").Sidecar} Sidecar */
/** @typedef {import("./sidecar.js").Biomarker} Biomarker */
/** @typedef {import("./model.js").Person} Person */
/** @typedef {import("./model.js").Answer} Answer */
/** @typedef {{biomarker: Biomarker, slider: HTMLInputElement, output: HTMLOutputElement,
 *   track: Element, low: number, high: number}} Slider Ends in the panel's unit. */

const STEPS = 100;
const CURVE_POINTS = 21;

export class WhatIf {
  /** @type {Slider[]} */
  #sliders;
  #sidecar;
  #predict;
  /** Values that were moved, in the panel's unit. @type {Map<string, number>} */
  #moved = new Map();

  /**
   * @param {Sidecar} sidecar
   * @param {(people: Person[]) => Promise<Answer[]>} predict
   * @param {() => void} onChange
   */
  constructor(sidecar, predict, onChange) {
    this.#sidecar = sidecar;
    this.#predict = predict;
    this.#sliders = sidecar.panel.map((biomarker) => {
      const slider = buildSlider(sidecar, biomarker);
      slider.slider.addEventListener("input", () => {
        this.#moved.set(biomarker.name, valueAt(slider, Number(slider.slider.value)));
        onChange();
      });
      return slider;
    });
    document.getElementById("reset")?.addEventListener("click", () => {
      this.reset();
      onChange();
    });
  }

  reset() {
    this.#moved.clear();
  }

  /**
   * Place the sliders and draw their curves.
   *
   * @param {Person} person as typed
   * @param {(name: string) => string} unitOf the unit that a biomarker is shown in
   * @returns {Promise<Answer>} with the values as moved
   */
  async show(person, unitOf) {
    const changed = person.biomarkers.map(
      (value, place) => this.#moved.get(this.#sidecar.panel[place].name) ?? value,
    );
    const trials = this.#sliders.flatMap((slider, place) => {
      fitEnds(slider, this.#sidecar.fitted_range[slider.biomarker.name], changed[place]);
      return Array.from({ length: CURVE_POINTS }, (_, point) =>
        changed.with(place, valueAt(slider, (point * STEPS) / (CURVE_POINTS - 1))),
      );
    });
    const [answer, ...curves] = await this.#predict(
      [changed, ...trials].map((biomarkers) => ({ ...person, biomarkers })),
    );
    const years = curves.map((trial) => trial.biological_age);
    const range = /** @type {[number, number]} */ ([Math.min(...years), Math.max(...years)]);
    this.#sliders.forEach((slider, place) => {
      const { name } = slider.biomarker;
      const known = !Number.isNaN(changed[place]);
      const value = known
        ? changed[place]
        : findMedian(this.#sidecar, name, person.age, person.sex);
      const unit = unitOf(name);
      const shown = showNumber(fromPanel(this.#sidecar.units.conversions[name][unit], value));
      const words = known ? `${shown} ${unit}` : "not given";
      slider.slider.value = String(positionOf(slider, value));
      slider.slider.setAttribute("aria-valuetext", words);
      slider.output.textContent = words;
      slider.output.classList.toggle("moved", this.#moved.has(name));
      const curve = years.slice(place * CURVE_POINTS, (place + 1) * CURVE_POINTS);
      slider.track.querySelector("svg")?.remove();
      slider.track.prepend(drawCurve(curve, range));
    });
    return answer;
  }
}

/**
 * Let a slider reach over the fitted range and the value in force; both ends are accepted.
 *
 * @param {Slider} slider
 * @param {[number, number]} range
 * @param {number} value
 */
function fitEnds(slider, [low, high], value) {
  slider.low = Number.isNaN(value) ? low : Math.min(low, value);
  slider.high = Number.isNaN(value) ? high : Math.max(high, value);
}

/** Equal steps are equal ratios: half the values of most biomarkers are near its lower end.
 * @param {Slider} slider @param {number} position */
const valueAt = ({ low, high }, position) => low * (high / low) ** (position / STEPS);

/** @param {Slider} slider @param {number} value */
const positionOf = ({ low, high }, value) =>
  Math.round((STEPS * Math.log(value / low)) / Math.log(high / low));

/**
 * @param {Sidecar} sidecar
 * @param {Biomarker} biomarker
 * @returns {Slider}
 */
function buildSlider(sidecar, biomarker) {
  const template = /** @type {HTMLTemplateElement} */ (document.getElementById("slider-template"));
  const part = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
  const [label, output, track] = /** @type {[HTMLLabelElement, HTMLOutputElement, Element]} */ ([
    .../** @type {Element} */ (part.firstElementChild).children,
  ]);
  const slider = /** @type {HTMLInputElement} */ (track.querySelector("input"));
  slider.id = `what-if-${biomarker.name}`;
  label.htmlFor = slider.id;
  label.textContent = biomarker.label;
  document.getElementById("sliders")?.append(part);
  const [low, high] = sidecar.fitted_range[biomarker.name];
  return { biomarker, slider, output, track, low, high };
}

/**
 * All curves share their range of years, so that a flat one is one that matters little.
 *
 * @param {number[]} years
 * @param {[number, number]} range
 */
function drawCurve(years, [low, high]) {
  const points = years.map(
    (value, point) =>
      `${point},${(10 * (high - value)) / Math.max(high - low, 1)}`,
  );
  return drawShape(
    "svg",
    {
      "aria-hidden": "true",
      viewBox: `0 0 ${years.length - 1} 10`,
      preserveAspectRatio: "none",
    },
    drawShape("polyline", { points: points.join(" "), "vector-effect": "non-scaling-stroke" }),
  );
}
