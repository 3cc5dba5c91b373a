/** The fields of a person: age, sex and values in the units of the paper, checked while typed. */

import { findMedian } from "../lib/sidecar.js";
import { fromPanel } from "../lib/units.js";
import { readAge, readField, unitOf } from "./draft.js";
import { h } from "./dom.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("../lib/sidecar.js").Biomarker} Biomarker */

const TYPICAL_PERSON = { age: 45, sex: 0 };

/**
 * @param {App} app
 * @param {{notes?: Record<string, HTMLElement[]>}} [options] what is said below a field
 */
export function buildForm(app, { notes = {} } = {}) {
  const { sidecar, words } = app;
  return h(
    "div",
    { class: "form" },
    h(
      "fieldset",
      { class: "card you" },
      h("legend", {}, words.say("you.title")),
      buildAge(app),
      h(
        "fieldset",
        { class: "sex" },
        h("legend", {}, words.say("you.sex")),
        h(
          "div",
          { class: "choices" },
          ...sidecar.sexes.map((sex, code) =>
            h(
              "label",
              { class: "choice" },
              h("input", {
                type: "radio",
                name: "sex",
                id: `sex-${code}`,
                value: code,
                checked: app.draft.sex === code,
                onchange: () => app.change({ sex: code }),
              }),
              h("span", {}, words.sayAny(`sex.${sex}`, sex)),
            ),
          ),
        ),
      ),
    ),
    h(
      "fieldset",
      { class: "card values" },
      h("legend", {}, words.say("values.enter")),
      h("p", { class: "quiet" }, words.say("values.hint")),
      h(
        "div",
        { class: "fields" },
        ...sidecar.panel.map((biomarker) =>
          buildField(app, biomarker, notes[biomarker.name] ?? []),
        ),
      ),
    ),
  );
}

/** @param {App} app */
function buildAge(app) {
  const { sidecar, words } = app;
  const message = h("p", { class: "message", id: "age-message" });
  const input = h("input", {
    id: "age",
    type: "text",
    inputmode: "decimal",
    autocomplete: "off",
    value: app.draft.age,
    "aria-describedby": "age-message",
    oninput: () => {
      app.change({ age: input.value });
      check();
    },
  });
  const check = () => {
    const { message: text } = readAge(sidecar, words, input.value);
    tell(input, message, text, text ? "wrong" : "");
  };
  check();
  return h(
    "div",
    { class: "age" },
    h("label", { for: "age" }, words.say("you.age")),
    input,
    h("span", {}, words.say("you.years")),
    message,
  );
}

/**
 * @param {App} app
 * @param {Biomarker} biomarker
 * @param {HTMLElement[]} notes
 */
function buildField(app, biomarker, notes) {
  const { sidecar, words } = app;
  const { name, label, units } = biomarker;
  const id = `${name}-message`;
  const known = words.sayAny(`name.${name}`, label);
  const typed = app.draft.values[name];
  const message = h("p", { class: "message", id });
  const input = h("input", {
    id: name,
    type: "text",
    inputmode: "decimal",
    autocomplete: "off",
    value: typed?.text ?? "",
    "aria-describedby": id,
    oninput: () => store(),
  });
  const select = h(
    "select",
    { "aria-label": words.say("field.unit", { name: known }), onchange: () => store() },
    ...units.map((unit) => h("option", { value: unit }, showUnit(unit))),
  );
  select.value = typed?.unit ?? unitOf(biomarker, app.system);
  const store = () => {
    app.changeValue(name, { text: input.value, unit: select.value });
    check();
  };
  const check = () => {
    const conversion = sidecar.units.conversions[name][select.value];
    const usual = findMedian(sidecar, name, TYPICAL_PERSON.age, TYPICAL_PERSON.sex);
    input.placeholder = words.say("field.example", {
      value: words.value(fromPanel(conversion, usual)),
    });
    const {
      kind,
      message: text,
      meant,
    } = readField(sidecar, words, biomarker, {
      text: input.value,
      unit: select.value,
    });
    tell(input, message, text, kind);
    for (const guess of kind ? meant : [])
      message.append(
        h(
          "button",
          {
            type: "button",
            class: "guess",
            onclick: () => {
              input.value = guess.text;
              select.value = guess.unit;
              store();
              input.focus();
            },
          },
          words.say("field.meant", { value: guess.text, unit: showUnit(guess.unit) }),
        ),
      );
  };
  check();
  return h(
    "div",
    { class: "field", id: `field-${name}` },
    h(
      "label",
      { for: name },
      h("b", {}, known),
      " ",
      h(
        "span",
        { class: "abbreviation" },
        words.sayAny(`abbr.${name}`, biomarker.synonyms[0] ?? ""),
      ),
      h("small", {}, words.sayAny(`hint.${name}`, "")),
    ),
    h("div", { class: "entry" }, input, select),
    message,
    ...notes,
  );
}

/** As it is printed. @param {string} unit */
export const showUnit = (unit) => unit.replace(/^u(?=mol|kat)/u, "µ");

/**
 * Written only where it changed, or a screen reader says it again at each key.
 *
 * @param {HTMLInputElement} input
 * @param {HTMLElement} message
 * @param {string} text
 * @param {string} kind
 */
function tell(input, message, text, kind) {
  if (message.dataset.text !== text + kind) message.replaceChildren(text);
  else for (const button of message.querySelectorAll("button")) button.remove();
  message.dataset.text = text + kind;
  message.dataset.kind = kind;
  input.setAttribute("aria-invalid", String(kind === "wrong"));
}
