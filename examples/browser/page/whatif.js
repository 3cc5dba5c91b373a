/** Sliders for what people can change, never into the abnormal. */

import { findReach } from "../lib/assessment.js";
import { fromPanel } from "../lib/units.js";
import { h } from "./dom.js";
import { showUnit } from "./form.js";

/** @typedef {import("../lib/model.js").Person} Person */
/** @typedef {import("../lib/model.js").Answer} Answer */
/** @typedef {import("./app.js").App} App */

const STEPS = 40;

/**
 * @param {App} app
 * @param {Person} person
 * @param {Answer} answer
 */
export function buildWhatIf(app, person, answer) {
  const { sidecar, words } = app;
  const sliders = sidecar.panel.flatMap((biomarker, place) => {
    const reach = findReach(sidecar, biomarker, person.biomarkers[place], person.sex);
    return reach ? [buildSlider(app, person, answer, place, reach)] : [];
  });
  return h(
    "section",
    { class: "card", id: "whatif", "aria-labelledby": "whatif-title" },
    h("h2", { id: "whatif-title" }, words.say("whatif.title")),
    h("p", {}, words.say(sliders.length > 0 ? "whatif.words" : "whatif.none")),
    ...sliders.map(({ element }) => element),
    sliders.length > 0 &&
      h(
        "button",
        {
          type: "button",
          class: "plain",
          id: "whatif-reset",
          onclick: () => sliders.forEach(({ reset }) => reset()),
        },
        words.say("whatif.reset"),
      ),
  );
}

/**
 * Equal steps are equal ratios: half of the values of most biomarkers are near the lower end.
 *
 * @param {App} app
 * @param {Person} person
 * @param {Answer} answer
 * @param {number} place of the biomarker in the panel
 * @param {{low: number, high: number}} reach
 */
function buildSlider(app, person, answer, place, { low, high }) {
  const { sidecar, words } = app;
  const biomarker = sidecar.panel[place];
  const { name } = biomarker;
  const own = person.biomarkers[place];
  const unit = app.unitOf(biomarker);
  const label = words.sayAny(`name.${name}`, biomarker.label);
  const start = Math.round((STEPS * Math.log(own / low)) / Math.log(high / low));
  const output = h("span", { class: "moved", id: `whatif-${name}-value` });
  const slider = h("input", {
    type: "range",
    id: `whatif-${name}`,
    min: 0,
    max: STEPS,
    value: start,
    oninput: () => show(),
  });
  let turn = 0;
  const show = async () => {
    const now = ++turn;
    const step = Number(slider.value);
    // The person's own value may lie between two steps.
    const value = step === start ? own : low * (high / low) ** (step / STEPS);
    const shown = words.value(fromPanel(sidecar.units.conversions[name][unit], value));
    const [changed] = await app.predict([
      { ...person, biomarkers: person.biomarkers.with(place, value) },
    ]);
    if (now !== turn) return;
    const places = {
      value: shown,
      unit: showUnit(unit),
      years: words.years(changed.biological_age - answer.biological_age),
    };
    const text = words.say(step === start ? "whatif.yours" : "whatif.changed", places);
    output.textContent = text;
    slider.setAttribute("aria-valuetext", text);
  };
  show();
  const reset = () => {
    slider.value = String(start);
    show();
  };
  return {
    element: h("div", { class: "slider" }, h("label", { for: slider.id }, label), output, slider),
    reset,
  };
}
