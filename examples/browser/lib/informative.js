/** Which missing test would narrow the interval most. */

import { findMedian } from "./sidecar.js";

/** @typedef {import("./model.js").Person} Person */
/** @typedef {import("./model.js").Answer} Answer */

/** Normal quantiles of ten equally likely tenths, at the middle of each. */
const SCORES = [-1.645, -1.036, -0.674, -0.385, -0.126, 0.126, 0.385, 0.674, 1.036, 1.645];
/** Normal quantile of 99.9 %, the end of the sidecar's fitted range. */
const RANGE_SCORE = 3.09;

/**
 * Values that a person of an age and sex could have, each equally likely: log-normal on
 * either side of the median, with the fitted range as its 0.1 and 99.9 %. What this person's
 * other biomarkers say about the value is not used.
 *
 * @param {import("./sidecar.js").Sidecar} sidecar
 * @param {string} name
 * @param {number} age
 * @param {number} sex
 */
export function listLikelyValues(sidecar, name, age, sex) {
  const median = findMedian(sidecar, name, age, sex);
  const [low, high] = sidecar.fitted_range[name];
  return SCORES.map((score) => {
    const end = score < 0 ? low : high;
    return median * (end / median) ** (Math.abs(score) / RANGE_SCORE);
  });
}

/**
 * Half width of the interval that is expected with each missing test done, narrowest
 * first: the graph answers for likely results of the test, and the widths are averaged.
 *
 * @param {import("./sidecar.js").Sidecar} sidecar
 * @param {(people: Person[]) => Promise<Answer[]>} predict
 * @param {Person} person
 * @returns {Promise<{name: string, years: number}[]>}
 */
export async function rankMissing(sidecar, predict, person) {
  const trials = sidecar.panel.flatMap(({ name }, place) =>
    Number.isNaN(person.biomarkers[place])
      ? listLikelyValues(sidecar, name, person.age, person.sex).map((value) => ({
          name,
          person: { ...person, biomarkers: person.biomarkers.with(place, value) },
        }))
      : [],
  );
  if (trials.length === 0) return [];
  const answers = await predict(trials.map((trial) => trial.person));
  const names = [...new Set(trials.map((trial) => trial.name))];
  return names
    .map((name) => {
      const widths = answers.filter((_, i) => trials[i].name === name).map(halfWidth);
      return { name, years: widths.reduce((sum, width) => sum + width, 0) / widths.length };
    })
    .sort((a, b) => a.years - b.years);
}

/** @param {Answer} answer */
export const halfWidth = ({ interval: [low, high] }) => (high - low) / 2;
