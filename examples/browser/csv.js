/**
 * One person's values from CSV, in either of two forms: a line a test, with columns such as
 * test, value, unit, date; or a column a test, "creatinine (mg/dL)", and one line.
 */

import { dsvFormat } from "d3-dsv";
import { findTomorrow, readTableTime } from "./dates.js";
import { saysTooLittle } from "./limits.js";
import { describeImplausible, findUnit, parseNumber, toPanel, UnitError } from "./units.js";

/** @typedef {import("./sidecar.js").Sidecar} Sidecar */
/** @typedef {import("./sidecar.js").Biomarker} Biomarker */
/** @typedef {{label: string, text: string, unit: string, date: string}} Cell */
/** @typedef {{label: string, message: string}} Note */
/** @typedef {{biomarker: Biomarker, value: number, unit: string, side?: string}} Value */

/** A text that is not a table of one person. */
export class TableError extends Error {}

const COLUMNS = {
  label: ["test", "name", "biomarker", "analyte", "loinc", "code"],
  text: ["value", "result"],
  unit: ["unit", "units"],
  date: ["date", "drawn", "collected"],
};

/**
 * @param {Sidecar} sidecar
 * @param {string} text
 * @returns {{age: number | null, sex: number | null,
 *   given: Record<string, {value: number, unit: string}>, days: Record<string, string>,
 *   notes: Note[]}} `days` of the values that have one
 * @throws {TableError} it is not a table of one person
 */
export function readCsv(sidecar, text) {
  /** @type {Note[]} */
  const notes = [];
  /** @type {{age: number | null, sex: number | null}} */
  const person = { age: null, sex: null };
  /** @type {Map<Biomarker, Cell[]>} */
  const tests = new Map();
  for (const cell of listCells(text)) {
    const biomarker = findBiomarker(sidecar, cell.label);
    if (biomarker) tests.set(biomarker, [...(tests.get(biomarker) ?? []), cell]);
    else if (fold(cell.label) === "age") person.age = readAge(cell, notes);
    else if (fold(cell.label) === "sex") person.sex = readSex(sidecar, cell, notes);
    else notes.push({ label: cell.label, message: "is not one of the nine: not used" });
  }
  if (tests.size === 0)
    throw new TableError(
      `expected a test of the panel (${sidecar.panel.map(({ name }) => name).join(", ")}), found none`,
    );
  /** @type {Record<string, {value: number, unit: string}>} */
  const given = {};
  /** @type {Record<string, string>} */
  const days = {};
  for (const [biomarker, cells] of tests) {
    const [{ label }] = cells;
    try {
      const cell = pickNewest(cells, notes);
      const { value, unit, side } = readValue(sidecar, biomarker, cell);
      if (side) checkLimit(sidecar, biomarker, { biomarker, value, unit, side }, person);
      if (!cell.unit) notes.push({ label, message: `has no unit: read as ${unit}, check it` });
      if (side) notes.push({ label, message: `is ${cell.text}: the limit is used` });
      given[biomarker.name] = { value, unit };
      const time = readDate(cell);
      if (time) days[biomarker.name] = time.day;
      else if (cell.date)
        notes.push({ label, message: `has a date that cannot be used: ${cell.date.slice(0, 40)}` });
    } catch (error) {
      if (!(error instanceof RangeError || error instanceof UnitError)) throw error;
      notes.push({ label, message: `${error.message}: not used` });
    }
  }
  return { ...person, given, days, notes };
}

/**
 * @param {string} text
 * @returns {Cell[]} those with a value
 */
function listCells(text) {
  const [first] = text.split(/\r?\n/u, 1);
  const delimiter = [",", ";", "\t"].reduce((best, other) =>
    first.split(other).length > first.split(best).length ? other : best,
  );
  const [header, ...lines] = dsvFormat(delimiter)
    .parseRows(text.replace(/^\ufeff/u, ""))
    .map((row) => row.map((field) => field.trim()))
    .filter((row) => row.some(Boolean));
  if (!header || lines.length === 0)
    throw new TableError("expected a header and a line of values, found less");
  const place = Object.fromEntries(
    Object.entries(COLUMNS).map(([part, names]) => [
      part,
      header.findIndex((column) => names.includes(fold(column))),
    ]),
  );
  if (place.label >= 0 && place.text >= 0)
    return lines
      .map((line) => ({
        label: line[place.label] ?? "",
        text: line[place.text] ?? "",
        unit: line[place.unit] ?? "",
        date: line[place.date] ?? "",
      }))
      .filter((cell) => cell.text);
  if (lines.length > 1)
    throw new TableError(
      `expected one person, however: ${lines.length} lines, and no columns test and value`,
    );
  return header
    .map((column, at) => ({ ...splitUnit(column), text: lines[0][at] ?? "", date: "" }))
    .filter((cell) => cell.text);
}

