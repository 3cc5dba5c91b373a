/** Step 2: what was read from where, what was not used and why; all can be corrected. */

import { h } from "./dom.js";
import { buildQuestion, buildSubmit } from "./enter.js";
import { buildForm, showUnit } from "./form.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("../words/words.js").Key} Key */
/** @typedef {import("../lib/results.js").Reading} Reading */
/** @typedef {import("../lib/results.js").Unused} Unused */

const MOST_UNUSED = 40;

/** @param {App} app */
export function buildCheck(app) {
  const { report, words } = app;
  if (!report) return h("div");
  if (report.chosen === null) return buildChoice(app);
  const person = report.people[report.chosen];
  const places = { count: person.readings.length, all: app.sidecar.panel.length };
  return h(
    "form",
    {
      class: "check",
      autocomplete: "off",
      novalidate: true,
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        app.finish();
      },
    },
    h("h1", { tabindex: -1 }, words.say("check.title")),
    h("p", { class: "lead", id: "check-count" }, words.say("check.count", places)),
    person.drawn && h("p", {}, words.say("check.drawn", { date: words.date(person.drawn) })),
    ...(app.draft.excluded === "none" ? [] : [buildQuestion(app)]),
    buildForm(app, { notes: describeReadings(app, person.readings) }),
    buildUnused(app, [...person.unused, ...report.unused]),
    buildSubmit(
      app,
      words.say("check.continue"),
      h(
        "button",
        { type: "button", class: "plain", onclick: () => app.go("enter") },
        words.say("check.back"),
      ),
    ),
  );
}

/** A file of several people: whose values? @param {App} app */
function buildChoice(app) {
  const { words } = app;
  const people = app.report?.people ?? [];
  return h(
    "div",
    { class: "check" },
    h("h1", { tabindex: -1 }, words.say("check.who", { count: people.length })),
    h(
      "ul",
      { class: "people" },
      ...people.slice(0, 100).map(({ id, age, sex, readings }, place) =>
        h(
          "li",
          {},
          h(
            "button",
            {
              type: "button",
              class: "person",
              onclick: () => {
                app.take(place);
                app.go("check");
              },
            },
            h("b", {}, words.say("check.person", { id: id || place + 1 })),
            " ",
            [
              sex === null ? "" : words.sayAny(`sex.${app.sidecar.sexes[sex]}`, ""),
              age === null ? "" : `${words.number(Math.floor(age))} ${words.say("you.years")}`,
              words.say("check.values", { count: readings.length }),
            ]
              .filter(Boolean)
              .join(", "),
          ),
        ),
      ),
    ),
    h(
      "button",
      { type: "button", class: "plain", onclick: () => app.go("enter") },
      words.say("check.back"),
    ),
  );
}

/**
 * @param {App} app
 * @param {Reading[]} readings
 * @returns {Record<string, HTMLElement[]>}
 */
function describeReadings({ words }, readings) {
  const notes = readings.map((reading) => {
    const { name, unit, value, side, day, source, doubts } = reading;
    const sign = side === "below" ? "<" : ">";
    const places = {
      unit: showUnit(unit),
      value: words.value(value),
      sign,
      date: day ? words.date(day) : "",
    };
    return [
      name,
      [
        h("p", { class: "source" }, words.say("check.source", { source })),
        ...doubts
          .filter((doubt) => doubt !== "implausible") // the field itself says so
          .map((doubt) =>
            h("p", { class: "doubt" }, words.say(/** @type {Key} */ (`doubt.${doubt}`), places)),
          ),
      ],
    ];
  });
  return Object.fromEntries(notes);
}

/** @param {App} app @param {Unused[]} unused */
function buildUnused({ words }, unused) {
  if (unused.length === 0) return null;
  const others = unused.filter(({ code }) => code === "other_test").map(({ label }) => label);
  const told = unused.filter(({ code }) => code !== "other_test");
  const shown = told.slice(0, MOST_UNUSED);
  return h(
    "details",
    { class: "card unused", open: told.length > 0 },
    h("summary", {}, h("h2", {}, words.say("check.unused"))),
    h(
      "ul",
      {},
      ...shown.map(({ label, where, code, params }) =>
        h(
          "li",
          {},
          h("b", {}, label),
          where ? ` (${where})` : "",
          ": ",
          words.say(/** @type {Key} */ (`unused.${code}`), params),
        ),
      ),
      told.length > shown.length &&
        h("li", {}, words.say("check.more", { count: told.length - shown.length })),
      others.length > 0 &&
        h(
          "li",
          {},
          words.say("check.others", { names: [...new Set(others)].slice(0, 60).join(", ") }),
        ),
    ),
  );
}
