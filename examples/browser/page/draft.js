/**
 * What a person has typed, or a report has filled in, until it is a result. It lives in this tab:
 * a reload keeps it, closing the tab or "Clear all" forgets it.
 */

import { readCell } from "../lib/numbers.js";
import { fromPanel, guessMeant, isAccepted, isUsual, toPanel } from "../lib/units.js";

/** @typedef {import("../lib/sidecar.js").Sidecar} Sidecar */
/** @typedef {import("../lib/sidecar.js").Biomarker} Biomarker */
/** @typedef {import("../lib/results.js").Reading} Reading */
/** @typedef {import("../words/words.js").Words} Words */
/** @typedef {import("../words/words.js").Key} Key */
/** @typedef {"us" | "si"} System */
/** @typedef {{text: string, unit: string}} Typed */
/**
 * @typedef {object} Draft
 * @property {"" | "none" | "some"} excluded the answer to the question before the start
 * @property {string} age as typed
 * @property {number | null} sex
 * @property {Record<string, Typed>} values as typed, by biomarker
 * @property {string} drawn YYYY-MM-DD, "" where not known
 * @property {string[]} example names of what is still the example's: biomarkers, "age", "sex"
 */
/**
 * What a field says. `value` is in the panel's unit, NaN where there is none that can be used;
 * `meant` are guesses to take with one tap.
 *
 * @typedef {{value: number, kind: "" | "wrong" | "rare", message: string,
 *   meant: Typed[]}} Field
 */

const PLACE = "henaw-draft";

/** @returns {Draft} */
export const emptyDraft = () => ({
  excluded: "",
  age: "",
  sex: null,
  values: {},
  drawn: "",
  example: [],
});

/** @returns {Draft} */
export function loadDraft() {
  try {
    return { ...emptyDraft(), ...JSON.parse(sessionStorage.getItem(PLACE) ?? "{}") };
  } catch {
    return emptyDraft(); // a browser that lets pages keep nothing
  }
}

/** @param {Draft} draft */
export function saveDraft(draft) {
  try {
    sessionStorage.setItem(PLACE, JSON.stringify(draft));
  } catch {
    // It is then kept until the page is left.
  }
}

/** Units of reports from the United States, where they are not the panel's. */
const US = /** @type {Record<string, string>} */ ({
  hba1c: "%",
  creatinine: "mg/dL",
  albumin: "g/dL",
});

/**
 * @param {Biomarker} biomarker
 * @param {System} system
 */
export const unitOf = ({ name, unit }, system) => (system === "us" ? (US[name] ?? unit) : unit);

/**
 * Example values, which show what the page does.
 *
 * @param {Sidecar} sidecar
 * @param {Words} words
 * @param {System} system
 * @returns {Draft}
 */
export function makeExample(sidecar, words, system) {
  /** @type {Record<string, number>} */
  const values = {
    crp: 2.6,
    hba1c: 40,
    creatinine: 75,
    albumin: 43,
    lymphocyte_pct: 30,
    rdw: 13.4,
    ast: 24,
    alt: 27,
  };
  const filled = sidecar.panel.flatMap((biomarker) => {
    const { name } = biomarker;
    if (!(name in values)) return [];
    const unit = unitOf(biomarker, system);
    const text = words.value(fromPanel(sidecar.units.conversions[name][unit], values[name]));
    return [[name, { text, unit }]];
  });
  const person = { age: "54", sex: 0, excluded: /** @type {const} */ ("none"), drawn: "" };
  const example = ["age", "sex", ...filled.map(([name]) => String(name))];
  return { ...person, values: Object.fromEntries(filled), example };
}

/**
 * @param {Sidecar} sidecar
 * @param {Words} words
 * @param {Biomarker} biomarker
 * @param {Typed | undefined} typed
 * @returns {Field}
 */
