/**
 * Whether two results of one person differ by more than two blood draws do: the same as
 * `henaw score --change` computes.
 */

/** Normal quantile of a two-sided 95 %. */
const SCORE = 1.96;

/**
 * @param {{biological_age: number, draw_sd: number, age: number}} before
 * @param {{biological_age: number, draw_sd: number, age: number}} after
 * @returns {{change: number, noise: number, isBeyondNoise: boolean}} years; `change` is that of
 *   the gap, biological age less age: what is left once the time between the draws is taken off
 */
export function compareDraws(before, after) {
  const change = after.biological_age - after.age - (before.biological_age - before.age);
  const noise = SCORE * Math.hypot(before.draw_sd, after.draw_sd);
  return { change, noise, isBeyondNoise: Math.abs(change) > noise };
}
