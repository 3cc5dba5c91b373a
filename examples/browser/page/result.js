/** Step 3: cautions, one sentence, the number among people of that age, and what lies behind it. */

import { halfWidth, rankMissing } from "../lib/informative.js";
import { listReasons } from "../lib/reliability.js";
import { fromPanel } from "../lib/units.js";
import { h } from "./dom.js";
import { showUnit } from "./form.js";
import { buildLaboratory } from "./laboratory.js";
import { drawPeople } from "./people.js";
import { buildRisks } from "./risks.js";
import { buildShare } from "./share.js";
import { buildSheet } from "./sheet.js";
import { buildTime } from "./time.js";
import { buildValues, listValues } from "./values.js";
import { buildWhatIf } from "./whatif.js";

/** @typedef {import("../lib/model.js").Person} Person */
/** @typedef {import("../lib/model.js").Answer} Answer */
/** @typedef {import("../lib/reliability.js").Reason} Reason */
/** @typedef {import("./app.js").App} App */
/** @typedef {import("../words/words.js").Key} Key */

/** Normal quantile of a two-sided 90 %, the level of the interval. */
const NOISE_SCORE = 1.645;

/**
 * @param {App} app
 * @param {Person} person
 * @returns {Promise<HTMLElement>}
 */
export async function buildResult(app, person) {
  const unknown = { ...person, biomarkers: person.biomarkers.map(() => NaN) };
  const [answer, typical] = await app.predict([person, unknown]);
  const [without] = await app.predictPlain([person]);
  if (!answer.reliable) return buildWithheld(app, person, answer);
  const next = await rankMissing(app.sidecar, app.predict, person);
  const { words } = app;
  const spoken = describe(app, person, answer);
  app.speak(`${spoken.headline} ${spoken.younger} ${spoken.interval}`);
  return h(
    "div",
    { class: "result", id: "answer" },
    buildExampleMark(app),
    buildFar(app, person, answer),
    buildHero(app, person, answer, spoken),
    h(
      "div",
      { class: "glance", id: "glance", "aria-hidden": "true" },
      h("span", {}, words.say("result.number")),
      h("b", {}, words.number(answer.biological_age)),
      h("span", {}, `${words.number(answer.interval[0])}–${words.number(answer.interval[1])}`),
    ),
    buildValues(app, person, answer),
    buildRisks(app, person, answer, typical),
    h(
      "div",
      { class: "columns" },
      h("div", {}, buildNext(app, answer, next), buildLaboratory(app, answer, without)),
      buildWhatIf(app, person, answer),
    ),
    buildTime(app, person),
    buildShare(app, person, answer, spoken),
    buildSheet(app, person, answer),
  );
}

/** Whose values these are, where they are not all the person's own. @param {App} app */
function buildExampleMark({ draft, sidecar, words }) {
  const { example, values } = draft;
  if (example.length === 0) return null;
  const names = example.map((name) => {
    if (name === "age" || name === "sex") return words.say(`you.${name}`);
    const label = sidecar.panel.find((item) => item.name === name)?.label ?? name;
    return words.sayAny(`name.${name}`, label);
  });
  const isWhole = example.length >= Object.keys(values).length + 2;
  const places = { names: names.join(", ") };
  const text = words.say(isWhole ? "result.example" : "result.example_left", places);
  return h("p", { class: "example", id: "example" }, text);
}

/**
 * The sentences of a result.
 *
 * @param {App} app
 * @param {Person} person
 * @param {Answer} answer
 */
export function describe({ sidecar, words }, { age, sex }, answer) {
  const { biological_age, age_gap, interval, percentile, draw_sd, contributions } = answer;
  const name = sidecar.sexes[sex];
  const share = Math.round(percentile);
  const count =
    share < 1
      ? words.say("fewer_than_1")
      : share > 99
        ? words.say("more_than_99")
        : words.number(share);
  const noise = NOISE_SCORE * draw_sd;
  const key =
    Math.abs(age_gap) <= noise ? "noise.within" : age_gap < 0 ? "noise.younger" : "noise.older";
  const [typicalYears, ...others] = contributions;
  const isOrdinary =
    typicalYears < 0 &&
    age_gap < 0 &&
    others.reduce((sum, years) => sum + Math.abs(years), 0) < -typicalYears;
  return {
    headline: words.say(/** @type {Key} */ (`headline.${name}`), {
      age: words.number(biological_age),
    }),
    younger: words.say(/** @type {Key} */ (`younger.${name}`), { count }),
    interval: words.say("result.interval", {
      low: words.number(interval[0]),
      high: words.number(interval[1]),
    }),
    noise: words.say(key, {
      age: words.number(Math.floor(age)),
      years: words.number(Math.abs(age_gap), 1),
      noise: words.number(noise, 1),
    }),
    ordinary: isOrdinary && key !== "noise.within" ? words.say("result.ordinary") : "",
  };
}

