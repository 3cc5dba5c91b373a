/**
 * How much a person's biological age changed between two blood draws, and whether that is noise:
 * the same as `henaw score --change` computes.
 */

/** Normal quantile that leaves 5 % on each side. */
const INTERVAL_SCORE = 1.6448536269514722;

/** @typedef {{biological_age: number, draw_sd: number}} Draw Years. */

/**
 * Each draw has its own noise, `draw_sd`, so the noise of their difference is the root of the sum of
 * the two squares.
 *
 * @param {Draw} before
 * @param {Draw} after
 * @param {number} years between them, which are no change by themselves
 * @returns {{change: number, gapChange: number, low: number, high: number, withinNoise: boolean}}
 *   years; `gapChange` is the change without the time between, with its 90 % interval
 */
export function compareDraws(before, after, years) {
  const change = after.biological_age - before.biological_age;
  const gapChange = change - years;
  const half = INTERVAL_SCORE * Math.hypot(before.draw_sd, after.draw_sd);
  const [low, high] = [gapChange - half, gapChange + half];
  return { change, gapChange, low, high, withinNoise: low <= 0 && high >= 0 };
}
