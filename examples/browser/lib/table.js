/**
 * Tables of results: a line a test ("Test Name,Result,Units"), or a column a test and a line a
 * person. Any separator, a title before the header, decimal commas, names in six languages.
 */

import { dsvFormat } from "d3-dsv";
import { findOrder } from "./dates.js";
import { foldName } from "./folding.js";
import { findTest, means, readHeader, readSex } from "./names.js";
import { findDecimal, readCell } from "./numbers.js";
import { gather } from "./results.js";

/** @typedef {import("./sidecar.js").Sidecar} Sidecar */
/** @typedef {import("./results.js").Person} Person */
/** @typedef {import("./results.js").Result} Result */
/** @typedef {import("./results.js").Unused} Unused */
/** @typedef {{id: string, age: number | null, sex: number | null, birth: string,
 *   results: Result[]}} Told */

const PARTS = /** @type {const} */ ([
  ...["person", "test", "code", "value", "comparator", "unit", "specimen", "time"],
  ...["age", "sex", "birth"],
]);
const MOST_TITLE_LINES = 20;

/**
 * @param {Sidecar} sidecar
 * @param {string} text
 * @returns {{people: Person[], unused: Unused[]} | null} null where the text is no table of
 *   results; `unused` are tests that are not of the panel, each once
 */
export function readTable(sidecar, text) {
  const body = text.replace(/^\ufeff/u, "").replace(/^sep=.\r?\n/u, "");
  for (const separator of [",", ";", "\t", "|"]) {
    if (!body.includes(separator)) continue;
    const rows = dsvFormat(separator)
      .parseRows(body)
      .map((row) => row.map((cell) => cell.trim()));
    for (const [place, header] of rows.slice(0, MOST_TITLE_LINES).entries()) {
      const lines = rows.slice(place + 1).filter((row) => row.some(Boolean));
      const found = readLong(sidecar, header, lines) ?? readWide(sidecar, header, lines);
      if (found) return found;
    }
  }
  return null;
}

/**
 * @param {Sidecar} sidecar
 * @param {string[]} header
 * @returns {Record<string, number>} the column of each part, each for one part only
 */
function findColumns(sidecar, header) {
  /** @type {Record<string, number>} */
  const columns = {};
  for (const part of PARTS) {
    const names = sidecar.words.columns[part].map(foldName);
    const known = header
      .map((name, place) => ({ rank: names.indexOf(foldName(name)), place }))
      .filter(({ rank, place }) => rank >= 0 && !Object.values(columns).includes(place))
      .sort((a, b) => a.rank - b.rank);
    if (known.length > 0) columns[part] = known[0].place;
  }
  return columns;
}

/**
 * A line a test.
 *
 * @param {Sidecar} sidecar
 * @param {string[]} header
 * @param {string[][]} lines
 */
function readLong(sidecar, header, lines) {
  if (header.some((name) => readHeader(sidecar, name))) return null;
  const columns = findColumns(sidecar, header);
  if (!("value" in columns) || !("test" in columns || "code" in columns)) return null;
  const style = findStyle(lines, columns);
  /** @type {Map<string, Told>} */
  const people = new Map();
  /** @type {Map<string, Unused>} */
  const others = new Map();
  for (const [place, line] of lines.entries()) {
    /** @param {string} part */
    const cell = (part) => (part in columns ? (line[columns[part]] ?? "") : "");
    const told = findPerson(people, cell("person"));
    learn(sidecar, told, cell("age"), cell("sex"), cell("birth"), header[columns.sex]);
    const label = cell("test") || cell("code");
    const value = [cell("comparator"), cell("value")].filter(Boolean).join(" ");
    if (means(sidecar, "age", label)) learn(sidecar, told, value, "", "");
    else if (means(sidecar, "sex", label)) learn(sidecar, told, "", value, "", label);
    else if (means(sidecar, "birth", label)) learn(sidecar, told, "", "", value);
    else {
      const { biomarker, units, refused } = findTest(sidecar, cell("test"), cell("code"));
      const where = `${place + 2}`;
      if (biomarker)
        told.results.push({
          biomarker,
          label,
          text: value,
          unit: cell("unit"),
          date: cell("time"),
          specimen: cell("specimen"),
          where,
          units,
        });
      else if (label && !others.has(label)) others.set(label, describeOther(label, where, refused));
    }
  }
  return finish(sidecar, people, others, style);
}

