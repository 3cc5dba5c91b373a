/** The waterfall from age to biological age, and the systems: tables with a bar a row. */

import { drawShape, scaleToPercent, showYears } from "./shapes.js";
import { labelName } from "./sidecar.js";

/** @typedef {import("./sidecar.js").Sidecar} Sidecar */
/** @typedef {import("./model.js").Answer} Answer */
/** @typedef {{label: string, note?: string, from: number, to: number, years: string,
 *   kind?: string}} Bar */

/**
 * That of the typical values, then the others by size, each starting where the one before
 * ended.
 *
 * @param {Sidecar} sidecar
 * @param {number} age
 * @param {Answer} answer
 * @param {Record<string, string>} notes what is said under a biomarker's name
 * @returns {Bar[]}
 */
export function stackContributions(sidecar, age, answer, notes) {
  /** @type {Bar[]} */
  const bars = [];
  let reached = age;
  const [typical, ...named] = answer.contributions.map((years, place) => ({
    name: sidecar.contribution_names[place],
    years,
  }));
  named.sort((a, b) => Math.abs(b.years) - Math.abs(a.years));
  for (const { name, years } of [typical, ...named]) {
    bars.push({
      label: labelName(sidecar, name),
      note: name === typical.name ? describeTypical(years) : notes[name],
      from: reached,
      to: reached + years,
      years: showYears(years),
    });
    reached += years;
  }
  /** @param {string} label @param {number} years @returns {Bar} */
  const whole = (label, years) => ({
    label,
    from: years,
    to: years,
    years: years.toFixed(1),
    kind: "whole",
  });
  return [whole("Your age", age), ...bars, whole("Biological age", reached)];
}

/**
 * What the bar of the typical values means.
 *
 * @param {number} years
 */
const describeTypical = (years) =>
  "people with all known values at the median die " +
  `${years < 0 ? "less" : "more"} than the typical person`;

/**
 * @param {Sidecar} sidecar
 * @param {Answer} answer
 * @returns {Bar[]}
 */
export function listSystems(sidecar, answer) {
  return sidecar.system_names.map((name, place) => {
    const years = answer.system_contributions[place];
    return {
      label: labelName(sidecar, name),
      note: sidecar.systems[name].map((member) => labelName(sidecar, member)).join(", "),
      from: 0,
      to: years,
      years: showYears(years),
    };
  });
}

/**
 * @param {HTMLTableElement} table
 * @param {Bar[]} bars
 * @param {number} origin where the dotted line stands
 */
export function fillBars(table, bars, origin) {
  const ends = bars.flatMap((bar) => [bar.from, bar.to]);
  // Half a year on either side, so that a person without differences has no giant bars.
  const place = scaleToPercent(Math.min(...ends) - 0.5, Math.max(...ends) + 0.5);
  const template = /** @type {HTMLTemplateElement} */ (
    document.getElementById("bar-row-template")
  );
  table.tBodies[0].replaceChildren(
    ...bars.map((bar) => {
      const line = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
      const [label, drawn, years] = /** @type {HTMLTableRowElement} */ (line.firstElementChild)
        .cells;
      label.append(bar.label);
      if (bar.note) {
        const note = document.createElement("small");
        note.textContent = bar.note;
        label.append(note);
      }
      years.textContent = bar.years;
      line.firstElementChild?.classList.toggle("whole", bar.kind === "whole");
      drawn.append(drawBar(bar, bars, place, origin));
      return line;
    }),
  );
}

/**
 * @param {Bar} bar
 * @param {Bar[]} bars all of them
 * @param {(value: number) => number} place
 * @param {number} origin
 */
function drawBar(bar, bars, place, origin) {
  const svg = drawShape("svg", { "aria-hidden": "true" });
  /** @param {string} kind @param {number} years @param {string} y1 @param {string} y2 */
  const addLine = (kind, years, y1, y2) => {
    const x = `${place(years)}%`;
    svg.append(drawShape("line", { class: kind, x1: x, x2: x, y1, y2 }));
  };
  const row = bars.indexOf(bar);
  addLine("origin", origin, "0%", "100%");
  if (bars[row - 1]?.to === bar.from) addLine("link", bar.from, "0%", "50%");
  if (bars[row + 1]?.from === bar.to) addLine("link", bar.to, "50%", "100%");
  const [left, right] = [bar.from, bar.to].map(place).sort((a, b) => a - b);
  if (bar.kind === "whole")
    svg.append(drawShape("circle", { class: "estimate", cx: `${left}%`, cy: "50%", r: 6 }));
  else
    svg.append(
      drawShape("rect", {
        class: bar.to > bar.from ? "older" : "younger",
        x: `${left}%`,
        width: `${right - left}%`,
        y: "50%",
        height: 18,
        transform: "translate(0 -9)",
      }),
    );
  return svg;
}
