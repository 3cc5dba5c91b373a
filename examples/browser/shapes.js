/** SVG shapes. Places are shares of the width, so that text keeps its size on a phone. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number>} attributes
 * @param {(Node | string)[]} children
 * @returns {SVGElementTagNameMap[Tag]}
 */
export function drawShape(tag, attributes, ...children) {
  const shape = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, String(value));
  shape.append(...children);
  return shape;
}

/**
 * A linear scale to percent of the width.
 *
 * @param {number} low
 * @param {number} high
 * @returns {(value: number) => number}
 */
export const scaleToPercent = (low, high) => (value) => (100 * (value - low)) / (high - low);

/**
 * @param {number} years
 * @returns {string} signed, with a true minus
 */
export function showYears(years) {
  const text = Math.abs(years).toFixed(1);
  if (Number(text) === 0) return "0.0";
  return (years < 0 ? "\u2212" : "+") + text;
}
