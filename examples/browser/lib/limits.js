/** Results that are only known to be below or above a limit of the assay. */

import { findMedian } from "./sidecar.js";

/**
 * Whether a limit says too little to be used as the value: where it is not on its side of
 * the median of that age and sex, as with "CRP below 5 mg/L", most people are below it too.
 *
 * @param {import("./sidecar.js").Sidecar} sidecar
 * @param {string} name
 * @param {string} side "below" or "above"
 * @param {number} value in the panel's unit
 * @param {number} age
 * @param {number} sex
 */
export function saysTooLittle(sidecar, name, side, value, age, sex) {
  const median = findMedian(sidecar, name, age, sex);
  return side === "below" ? value > median : value < median;
}
