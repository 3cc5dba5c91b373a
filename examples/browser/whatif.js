/** A slider for each biomarker, with the curve of biological age along it. */

import { drawShape } from "./shapes.js";
import { findMedian } from "./sidecar.js";
import { fromPanel, showNumber } from "./units.js";

/** @typedef {import("./sidecar.js").Sidecar} Sidecar */
/** @typedef {import("./sidecar.js").Biomarker} Biomarker */
/** @typedef {import("./model.js").Person} Person */
/** @typedef {import("./model.js").Answer} Answer */
/** @typedef {{low: number, high: number}} Ends In the panel's unit. */
/** @typedef {Ends & {biomarker: Biomarker, slider: HTMLInputElement, output: HTMLElement,
 *   track: Element, typed: number}} Slider With the typed value that its ends are fitted to. */

const STEPS = 100;
const CURVE_POINTS = 21;
/** No value that can be typed. */
const UNFITTED = -1;

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
    for (const slider of this.#sliders) slider.typed = UNFITTED;
  }

  get isMoved() {
    return this.#moved.size > 0;
  }

  /**
   * Place the sliders and draw their curves.
   *
   * @param {Person} person as typed
   * @param {(name: string) => string} unitOf the unit that a biomarker is shown in
   * @param {() => boolean} isCurrent whether nothing was typed or moved meanwhile; the
   *   sliders are left alone otherwise
   * @returns {Promise<Answer>} with the values as moved
   */
  async show(person, unitOf, isCurrent) {
    const changed = person.biomarkers.map(
      (value, place) => this.#moved.get(this.#sidecar.panel[place].name) ?? value,
    );
    const ends = this.#sliders.map((slider, place) =>
      findEnds(slider, this.#sidecar.fitted_range, person.biomarkers[place], changed[place]),
    );
    const trials = ends.flatMap((end, place) =>
      Array.from({ length: CURVE_POINTS }, (_, point) =>
        changed.with(place, valueAt(end, (point * STEPS) / (CURVE_POINTS - 1))),
      ),
    );
    const [answer, ...curves] = await this.#predict(
      [changed, ...trials].map((biomarkers) => ({ ...person, biomarkers })),
    );
    if (!isCurrent()) return answer;
    const years = curves.map((trial) => (trial.reliable ? trial.biological_age : NaN));
    const drawn = years.filter((value) => !Number.isNaN(value));
    const range = /** @type {[number, number]} */ ([Math.min(...drawn), Math.max(...drawn)]);
    this.#sliders.forEach((slider, place) => {
      const { name } = slider.biomarker;
      Object.assign(slider, ends[place], { typed: person.biomarkers[place] });
      const known = !Number.isNaN(changed[place]);
      const value = known
        ? changed[place]
        : findMedian(this.#sidecar, name, person.age, person.sex);
      const unit = unitOf(name);
      const shown = showNumber(fromPanel(this.#sidecar.units.conversions[name][unit], value));
      const words = known ? `${shown} ${unit}` : "not given";
      slider.slider.value = String(positionOf(slider, value));
      slider.slider.setAttribute("aria-valuetext", words);
      if (slider.output.textContent !== words) slider.output.textContent = words;
      slider.output.classList.toggle("moved", this.#moved.has(name));
      const curve = years.slice(place * CURVE_POINTS, (place + 1) * CURVE_POINTS);
      slider.track.querySelector("svg")?.remove();
      slider.track.prepend(drawCurve(curve, range));
    });
    return answer;
  }
}

/**
 * Let a slider reach over the fitted range, the typed value and the moved one; all are
 * accepted. Its ends hold until another value is typed, or they would run after the hand.
 *
 * @param {Slider} slider
 * @param {Record<string, [number, number]>} ranges
 * @param {number} typed
 * @param {number} value in force
 * @returns {Ends}
 */
function findEnds({ biomarker, typed: before, low, high }, ranges, typed, value) {
  if (Object.is(typed, before)) return { low, high };
  const reached = [...ranges[biomarker.name], typed, value].filter((end) => !Number.isNaN(end));
  return { low: Math.min(...reached), high: Math.max(...reached) };
}

/** Equal steps are equal ratios: half the values of most biomarkers are near its lower end.
 * @param {Ends} ends @param {number} position */
const valueAt = ({ low, high }, position) => low * (high / low) ** (position / STEPS);

/** @param {Ends} ends @param {number} value */
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
  const [label, output, track] = /** @type {[HTMLLabelElement, HTMLElement, Element]} */ ([
    .../** @type {Element} */ (part.firstElementChild).children,
  ]);
  const slider = /** @type {HTMLInputElement} */ (track.querySelector("input"));
  slider.id = `what-if-${biomarker.name}`;
  label.htmlFor = slider.id;
  label.textContent = biomarker.label;
  document.getElementById("sliders")?.append(part);
  const [low, high] = sidecar.fitted_range[biomarker.name];
  return { biomarker, slider, output, track, low, high, typed: UNFITTED };
}

/**
 * All curves share their range of years, so that a flat one is one that matters little.
 *
 * @param {number[]} years NaN where the answer is not reliable: no curve is drawn there
 * @param {[number, number]} range
 */
function drawCurve(years, [low, high]) {
  const points = years.flatMap((value, point) =>
    Number.isNaN(value) ? [] : `${point},${(10 * (high - value)) / Math.max(high - low, 1)}`,
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