/** @param {App} app @param {Person} person @param {Answer} answer @param {ReturnType<typeof describe>} spoken */
function buildHero(app, person, answer, spoken) {
  const { words } = app;
  return h(
    "section",
    { class: "hero card", "aria-labelledby": "headline" },
    h(
      "div",
      { class: "number" },
      h("p", { class: "label" }, words.say("result.number")),
      h(
        "p",
        { class: "age" },
        h("b", { id: "age-number" }, words.number(answer.biological_age)),
        " ",
        h("span", {}, `${words.number(answer.interval[0])}–${words.number(answer.interval[1])}`),
      ),
    ),
    h(
      "div",
      { class: "saying" },
      h("h1", { id: "headline", tabindex: -1 }, spoken.headline),
      h("p", { id: "younger" }, spoken.younger),
    ),
    drawPeople(app, person, answer),
    h(
      "div",
      { class: "details" },
      h("p", { id: "noise" }, spoken.noise),
      spoken.ordinary && h("p", { id: "ordinary" }, spoken.ordinary),
      h("p", { id: "interval" }, spoken.interval),
      h("p", { class: "quiet" }, words.say("not_a_diagnosis")),
    ),
  );
}

/** Values that a doctor would look into, before anything else. @param {App} app @param {Person} person @param {Answer} answer */
function buildFar(app, person, answer) {
  const far = listValues(app, person, answer).given.filter(({ isFar }) => isFar);
  if (far.length === 0) return null;
  const { words } = app;
  return h(
    "section",
    { class: "notice caution", id: "cautions", "aria-labelledby": "caution-title" },
    h("h2", { id: "caution-title" }, words.say("caution.title")),
    h(
      "ul",
      {},
      ...far.map(({ name, biomarker, side, shown, unit }) =>
        h(
          "li",
          {},
          words.say("caution.far", {
            name: `${name} (${shown} ${unit})`,
            advice: words.sayAny(`advice.${biomarker.name}.${side}`, ""),
          }),
        ),
      ),
    ),
  );
}

/**
 * Where the answer is not reliable: why, and what to do; no age.
 *
 * @param {App} app
 * @param {Person} person
 * @param {Answer} answer
 */
function buildWithheld(app, person, answer) {
  const { sidecar, words } = app;
  const reasons = listReasons(sidecar, person, answer);
  const messages = reasons.map((reason) => describeReason(app, reason));
  const needsDoctor = reasons.some(
    ({ code }) => code === "critical_value" || code === "unlike_fitted",
  );
  const isCritical = reasons.some(({ code }) => code === "critical_value");
  const heading = words.say(needsDoctor ? "caution.critical" : "caution.age");
  app.speak([`${heading}.`, ...messages].join(" "));
  return h(
    "div",
    { class: "result", id: "withheld" },
    buildExampleMark(app),
    h(
      "section",
      { class: "notice caution", "aria-labelledby": "withheld-title" },
      h("h1", { id: "withheld-title", tabindex: -1 }, heading),
      h("ul", {}, ...messages.map((message) => h("li", {}, message))),
      isCritical && h("p", {}, words.say("caution.what")),
      h("p", {}, words.say("caution.no_age")),
      h(
        "div",
        { class: "row" },
        h(
          "button",
          { type: "button", class: "main", onclick: () => app.go("enter") },
          words.say("caution.edit"),
        ),
        h(
          "button",
          { type: "button", class: "plain", onclick: () => print() },
          words.say("share.print"),
        ),
      ),
    ),
    app.profile && buildLaboratory(app, answer, answer),
  );
}

/** @param {App} app @param {Reason} reason */
export function describeReason(app, reason) {
  const { sidecar, words } = app;
  if (reason.code === "age_outside_fitted") {
    const { age, low, high } = reason;
    return words.say("caution.age_outside_fitted", {
      age: words.number(age, Number.isInteger(age) ? 0 : 1),
      low: words.number(low),
      high: words.number(high),
    });
  }
  if (reason.code !== "critical_value") return words.say(`caution.${reason.code}`);
  const biomarker = /** @type {import("../lib/sidecar.js").Biomarker} */ (
    sidecar.panel.find(({ name }) => name === reason.name)
  );
  const unit = app.unitOf(biomarker);
  /** @param {number} number */
  const show = (number) =>
    words.value(fromPanel(sidecar.units.conversions[reason.name][unit], number));
  return words.say(`caution.critical_value.${reason.side}`, {
    name: words.sayAny(`name.${reason.name}`, biomarker.label),
    value: show(reason.value),
    limit: show(reason.limit),
    unit: showUnit(unit),
  });
}

/** @param {App} app @param {Answer} answer @param {{name: string, years: number}[]} next */
function buildNext({ sidecar, words }, answer, next) {
  const now = words.number(halfWidth(answer), 1);
  return h(
    "section",
    { class: "card", id: "next", "aria-labelledby": "next-title" },
    h("h2", { id: "next-title" }, words.say("next.title")),
    h("p", {}, words.say(next.length > 0 ? "next.words" : "next.all", { now })),
    next.length > 0 &&
      h(
        "ul",
        { class: "next-list" },
        ...next.map(({ name, years }) =>
          h(
            "li",
            {},
            h(
              "span",
              {},
              words.sayAny(
                `name.${name}`,
                sidecar.panel.find((item) => item.name === name)?.label ?? name,
              ),
            ),
            h("b", {}, words.say("next.years", { years: words.number(years, 1) })),
          ),
        ),
      ),
  );
}
