/**
 * Numbers as people and laboratories write them: "0,9", "1 079", "< 0.3", "13.4 H", "n.d.".
 * The words come from the sidecar, so that Python reads the same.
 */

import { foldName } from "./folding.js";

/** @typedef {import("./sidecar.js").Sidecar} Sidecar */
/**
 * A cell: its comparator, its number and the text after it. `value` is null where it is not a number;
 * then `isAbsent` says whether it is a word for no value, and `readings` has the possible numbers
 * where that is not certain, as in 1,079.
 *
 * @typedef {{comparator: string, value: number | null, rest: string, isAbsent: boolean,
 *   readings: number[]}} Cell
 */

const PLAIN = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/iu;
const COMMA = /^[+-]?\d*,\d+(e[+-]?\d+)?$/iu;
/** A group of thousands has three digits, and does not come after a 0. */
const UNSURE = /^[+-]?[1-9]\d{0,2},\d{3}$/u;
const GROUPED = {
  ".": /^[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?$/u,
  ",": /^[+-]?\d{1,3}(\.\d{3})+(,\d+)?$/u,
};
const NUMBER = /^[+-]?(?:\d[\d.,'’\u00a0\u202f ]*|[.,]\d+)(?:e[+-]?\d+)?/iu;
/** What analysers write after a value that is high, low or checked: "13.4 H", "7.2*", "(L)". */
const FLAG = /^[[(]?(?:h{1,2}|l{1,2}|\*+|!+|\++|↑+|↓+|high|low|abn|a)[\])]?$/iu;

/**
 * @param {Sidecar} sidecar
 * @param {string} text
 * @param {"." | "," | null} [decimal] the decimal mark of the file or the language, where known
 * @returns {Cell}
 */
export function readCell({ words: vocabulary }, text, decimal = null) {
  /** @type {Cell} */
  const cell = { comparator: "", value: null, rest: "", isAbsent: false, readings: [] };
  const typed = text.trim().replaceAll('"', "").trim();
  if (isNoValue(vocabulary, typed)) return { ...cell, isAbsent: true };
  const [comparator, behind] = splitComparator(vocabulary, typed);
  const match = NUMBER.exec(behind);
  if (!match) return cell;
  const written = match[0].trim().replace(/[.,]$/u, "");
  const rest = behind.slice(match[0].length).trim();
  return {
    ...cell,
    comparator,
    rest: FLAG.test(rest) ? "" : rest.replace(/^[[(]?(?:H|L|\*+|↑|↓)[\])]?\s+/u, ""),
    ...readNumber(written, decimal),
  };
}

/**
 * @param {Sidecar["words"]} vocabulary
 * @param {string} text
 * @returns {[string, string]} the comparator's sign, and what follows
 */
function splitComparator({ comparators }, text) {
  const folded = text.toLowerCase();
  const sign = Object.keys(comparators)
    .filter((spelling) => folded.startsWith(spelling))
    .sort((a, b) => b.length - a.length)[0];
  return sign
    ? [comparators[sign].replace(/^=$/u, ""), text.slice(sign.length).trim()]
    : ["", text];
}

/**
 * @param {Sidecar["words"]} vocabulary
 * @param {string} text
 */
export function isNoValue({ no_value }, text) {
  const folded = foldName(text);
  return folded ? no_value.some((word) => foldName(word) === folded) : !/[\p{L}\p{N}]/u.test(text);
}

/**
 * @param {string} text
 * @param {"." | "," | null} decimal
 * @returns {{value: number | null, readings: number[]}}
 */
function readNumber(text, decimal) {
  // Spaces and apostrophes separate thousands: 1 079,6 and 1'079.6.
  const joined = text.replace(/(?<=\d)['’\u00a0\u202f ](?=\d{3}(\D|$))/gu, "");
  const asComma = () => Number(joined.replaceAll(".", "").replace(",", "."));
  const asPoint = () => Number(joined.replaceAll(",", ""));
  /** @param {number} value */
  const sure = (value) => ({ value, readings: [value] });
  if (decimal === "," && GROUPED[","].test(joined)) return sure(asComma());
  if (PLAIN.test(joined)) return sure(Number(joined));
  if (decimal === null && UNSURE.test(joined))
    return { value: null, readings: [asComma(), asPoint()] };
  if (decimal !== "," && GROUPED["."].test(joined)) return sure(asPoint());
  if (COMMA.test(joined) && decimal !== ".") return sure(asComma());
  // With a point as decimal mark a comma can still be one: no group of thousands has two digits.
  if (COMMA.test(joined) && !UNSURE.test(joined)) return sure(asComma());
  if (GROUPED[","].test(joined) && joined.includes(",")) return sure(asComma());
  return { value: null, readings: [] };
}

/**
 * The decimal mark that texts show: a comma or a point where a number has no other reading; null where
 * no number shows it.
 *
 * @param {Iterable<string>} texts
 * @returns {"." | "," | null}
 */
export function findDecimal(texts) {
  let commas = 0;
  let points = 0;
  for (const text of texts) {
    const number = /^[<>≤≥=\s]*([\d.,]+)/u.exec(text.trim())?.[1] ?? "";
    if ((COMMA.test(number) && !UNSURE.test(number)) || /^\d{1,3}(\.\d{3})+,\d+$/u.test(number))
      commas++;
    else if (/^\d*\.(\d{1,2}|\d{4,})$/u.test(number)) points++;
  }
  if (commas === points) return null;
  return commas > points ? "," : ".";
}