/** @param {string} column such as "creatinine (mg/dL)" */
function splitUnit(column) {
  const open = column.search(/[([]/u);
  if (open < 0 || !")]".includes(column.slice(-1))) return { label: column, unit: "" };
  return { label: column.slice(0, open).trimEnd(), unit: column.slice(open + 1, -1) };
}

/** @param {string} text */
const fold = (text) => text.toLowerCase().replace(/[\s_-]+/gu, "_");

/**
 * @param {Sidecar} sidecar
 * @param {string} label a name, a label or a LOINC code
 */
function findBiomarker({ panel, fhir }, label) {
  const code = Object.hasOwn(fhir.codes, label) ? fhir.codes[label] : undefined;
  return panel.find(
    (item) =>
      [item.name, item.label].map(fold).includes(fold(label)) ||
      (code?.biomarker === item.name && !code.refused),
  );
}

/**
 * @param {Cell[]} cells of one test
 * @param {Note[]} notes
 * @throws {RangeError} their dates do not say which it is
 */
function pickNewest(cells, notes) {
  if (cells.length === 1) return cells[0];
  const dated = cells.map((cell) => ({ cell, time: readDate(cell) }));
  /** @param {(typeof dated)[0]} other */
  const when = ({ cell: { date }, time }) => {
    if (time !== null) return time.when;
    const seen = date.slice(0, 40) || "none";
    throw new RangeError(
      `is given twice, with a date that does not say which is the newest: ${seen}`,
    );
  };
  const newest = dated.reduce((latest, other) => Math.max(latest, when(other)), -Infinity);
  const [first, ...others] = dated.filter((other) => when(other) === newest);
  const { label, text } = first.cell;
  if (others.length > 0) notes.push({ label, message: `is given twice: ${text} is used` });
  return first.cell;
}

/** @param {Cell} cell */
function readDate({ date }) {
  const time = readTableTime(date);
  return time !== null && time.day <= findTomorrow() ? time : null;
}

/**
 * @param {Sidecar} sidecar
 * @param {Biomarker} biomarker
 * @param {Cell} cell
 */
function readValue(sidecar, biomarker, { text, unit: spelling }) {
  const [, comparator, number] = /** @type {string[]} */ (/^([<>]=?)?\s*(.*)$/su.exec(text));
  const unit = spelling ? findUnit(sidecar, biomarker, spelling) : biomarker.unit;
  const value = parseNumber(number);
  const problem = describeImplausible(sidecar, biomarker, value, unit);
  if (problem) throw new RangeError(problem);
  return { value, unit, side: comparator && sidecar.fhir.comparators[comparator] };
}

/**
 * @param {Sidecar} sidecar
 * @param {Biomarker} biomarker
 * @param {Value} limit
 * @param {{age: number | null, sex: number | null}} person
 */
function checkLimit(sidecar, { name }, { value, unit, side = "" }, { age, sex }) {
  if (age === null || sex === null)
    throw new RangeError("is a limit, which needs an age and a sex in the table to be judged");
  const inPanel = toPanel(sidecar.units.conversions[name][unit], value);
  if (saysTooLittle(sidecar, name, side, inPanel, age, sex))
    throw new RangeError(`${side} ${value} ${unit} says too little, so are most`);
}

/**
 * @param {Cell} cell
 * @param {Note[]} notes
 */
function readAge({ label, text }, notes) {
  try {
    return parseNumber(text);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    notes.push({ label, message: error.message });
    return null;
  }
}

/**
 * @param {Sidecar} sidecar
 * @param {Cell} cell
 * @param {Note[]} notes
 */
function readSex({ sexes }, { label, text }, notes) {
  const said = text.toLowerCase();
  const code = sexes.findIndex((name, place) => [name, name[0], String(place)].includes(said));
  if (code >= 0) return code;
  notes.push({ label, message: `expected ${sexes.join(" or ")}, however: ${text}` });
  return null;
}
