/**
 * Why an answer is not reliable. The model always computes numbers. Programs must not show them where
 * `reliable` is false, and say the reason instead.
 */

/** @typedef {import("./sidecar.js").Sidecar} Sidecar */
/** @typedef {import("./model.js").Person} Person */
/** @typedef {import("./model.js").Answer} Answer */
/**
 * @typedef {{code: "critical_value", name: string, value: number, side: "below" | "above",
 *   limit: number} | {code: "age_outside_fitted", age: number, low: number, high: number} |
 *   {code: "nothing_known"} | {code: "unlike_fitted"}} Reason Values are in the panel's unit.
 */

/**
 * @param {Sidecar} sidecar
 * @param {Person} person
 * @param {Answer} answer
 * @returns {Reason[]} none where the answer is reliable
 */
export function listReasons(sidecar, person, answer) {
  if (answer.reliable) return [];
  /** @type {Reason[]} */
  const reasons = sidecar.panel.flatMap(({ name }, place) =>
    answer.critical[place] ? [describeCritical(sidecar, name, person.biomarkers[place])] : [],
  );
  const [low, high] = sidecar.fitted_ages;
  if (answer.age_out_of_range)
    reasons.push({ code: "age_outside_fitted", age: person.age, low, high });
  if (answer.imputed.every(Boolean)) reasons.push({ code: "nothing_known" });
  return reasons.length > 0 ? reasons : [{ code: "unlike_fitted" }];
}

/**
 * @param {Sidecar} sidecar
 * @param {string} name
 * @param {number} value in the panel's unit
 * @returns {Reason}
 */
function describeCritical(sidecar, name, value) {
  const [low, high] = sidecar.critical_limits[name];
  // By the nearer one: the limits are rounded, and the model has judged already.
  const isLow = high === null || (low !== null && value < (low + high) / 2);
  const limit = /** @type {number} */ (isLow ? low : high);
  return { code: "critical_value", name, value, side: isLow ? "below" : "above", limit };
}
