/** Biological age on a scale of years, with its interval and the age in years lived. */

import { drawShape, scaleToPercent } from "./shapes.js";

const MARGIN_YEARS = 4;

/**
 * @param {number} age
 * @param {import("./model.js").Answer} answer
 * @returns {SVGSVGElement}
 */
export function drawScale(age, { biological_age, interval: [low, high] }) {
  const first = Math.floor((Math.min(age, low) - MARGIN_YEARS) / 5) * 5;
  const last = Math.ceil((Math.max(age, high) + MARGIN_YEARS) / 5) * 5;
  const place = scaleToPercent(first, last);
  const step = last - first > 40 ? 10 : 5;

  const svg = drawShape("svg", {
    class: "scale",
    role: "img",
    "aria-label":
      `Scale from ${first} to ${last} years: age ${age.toFixed(1)}, biological age ` +
      `${biological_age.toFixed(1)}, interval ${low.toFixed(1)} to ${high.toFixed(1)}`,
  });
  for (let year = Math.ceil(first / step) * step; year <= last; year += step) {
    const x = `${place(year)}%`;
    svg.append(drawShape("line", { class: "tick", x1: x, x2: x, y1: 52, y2: 60 }));
    // The line of the age lived would strike its label through.
    const isFree = Math.abs(place(year) - place(age)) > 2;
    if (year > first && year < last && isFree)
      svg.append(drawShape("text", { class: "tick-label", x, y: 76 }, String(year)));
  }
  svg.append(
    drawShape("line", { class: "axis", x1: "0%", x2: "100%", y1: 52, y2: 52 }),
    drawShape("rect", {
      class: "interval",
      x: `${place(low)}%`,
      width: `${place(high) - place(low)}%`,
      y: 42,
      height: 20,
      rx: 4,
    }),
    drawShape("line", {
      class: "lived",
      x1: `${place(age)}%`,
      x2: `${place(age)}%`,
      y1: 36,
      y2: 86,
    }),
    drawLabel(place(age), 102, `age ${Number(age.toFixed(1))}`, "lived-label"),
    drawShape("circle", { class: "estimate", cx: `${place(biological_age)}%`, cy: 52, r: 8 }),
    drawLabel(place(biological_age), 26, `biological ${biological_age.toFixed(1)}`, "estimate-label"),
  );
  return svg;
}

/**
 * @param {number} percent
 * @param {number} y
 * @param {string} text
 * @param {string} kind
 */
function drawLabel(percent, y, text, kind) {
  const anchor = percent < 20 ? "start" : percent > 80 ? "end" : "middle";
  return drawShape("text", { class: kind, x: `${percent}%`, y, "text-anchor": anchor }, text);
}
