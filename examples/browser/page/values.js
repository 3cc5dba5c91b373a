/** Each value with its usual interval, the typical one, its years and plain words. */

import { assess } from "../lib/assessment.js";
import { fromPanel } from "../lib/units.js";
import { h, scaleToPercent, svg } from "./dom.js";
import { showUnit } from "./form.js";

/** @typedef {import("../lib/model.js").Person} Person */
/** @typedef {import("../lib/model.js").Answer} Answer */
/** @typedef {import("../lib/sidecar.js").Biomarker} Biomarker */
/** @typedef {import("../lib/assessment.js").Assessment} Assessment */
/** @typedef {import("./app.js").App} App */
/** @typedef {import("../words/words.js").Key} Key */
/**
 * A value as it is shown, in the unit that it was typed in.
 *
 * @typedef {Assessment & {biomarker: Biomarker, name: string, value: number, unit: string,
 *   years: number, shown: string, usual: string, interval: string, typical: string}} Shown
 */

/** Years below which a value changes the result little. */
const LITTLE = 0.5;

/**
 * @param {App} app
 * @param {Person} person
 * @param {Answer} answer
 * @returns {{given: Shown[], missing: Biomarker[]}} the most important first
 */
export function listValues(app, person, answer) {
  const { sidecar, words } = app;
  const given = sidecar.panel.flatMap((biomarker, place) => {
    const value = person.biomarkers[place];
    if (Number.isNaN(value)) return [];
    const assessment = assess(sidecar, biomarker, value, person);
    const unit = app.unitOf(biomarker);
    const conversion = sidecar.units.conversions[biomarker.name][unit];
    /** @param {number | null} number in the panel's unit */
    const show = (number) => (number === null ? "" : words.value(fromPanel(conversion, number)));
    const { low, high, median } = assessment;
    return [
      {
        ...assessment,
        biomarker,
        name: words.sayAny(`name.${biomarker.name}`, biomarker.label),
        value,
        unit: showUnit(unit),
        years: answer.contributions[sidecar.contribution_names.indexOf(biomarker.name)],
        shown: show(value),
        typical: show(median),
        interval: low === null ? `< ${show(high)}` : `${show(low)}–${show(high)}`,
        usual: words.say(low === null ? "value.usual_below" : "value.usual", {
          low: show(low),
          high: show(high),
        }),
      },
    ];
  });
  given.sort((a, b) => Number(b.isFar) - Number(a.isFar) || Math.abs(b.years) - Math.abs(a.years));
  return {
    given,
    missing: sidecar.panel.filter((_, place) => Number.isNaN(person.biomarkers[place])),
  };
}

/**
 * Where interval and years disagree, why.
 *
 * @param {App} app
 * @param {Shown} shown
 */
export function explainValue({ words }, { side, isHarmful, years, biomarker }) {
  const advice = words.sayAny(`advice.${biomarker.name}.${side}`, "");
  if (side !== "usual" && isHarmful)
    return `${words.say(years < LITTLE ? "words.outside_no_years" : "words.outside")} ${advice}`;
  if (side !== "usual" && years < LITTLE) return words.say("words.harmless");
  if (Math.abs(years) < LITTLE) return words.say("words.little");
  return words.say(years < 0 ? "words.younger" : "words.older");
}

/**
 * @param {App} app
 * @param {Person} person
 * @param {Answer} answer
 */
export function buildValues(app, person, answer) {
  const { sidecar, words } = app;
  const { given, missing } = listValues(app, person, answer);
  const isImportant = (/** @type {Shown} */ { side, years }) =>
    side !== "usual" || Math.abs(years) >= LITTLE;
  const important = given.filter(isImportant);
  const little = given.filter((shown) => !isImportant(shown));
  return h(
    "section",
    { class: "card", id: "values", "aria-labelledby": "values-title" },
    h("h2", { id: "values-title" }, words.say("values.title")),
    h("p", { class: "quiet" }, words.say("values.words")),
    h("ul", { class: "value-list" }, ...important.map((shown) => buildValue(app, shown))),
    little.length + missing.length > 0 &&
      h(
        "details",
        { class: "little" },
        h("summary", {}, words.say("values.little", { count: little.length + missing.length })),
        h(
          "ul",
          { class: "value-list" },
          ...little.map((shown) => buildValue(app, shown)),
          ...missing.map(({ name, label }) =>
            h(
              "li",
              { class: "value missing" },
              h(
                "div",
                { class: "what" },
                h("h3", {}, words.sayAny(`name.${name}`, label)),
                h("p", { class: "quiet" }, words.say("value.missing")),
              ),
              buildYears(
                app,
                answer.contributions[sidecar.contribution_names.indexOf(name)],
                false,
              ),
            ),
          ),
        ),
      ),
    buildRest(app, person, answer),
  );
}