export function readField(sidecar, words, biomarker, typed) {
  /** @param {number} value @param {Field["kind"]} kind @param {string} message @param {Typed[]} meant */
  const answer = (value, kind = "", message = "", meant = []) => ({ value, kind, message, meant });
  if (!typed?.text.trim()) return answer(NaN);
  const { text, unit } = typed;
  const cell = readCell(sidecar, text, /[.,]\d{3}$/u.test(text) ? null : words.decimal);
  if (cell.value === null) {
    const meant = cell.readings
      .filter((value) => isAccepted(sidecar, biomarker, value, unit))
      .map((value) => ({ text: words.value(value), unit }));
    const key = cell.readings.length > 0 ? "field.two_numbers" : "field.not_a_number";
    return answer(NaN, "wrong", words.say(key), meant);
  }
  const { value } = cell;
  const guess = guessMeant(sidecar, biomarker, value, unit);
  const meant = guess ? [{ text: words.value(guess.value), unit: guess.unit }] : [];
  if (cell.comparator)
    return answer(NaN, "wrong", words.say("field.limit"), [{ text: words.value(value), unit }]);
  /** @param {number} bound in the panel's unit */
  const show = (bound) => words.value(fromPanel(conversion, bound));
  const conversion = sidecar.units.conversions[biomarker.name][unit];
  const converted = toPanel(conversion, value);
  if (!isAccepted(sidecar, biomarker, value, unit)) {
    const places = { low: show(biomarker.minimum), high: show(biomarker.maximum), unit };
    return answer(NaN, "wrong", words.say("field.outside", places), meant);
  }
  if (isUsual(sidecar, biomarker, value, unit)) return answer(converted);
  const [low, high] = sidecar.fitted_range[biomarker.name];
  const places = { low: show(low), high: show(high), unit };
  return answer(converted, "rare", words.say("field.rare", places), meant);
}

/**
 * Age in years, null where it is missing or cannot be used.
 *
 * @param {Sidecar} sidecar
 * @param {Words} words
 * @param {string} text
 * @returns {{age: number | null, message: string}}
 */
export function readAge(sidecar, words, text) {
  if (!text.trim()) return { age: null, message: "" };
  const { value, comparator } = readCell(sidecar, text, words.decimal);
  const [low, high] = sidecar.accepted_ages;
  if (value !== null && !comparator && low <= value && value <= high)
    return { age: value, message: "" };
  return { age: null, message: words.say("field.age", { low, high }) };
}

/**
 * The person of a draft, or what is missing.
 *
 * @param {Sidecar} sidecar
 * @param {Words} words
 * @param {Draft} draft
 * @returns {{person: import("../lib/model.js").Person | null, missing: string, place: string}}
 *   `missing` says what to do, `place` is the field to go to
 */
export function completeDraft(sidecar, words, draft) {
  /** @param {string} missing @param {string} place */
  const lack = (missing, place) => ({ person: null, missing, place });
  if (draft.excluded !== "none") return lack(words.say("before.missing"), "excluded-none");
  const { age } = readAge(sidecar, words, draft.age);
  if (age === null) return lack(words.say("enter.need_age"), "age");
  if (draft.sex === null) return lack(words.say("enter.need_sex"), "sex-0");
  const fields = sidecar.panel.map((biomarker) =>
    readField(sidecar, words, biomarker, draft.values[biomarker.name]),
  );
  const wrong = sidecar.panel.filter((_, place) => fields[place].kind === "wrong");
  if (wrong.length > 0) {
    const names = wrong.map(({ name, label }) => words.sayAny(`name.${name}`, label)).join(", ");
    return lack(words.say("enter.need_fix", { names }), wrong[0].name);
  }
  const biomarkers = fields.map(({ value }) => value);
  if (biomarkers.every(Number.isNaN))
    return lack(words.say("enter.need_value"), sidecar.panel[0].name);
  return { person: { biomarkers, age, sex: draft.sex }, missing: "", place: "" };
}
