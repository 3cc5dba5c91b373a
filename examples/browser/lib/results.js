/**
 * Results of a laboratory, from a table or a text, to the values of one person. A usable result is a
 * reading; any other has a code, so that a page can say why in its language.
 */

import { computeAge, findOld, findTomorrow, readDay } from "./dates.js";
import { saysTooLittle } from "./limits.js";
import { isBlood, isShared } from "./names.js";
import { readCell } from "./numbers.js";
import { findUnit, guessUnit, isAccepted, toPanel, UnitError } from "./units.js";

/** @typedef {import("./sidecar.js").Sidecar} Sidecar */
/** @typedef {import("./sidecar.js").Biomarker} Biomarker */
/**
 * A result as it is written.
 *
 * @typedef {object} Result
 * @property {Biomarker} biomarker
 * @property {string} label name of the test
 * @property {string} text of the value
 * @property {string} unit "" where none is given
 * @property {string} date "" where none is given
 * @property {string} where line or row
 * @property {string} [specimen]
 * @property {string[]} [units] that its code allows
 */
/**
 * A value that can be used. `doubts` are "unit_guessed", "limit_used", "implausible".
 *
 * @typedef {{name: string, value: number, unit: string, label: string, source: string,
 *   day: string | null, side: string, doubts: string[]}} Reading
 */
/**
 * What is not used and why; `code` and `params` are for words in any language.
 *
 * @typedef {{label: string, where: string, code: string,
 *   params: Record<string, string | number>}} Unused
 */
/**
 * @typedef {{id: string, age: number | null, sex: number | null, drawn: string | null,
 *   readings: Reading[], unused: Unused[]}} Person `drawn` is the day of the newest value.
 */
/** @typedef {{decimal: "." | "," | null, order: "mdy" | "dmy" | null}} Style of a file */
/** @typedef {Reading & {when: number | null, date: string, where: string}} Dated */

/** Why a result is not used. */
class UnusedError extends Error {
  /** @param {string} code @param {Record<string, string | number>} params */
  constructor(code, params = {}) {
    super(code);
    this.code = code;
    this.params = params;
  }
}

/**
 * @param {Sidecar} sidecar
 * @param {{id: string, age: number | null, sex: number | null, birth: string,
 *   results: Result[]}} told
 * @param {Style} style
 * @returns {Person}
 */
export function gather(sidecar, { id, age: toldAge, sex, birth, results }, style) {
  /** @type {Unused[]} */
  const unused = [];
  /** @type {Dated[]} */
  const read = [];
  for (const result of results)
    attempt(unused, result, () => read.push(readResult(sidecar, result, style)));
  const newest = sidecar.panel.flatMap(({ name }) =>
    pickNewest(
      sidecar,
      read.filter((reading) => reading.name === name),
      unused,
    ),
  );
  const days = Object.fromEntries(newest.flatMap(({ name, day }) => (day ? [[name, day]] : [])));
  const drawn = Object.values(days).sort().at(-1) ?? null;
  const born = birth ? readDay(birth, { ...style, months: sidecar.words.months }) : null;
  const today = new Date().toISOString().slice(0, 10);
  const age = born ? computeAge(born.day, drawn ?? today) : toldAge;
  const old = findOld(days);
  const readings = newest.flatMap(({ when, date, where, ...reading }) => {
    if (reading.side && !isAccountable(sidecar, reading, age, sex)) {
      const params = { value: `${reading.side === "below" ? "<" : ">"} ${reading.value}` };
      unused.push({ label: reading.label, where, code: "limit", params });
      return [];
    }
    if (Object.hasOwn(old, reading.name)) {
      unused.push({ label: reading.label, where, code: "old", params: {} });
      return [];
    }
    return [reading];
  });
  return { id, age, sex, drawn, readings, unused };
}

/**
 * @param {Sidecar} sidecar
 * @param {Result} result
 * @param {Style} style
 * @returns {Dated}
 */
