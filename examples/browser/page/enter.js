/** Step 1: whether the calculation fits, then values typed or a report read. */

import { IntakeError, readFiles, readReport } from "../lib/intake.js";
import { emptyDraft, makeExample } from "./draft.js";
import { h } from "./dom.js";
import { buildForm } from "./form.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("../words/words.js").Key} Key */

/** @param {App} app */
export function buildEnter(app) {
  const { words } = app;
  return h(
    "div",
    { class: "enter" },
    h(
      "div",
      { class: "aside" },
      h(
        "section",
        { class: "intro", "aria-labelledby": "page-title" },
        h("h1", { id: "page-title", tabindex: -1 }, words.say("title")),
        h("p", { class: "lead" }, words.say("lead")),
        h(
          "p",
          { class: "private" },
          words.say("private"),
          " ",
          h("b", {}, words.say("not_a_diagnosis")),
        ),
        h(
          "div",
          { class: "row" },
          h(
            "button",
            { type: "button", class: "plain", onclick: () => showExample(app) },
            words.say("enter.example"),
          ),
          h(
            "button",
            { type: "button", class: "plain", id: "clear", onclick: () => app.clear() },
            words.say("enter.clear"),
          ),
        ),
      ),
      buildQuestion(app),
      buildReport(app),
    ),
    h(
      "form",
      {
        autocomplete: "off",
        novalidate: true,
        onsubmit: (/** @type {Event} */ event) => {
          event.preventDefault();
          app.finish();
        },
      },
      buildForm(app),
      buildSubmit(app, words.say("enter.show")),
    ),
  );
}

/** @param {App} app */
function showExample(app) {
  app.draft = makeExample(app.sidecar, app.words, app.system);
  app.report = null;
  app.keep();
  app.finish();
}

/**
 * The button that shows the result, with how many values there are; it stays in view.
 *
 * @param {App} app
 * @param {string} text
 * @param {HTMLElement[]} others
 */
export function buildSubmit(app, text, ...others) {
  return h(
    "div",
    { class: "bar" },
    h("p", { class: "count", id: "count" }, app.describeCount()),
    ...others,
    h("button", { type: "submit", class: "main" }, text),
    h("p", { class: "message", id: "missing", "data-kind": "wrong" }),
  );
}

/** Asked before typing: states in which the result would mislead. @param {App} app */
export function buildQuestion(app) {
  const { words } = app;
  const why = h(
    "p",
    { class: "notice", id: "excluded-why", hidden: app.draft.excluded !== "some" },
    words.say("before.why"),
  );
  /** @param {"none" | "some"} answer @param {Key} key */
  const choice = (answer, key) =>
    h(
      "label",
      { class: "choice" },
      h("input", {
        type: "radio",
        name: "excluded",
        id: `excluded-${answer}`,
        checked: app.draft.excluded === answer,
        onchange: () => {
          app.change({ excluded: answer });
          why.hidden = answer !== "some";
        },
      }),
      h("span", {}, words.say(key)),
    );
  const states = /** @type {Key[]} */ ([
    "before.pregnant",
    "before.ill",
    "before.dialysis",
    "before.young",
  ]);
  return h(
    "fieldset",
    { class: "card before" },
    h("legend", {}, words.say("before.title")),
    h("p", {}, words.say("before.question")),
    h("ul", { class: "states" }, ...states.map((key) => h("li", {}, words.say(key)))),
    h("div", { class: "choices" }, choice("none", "before.none"), choice("some", "before.some")),
    why,
  );
}

/** @param {App} app */
function buildReport(app) {
  const { words } = app;
  const area = h("textarea", {
    id: "report-text",
    rows: 3,
    spellcheck: "false",
    "aria-label": words.say("report.paste"),
    placeholder: "Creatinine  0.9 mg/dL\nHbA1c  5.4 %",
    onpaste: () => setTimeout(() => readPasted(app, area.value)),
  });
  const input = h("input", {
    type: "file",
    id: "report-file",
    class: "unseen",
    multiple: true,
    onchange: async () => {
      const files = [...(input.files ?? [])];
      input.value = ""; // the same file can be chosen again
      if (files.length > 0) await readDropped(app, files);
    },
  });
  return h(
    "section",
    { class: "card report", "aria-labelledby": "report-title" },
    h("h2", { id: "report-title" }, words.say("report.title")),
    h("p", { class: "quiet" }, words.say("report.words")),
    area,
    h(
      "div",
      { class: "row" },
      h(
        "button",
        { type: "button", id: "read-text", onclick: () => readPasted(app, area.value) },
        words.say("report.read"),
      ),
      input,
      h("label", { for: "report-file", class: "button" }, words.say("report.choose")),
      h("span", { class: "quiet" }, words.say("report.drop")),
    ),
    h("p", { class: "message", id: "report-message", "data-kind": "wrong" }),
  );
}

/** @param {App} app @param {string} text */
const readPasted = (app, text) => read(app, async () => readReport(app.sidecar, text));

/** @param {App} app @param {(File | Blob)[]} files */
export const readDropped = (app, files) =>
  read(app, () => readFiles(app.sidecar, files, app.tools));

/**
 * @param {App} app
 * @param {() => Promise<import("../lib/intake.js").Report>} source
 */
async function read(app, source) {
  const { words } = app;
  app.say("report-message", words.say("report.reading"));
  try {
    const report = await source();
    const { excluded, age, sex, example } = app.draft;
    app.report = { ...report, chosen: report.people.length === 1 ? 0 : null };
    // What the report does not say of the person may have been typed.
    app.draft = { ...emptyDraft(), excluded, ...(example.length > 0 ? {} : { age, sex }) };
    if (app.report.chosen !== null) app.take(0);
    app.go("check");
  } catch (error) {
    if (!(error instanceof IntakeError)) throw error;
    app.say(
      "report-message",
      words.say(/** @type {Key} */ (`error.${error.code}`), { message: error.message }),
    );
  }
}
