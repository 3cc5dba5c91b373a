/**
 * Why an answer is not reliable. The model always computes numbers: it is the page that
 * shows none of them where `reliable` is false, and says this instead.
 */

import { fromPanel } from "./units.js";

/** @typedef {import("./sidecar.js").Sidecar} Sidecar */
/** @typedef {import("./model.js").Person} Person */
/** @typedef {import("./model.js").Answer} Answer */
/** @typedef {{code: "critical_value" | "age_outside_fitted" | "nothing_known" | "unlike_fitted",
 *   message: string}} Reason */

/**
 * @param {Sidecar} sidecar
 * @param {Person} person
 * @param {Answer} answer
 * @param {(name: string) => string} unitOf the unit that a biomarker is shown in
 * @returns {Reason[]} none where the answer is reliable
 */
export function listReasons(sidecar, person, answer, unitOf) {
  if (answer.reliable) return [];
  /** @type {Reason[]} */
  const reasons = sidecar.panel.flatMap(({ name, label }, place) => {
    if (!answer.critical[place]) return [];
    const message = describeCritical(sidecar, name, person.biomarkers[place], unitOf(name));
    return [{ code: "critical_value", message: `${label} ${message}` }];
  });
  const [first, last] = sidecar.fitted_ages;
  if (answer.age_out_of_range)
    reasons.push({
      code: "age_outside_fitted",
      message:
        `Age ${showDigits(person.age, 6)} is outside ${first} to ${last} years, the ages of the ` +
        "people the model was fitted on. At this age its answer would be a guess.",
    });
  if (answer.imputed.every(Boolean))
    reasons.push({
      code: "nothing_known",
      message:
        "No biomarker is given, so there is nothing to compute an age from. Give at least one.",
    });
  if (reasons.length === 0)
    reasons.push({
      code: "unlike_fitted",
      message:
        "The values together are unlike those of anybody the model was fitted on. Check each " +
        "value and its unit. If they are right, ask a doctor what they mean.",
    });
  return reasons;
}

/**
 * @param {Sidecar} sidecar
 * @param {string} name
 * @param {number} value in the panel's unit
 * @param {string} unit to show it in
 */
function describeCritical(sidecar, name, value, unit) {
  const [low, high] = sidecar.critical_limits[name];
  // By the nearer one: the limits are rounded, and the model has judged already.
  const isLow = high === null || (low !== null && value < (low + high) / 2);
  const limit = /** @type {number} */ (isLow ? low : high);
  /** @param {number} number @param {number} digits */
  const show = (number, digits) =>
    `${showDigits(fromPanel(sidecar.units.conversions[name][unit], number), digits)} ${unit}`;
  return (
    `${show(value, 6)} is ${isLow ? "below" : "above"} ${show(limit, 4)}. Such a value needs a ` +
    "doctor, not a calculator: show it to one soon, if none has seen it."
  );
}

/** @param {number} number @param {number} digits significant ones at most */
const showDigits = (number, digits) => String(Number(number.toPrecision(digits)));
