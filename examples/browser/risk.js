/** The ten-year risk in plain words, and as icons: so many of a hundred people. */

import { drawShape } from "./shapes.js";
import { labelName } from "./sidecar.js";

/** @typedef {import("./model.js").Answer} Answer */

const PLURALS = /** @type {Record<string, string>} */ ({ female: "women", male: "men" });

/**
 * Of how many people risks are counted: of 1000 where one of them is below 1 %. Risks that
 * are compared are of as many: 9 of 1000 passes for more than 1 of 100.
 *
 * @param {number[]} probabilities
 */
export const chooseDenominator = (...probabilities) =>
  Math.min(...probabilities) < 0.01 ? 1000 : 100;

/** @param {number} probability @param {number} of */
function showCount(probability, of) {
  const count = Math.round(probability * of);
  return count === 0 ? `fewer than 1 of ${of}` : `about ${count} of ${of}`;
}

/**
 * @param {import("./sidecar.js").Sidecar} sidecar
 * @param {number} age
 * @param {number} sex
 * @param {Answer} answer
 * @param {Answer} typical of the typical person of that age and sex
 */
export function describeRisk(sidecar, age, sex, answer, typical) {
  const people = PLURALS[sidecar.sexes[sex]] ?? "people";
  const of = chooseDenominator(answer.mortality_10y, typical.mortality_10y);
  return (
    `Of ${people} of ${Number(age.toFixed(1))} with values like these, ` +
    `${showCount(answer.mortality_10y, of)} die within ten years, of any cause. Of typical ` +
    `${people} of that age it is ${showCount(typical.mortality_10y, of)}.`
  );
}

/**
 * @param {number} probability
 * @param {number} of
 * @returns {SVGSVGElement}
 */
export function drawIcons(probability, of) {
  const count = Math.round(probability * of);
  const columns = of === 100 ? 20 : 50;
  const svg = drawShape("svg", {
    class: "icons",
    role: "img",
    "aria-label": `${showCount(probability, of)} people`,
    viewBox: `0 0 ${columns * 10} ${(of / columns) * 16}`,
  });
  for (let person = 0; person < of; person++) {
    const x = (person % columns) * 10;
    const y = Math.floor(person / columns) * 16;
    svg.append(
      drawShape("path", {
        class: person < count ? "dies" : "lives",
        // A head and shoulders.
        d: `M${x + 5} ${y + 1.5}a2.5 2.5 0 1 1-.01 0zM${x + 1} ${y + 14.5}v-4a4 4 0 0 1 8 0v4z`,
      }),
    );
  }
  return svg;
}

/**
 * Rows of the causes and of all others, in percent.
 *
 * @param {import("./sidecar.js").Sidecar} sidecar
 * @param {Answer} answer
 * @returns {[string, string][]}
 */
export function listCauses(sidecar, answer) {
  const named = answer.cause_risk_10y.map((risk, place) => ({
    label: labelName(sidecar, sidecar.cause_names[place]),
    risk,
  }));
  const others = answer.mortality_10y - named.reduce((sum, { risk }) => sum + risk, 0);
  const label = named.length ? "Other causes" : "All causes";
  return [...named, { label, risk: Math.max(0, others) }].map(
    ({ label, risk }) => [label, showPercent(risk)],
  );
}

/** @param {number} probability */
function showPercent(probability) {
  const percent = 100 * probability;
  if (percent < 0.1) return "< 0.1 %";
  return `${percent < 10 ? percent.toFixed(1) : percent.toFixed(0)} %`;
}