/** @param {App} app @param {Shown} shown */
function buildValue(app, shown) {
  const { words } = app;
  const { name, biomarker, side, isHarmful, years, unit } = shown;
  const abbreviation = words.sayAny(`abbr.${biomarker.name}`, "");
  return h(
    "li",
    { class: "value", id: `value-${biomarker.name}` },
    h(
      "div",
      { class: "what" },
      h("h3", {}, name, " ", h("span", { class: "abbreviation" }, abbreviation)),
      h(
        "p",
        {},
        h("b", {}, `${shown.shown} ${unit}`),
        side !== "usual" &&
          h("span", { class: `chip ${isHarmful ? "bad" : ""}` }, words.say(`value.${side}`)),
      ),
    ),
    buildYears(app, years, side !== "usual" && isHarmful),
    drawRange(app, shown),
    h("p", { class: "words" }, explainValue(app, shown)),
  );
}

/**
 * A value that is abnormal is never shown as a gain.
 *
 * @param {App} app
 * @param {number} years
 * @param {boolean} isAbnormal
 */
function buildYears({ words }, years, isAbnormal) {
  const kind = Math.abs(years) < 0.05 ? "none" : years > 0 ? "more" : isAbnormal ? "none" : "less";
  return h(
    "span",
    { class: `years ${kind}` },
    words.say("years.signed", { years: words.years(years) }),
  );
}

/**
 * The value on its usual interval, with a tick at the typical one.
 *
 * @param {App} app
 * @param {Shown} shown
 */
function drawRange({ words }, shown) {
  const { value, low, high, median, biomarker, isHarmful, side, usual, typical } = shown;
  const ends = [value, median, low ?? median / 2, high ?? median * 2];
  const scale = biomarker.log_scaled ? Math.log : (/** @type {number} */ number) => number;
  const [first, last] = [scale(Math.min(...ends)), scale(Math.max(...ends))];
  const margin = 0.12 * (last - first);
  const percent = scaleToPercent(first - margin, last + margin);
  /** @param {number} number */
  const place = (number) => percent(scale(number));
  const from = low === null ? 0 : place(low);
  const to = high === null ? 100 : place(high);
  const x = `${place(median)}%`;
  return h(
    "div",
    { class: "range" },
    svg(
      "svg",
      {
        role: "img",
        "aria-label": words.say("value.chart", {
          value: `${shown.shown} ${shown.unit}`,
          usual,
          typical,
        }),
      },
      svg("rect", { class: "track", x: 0, y: 9, width: "100%", height: 6, rx: 3 }),
      svg("rect", {
        class: "usual",
        x: `${from}%`,
        y: 9,
        width: `${to - from}%`,
        height: 6,
        rx: 3,
      }),
      svg("line", { class: "typical", x1: x, x2: x, y1: 4, y2: 20 }),
      svg("circle", {
        class: `own ${side !== "usual" && isHarmful ? "bad" : ""}`,
        cx: `${place(value)}%`,
        cy: 12,
        r: 7,
      }),
    ),
    h(
      "p",
      { class: "legend", "aria-hidden": "true" },
      h("span", {}, `${usual} ${shown.unit}`),
      h("span", {}, words.say("value.typical", { value: typical })),
    ),
  );
}

/** @param {App} app @param {Person} person @param {Answer} answer */
function buildRest(app, person, answer) {
  const { words } = app;
  const parts = listRest(app, answer);
  return h(
    "div",
    { class: "rest" },
    parts.length > 0 && h("h3", {}, words.say("values.rest")),
    h(
      "ul",
      { class: "value-list" },
      ...parts.map(({ name, label, years }) =>
        h(
          "li",
          { class: "value" },
          h("h4", {}, label),
          buildYears(app, years, false),
          h(
            "p",
            { class: "words quiet" },
            words.sayAny(`part.${name}.words`, words.say("part.interaction.words")),
          ),
        ),
      ),
    ),
    h(
      "p",
      { class: "sum" },
      words.say("values.sum", {
        age: words.number(person.age, Number.isInteger(person.age) ? 0 : 1),
        result: words.number(answer.biological_age, 1),
      }),
    ),
  );
}

/**
 * Contributions that belong to no single value, of those that show.
 *
 * @param {App} app
 * @param {Answer} answer
 */
export function listRest({ words, sidecar }, answer) {
  /** @param {string} name */
  const find = (name) => sidecar.panel.find((item) => item.name === name);
  /** @param {string} name */
  const label = (name) =>
    words.sayAny(
      `part.${name}`,
      name
        .split("_x_")
        .map((part) => words.sayAny(`name.${part}`, find(part)?.label ?? part))
        .join(" × "),
    );
  return sidecar.contribution_names
    .map((name, place) => ({ name, label: label(name), years: answer.contributions[place] }))
    .filter(({ name, years }) => !find(name) && Math.abs(years) >= 0.05);
}
