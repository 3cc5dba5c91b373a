/** Ten-year risks as natural frequencies: so many of a hundred people. */

/** @typedef {import("./model.js").Answer} Answer */

/**
 * The number of people in which risks are counted: 1000 where one risk is below 1 %. Compared risks
 * use the same number, because 9 of 1000 looks like more than 1 of 100.
 *
 * @param {number[]} probabilities
 */
export const chooseDenominator = (...probabilities) =>
  Math.min(...probabilities) < 0.01 ? 1000 : 100;

/**
 * Risks of each cause and of all others, which sum to that of any cause.
 *
 * @param {import("./sidecar.js").Sidecar} sidecar
 * @param {Answer} answer
 * @returns {{cause: string, risk: number}[]} the last one is "other"
 */
export function listCauses({ cause_names }, { mortality_10y, cause_risk_10y }) {
  const named = cause_names.map((cause, place) => ({ cause, risk: cause_risk_10y[place] }));
  const others = mortality_10y - named.reduce((sum, { risk }) => sum + risk, 0);
  return [...named, { cause: "other", risk: Math.max(0, others) }];
}