/**
 * A column a test.
 *
 * @param {Sidecar} sidecar
 * @param {string[]} header
 * @param {string[][]} lines
 */
function readWide(sidecar, header, lines) {
  const columns = findColumns(sidecar, header);
  const taken = new Set(Object.values(columns));
  const tests = header.flatMap((name, place) => {
    const found =
      taken.has(place) && !means(sidecar, "person", name) ? undefined : readHeader(sidecar, name);
    if (!found) return [];
    const beside = header.findIndex((other) =>
      ["unit", "units"].some((word) => foldName(other) === foldName(`${name} ${word}`)),
    );
    // The panel's own names are in the panel's units.
    const unit = found.unit || (name === found.biomarker.name ? found.biomarker.unit : "");
    return [{ ...found, unit, name, place, beside }];
  });
  const isPerson = "age" in columns || "sex" in columns || "birth" in columns;
  if (lines.length === 0 || tests.length < (isPerson ? 1 : 2)) return null;
  const style = findStyle(lines, columns);
  /** @type {Map<string, Told>} */
  const people = new Map();
  for (const [row, line] of lines.entries()) {
    /** @param {string} part */
    const cell = (part) => (part in columns ? (line[columns[part]] ?? "") : "");
    const told = findPerson(people, cell("person") || (lines.length > 1 ? `${row + 1}` : ""));
    learn(sidecar, told, cell("age"), cell("sex"), cell("birth"), header[columns.sex]);
    for (const { biomarker, unit, name, place, beside } of tests)
      if (line[place])
        told.results.push({
          biomarker,
          label: name,
          text: line[place],
          unit: (beside >= 0 && line[beside]) || unit,
          date: cell("time"),
          where: `${row + 2}`,
        });
  }
  const used = new Set([...taken, ...tests.flatMap(({ place, beside }) => [place, beside])]);
  const others = new Map(
    header.flatMap((label, place) =>
      label && !used.has(place) ? [[label, describeOther(label, "1")]] : [],
    ),
  );
  return finish(sidecar, people, others, style);
}

/**
 * @param {string[][]} lines
 * @param {Record<string, number>} columns
 * @returns {import("./results.js").Style}
 */
const findStyle = (lines, columns) => ({
  decimal: findDecimal(
    "value" in columns ? lines.map((line) => line[columns.value] ?? "") : lines.flat(),
  ),
  order: findOrder(
    ["time", "birth"].flatMap((part) =>
      part in columns ? lines.map((line) => line[columns[part]] ?? "") : [],
    ),
  ),
});

/** @param {string} label @param {string} where @param {string} [refused] LOINC code @returns {Unused} */
const describeOther = (label, where, refused) => ({
  label,
  where,
  code: refused ? "code" : "other_test",
  params: refused ? { code: refused } : /** @type {Record<string, string>} */ ({}),
});

/** @param {Map<string, Told>} people @param {string} id @returns {Told} */
function findPerson(people, id) {
  const known = people.get(id);
  if (known) return known;
  const told = { id, age: null, sex: null, birth: "", results: [] };
  people.set(id, told);
  return told;
}

/**
 * @param {Sidecar} sidecar
 * @param {Told} told
 * @param {string} age @param {string} sex @param {string} birth
 * @param {string} [label] of the sex
 */
function learn(sidecar, told, age, sex, birth, label) {
  told.age ??= readCell(sidecar, age, null).value;
  told.sex ??= sex ? readSex(sidecar, sex, label) : null;
  told.birth ||= birth;
}

/**
 * @param {Sidecar} sidecar
 * @param {Map<string, Told>} people
 * @param {Map<string, Unused>} others
 * @param {import("./results.js").Style} style
 */
function finish(sidecar, people, others, style) {
  const told = [...people.values()].filter(({ results }) => results.length > 0);
  if (told.length === 0) return null;
  // A line about the person may come without the identifier that the results have.
  const nameless = people.get("");
  if (nameless && nameless.results.length === 0 && told.length === 1)
    Object.assign(told[0], {
      age: told[0].age ?? nameless.age,
      sex: told[0].sex ?? nameless.sex,
      birth: told[0].birth || nameless.birth,
    });
  return { people: told.map((one) => gather(sidecar, one, style)), unused: [...others.values()] };
}