function readResult(sidecar, result, style) {
  const { biomarker, label, text, date, where, specimen = "", units } = result;
  if (specimen && !isBlood(sidecar, specimen)) throw new UnusedError("specimen", { specimen });
  const cell = readCell(sidecar, text, style.decimal);
  if (cell.isAbsent) throw new UnusedError("no_value", { text });
  const spelling = result.unit || cell.rest;
  const value = cell.value ?? pickReading(sidecar, biomarker, cell.readings, spelling);
  if (value === null) throw new UnusedError("not_a_number", { text: text.slice(0, 40) });
  if (!spelling && isShared(sidecar, label)) throw new UnusedError("no_unit", {});
  const unit = spelling
    ? readUnit(sidecar, biomarker, spelling)
    : guessUnit(sidecar, biomarker, value);
  if (units && !units.includes(unit))
    throw new UnusedError("unit", { unit, units: units.join(", ") });
  const doubts = [];
  if (!spelling && biomarker.units.length > 1) doubts.push("unit_guessed");
  if (cell.comparator) doubts.push("limit_used");
  if (!isAccepted(sidecar, biomarker, value, unit)) doubts.push("implausible");
  const moment = date ? readDay(date, { ...style, months: sidecar.words.months }) : null;
  if (moment && moment.day > findTomorrow()) throw new UnusedError("future", { date });
  return {
    name: biomarker.name,
    value,
    unit,
    label,
    source: [where, label, text, result.unit].filter(Boolean).join(" · "),
    side: cell.comparator ? sidecar.fhir.comparators[cell.comparator] : "",
    day: moment?.day ?? null,
    when: moment?.when ?? null,
    date,
    where,
    doubts,
  };
}

/**
 * Which number was meant by one that may be two, as 1,079: the one that is possible.
 *
 * @param {Sidecar} sidecar
 * @param {Biomarker} biomarker
 * @param {number[]} readings
 * @param {string} spelling
 */
function pickReading(sidecar, biomarker, readings, spelling) {
  const units = spelling ? [readUnit(sidecar, biomarker, spelling)] : biomarker.units;
  const possible = readings.filter((value) =>
    units.some((unit) => isAccepted(sidecar, biomarker, value, unit)),
  );
  return possible.length === 1 ? possible[0] : null;
}

/**
 * @param {Sidecar} sidecar
 * @param {Biomarker} biomarker
 * @param {string} spelling
 */
function readUnit(sidecar, biomarker, spelling) {
  try {
    return findUnit(sidecar, biomarker, spelling);
  } catch (error) {
    if (!(error instanceof UnitError)) throw error;
    const code = error.code === "count" ? "count" : "unit";
    throw new UnusedError(code, { unit: spelling, units: biomarker.units.join(", ") });
  }
}

/** Relative difference up to which two values in two units are one result. */
const SAME = 0.03;

/**
 * The newest result of a test. Where the dates do not say which it is, none is used, unless all
 * say the same.
 *
 * @param {Sidecar} sidecar
 * @param {Dated[]} readings
 * @param {Unused[]} unused
 * @returns {Dated[]} one, or none
 */
function pickNewest(sidecar, readings, unused) {
  if (readings.length <= 1) return readings;
  /** @param {Dated} reading @param {string} code */
  const refuse = ({ label, where, value, unit, date }, code) =>
    unused.push({ label, where, code, params: { value, unit, date: date || "–" } });
  const [first] = readings;
  /** @param {Dated} reading */
  const inPanel = ({ name, value, unit }) => toPanel(sidecar.units.conversions[name][unit], value);
  /** @param {Dated} one @param {Dated} other */
  const isSame = (one, other) =>
    one.day === other.day &&
    (one.unit === other.unit
      ? one.value === other.value
      : Math.abs(inPanel(one) / inPanel(other) - 1) < SAME);
  if (readings.every((reading) => isSame(reading, first))) return [first];
  if (readings.some(({ when }) => when === null)) {
    for (const reading of readings) refuse(reading, "which_is_newest");
    return [];
  }
  const newest = Math.max(...readings.map(({ when }) => Number(when)));
  // Of the same time a number before a limit, and of several numbers the lowest, as in Python.
  const [used, ...tied] = readings
    .filter(({ when }) => when === newest)
    .sort((a, b) => a.side.length - b.side.length || inPanel(a) - inPanel(b));
  for (const reading of readings) if (Number(reading.when) < newest) refuse(reading, "older");
  for (const reading of tied) if (!isSame(reading, used)) refuse(reading, "same_time");
  return [used];
}

/**
 * Whether a limit can be used as the value.
 *
 * @param {Sidecar} sidecar
 * @param {Reading} reading
 * @param {number | null} age
 * @param {number | null} sex
 */
function isAccountable(sidecar, { name, value, unit, side }, age, sex) {
  if (age === null || sex === null) return false;
  const inPanel = toPanel(sidecar.units.conversions[name][unit], value);
  return !saysTooLittle(sidecar, name, side, inPanel, age, sex);
}

/**
 * @param {Unused[]} unused
 * @param {Result} result
 * @param {() => void} step
 */
function attempt(unused, { label, where }, step) {
  try {
    step();
  } catch (error) {
    if (!(error instanceof UnusedError)) throw error;
    unused.push({ label, where, code: error.code, params: error.params });
  }
}
