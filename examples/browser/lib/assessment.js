/** How a value compares with the usual interval: inside it, outside, or far outside. */

import { findMedian } from "./sidecar.js";

/** @typedef {import("./sidecar.js").Sidecar} Sidecar */
/** @typedef {import("./sidecar.js").Biomarker} Biomarker */
/**
 * `side` is where a value lies: "usual", "low" or "high". `isHarmful`: such a value is a bad sign
 * in that direction. `isFar`: outside the limit by more than the width of the interval, or over
 * twice an upper limit where there is no lower one: a doctor would check it.
 *
 * @typedef {{side: "usual" | "low" | "high", isHarmful: boolean, isFar: boolean,
 *   low: number | null, high: number | null, median: number}} Assessment in the panel's unit
 */

/**
 * @param {Sidecar} sidecar
 * @param {Biomarker} biomarker
 * @param {number} value in the panel's unit
 * @param {{age: number, sex: number}} person
 * @returns {Assessment}
 */
export function assess(sidecar, biomarker, value, { age, sex }) {
  const { harmful, reference, name } = biomarker;
  const [low, high] = [reference.low[sex], reference.high[sex]];
  const median = findMedian(sidecar, name, age, sex);
  const side =
    low !== null && value < low ? "low" : high !== null && value > high ? "high" : "usual";
  const isHarmful = harmful.includes(side);
  const width = (high ?? 0) - (low ?? 0);
  const beyond = side === "high" ? value - (high ?? 0) : (low ?? 0) - value;
  return { side, isHarmful, isFar: isHarmful && beyond > width, low, high, median };
}

/** What people can change by how they live; the others are signs, not levers. */
export const CHANGEABLE = ["hba1c", "crp", "ggt", "alt"];

/**
 * The range over which a value can be moved to see what the model says: the usual values, and up to
 * the person's own. It never goes further out, so that no abnormal value is rewarded.
 *
 * @param {Sidecar} sidecar
 * @param {Biomarker} biomarker
 * @param {number} value in the panel's unit
 * @param {number} sex
 * @returns {{low: number, high: number} | null} null where nothing can be moved
 */
export function findReach(sidecar, { name, reference, harmful }, value, sex) {
  if (!CHANGEABLE.includes(name)) return null;
  const [first, last] = sidecar.fitted_range[name];
  if (!(first <= value && value <= last)) return null; // not given, or beyond what was seen
  const low = Math.max(first, reference.low[sex] ?? first);
  const high = Math.min(last, reference.high[sex] ?? last);
  // Below the usual values there is nothing to gain.
  if (value < low && !harmful.includes("low")) return null;
  return { low: Math.min(low, value), high: Math.max(high, value) };
}
