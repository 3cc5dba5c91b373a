/**
 * Reports as running text: copied from a portal, an e-mail or a PDF, in six languages. A line is
 * "NAME VALUE UNIT ...", in this order, or a name on a line and its value on a line below.
 */

import { findOrder, readDay } from "./dates.js";
import { foldName } from "./folding.js";
import { findBiomarker, findTest, isUnit, readSex } from "./names.js";
import { findDecimal, isNoValue, readCell } from "./numbers.js";
import { gather } from "./results.js";

/** @typedef {import("./sidecar.js").Sidecar} Sidecar */
/** @typedef {import("./sidecar.js").Biomarker} Biomarker */
/** @typedef {import("./results.js").Person} Person */
/** @typedef {import("./results.js").Unused} Unused */
/** @typedef {import("./results.js").Result} Result */
/** @typedef {{text: string, raw: string, where: string}} Line */

const MOST_WORDS_OF_A_NAME = 9;
/** Lines after a name in which its value may be. */
const REACH = 3;
const VALUE = /^[<>≤≥=]{0,2}[+-]?\d/u;
const DATE = String.raw`\d{4}-\d\d?-\d\d?|\d{1,2}[./-]\s?\d{1,2}[./-]\s?\d{4}|\d{1,2}[ .-]\s?\p{L}{3,9}\.?[ ,-]\s?\d{4}|\p{L}{3,9}\.?\s\d{1,2},?\s\d{4}`;
/** What may be between a value and its unit: flags, intervals, an earlier value and its date. */
const BETWEEN =
  /^(?:[[(]?(?:h{1,2}|l{1,2}|\*+|!+|high|low|normal|abnormal|not|estab\.?|a|n)[\])]?|[-–—:|]|to|a|à|bis|tot|[[(]?[<>≤≥]?[\d.,/–-]+[\])]?)$/iu;

/**
 * @param {Sidecar} sidecar
 * @param {string} text
 * @returns {{people: Person[], unused: Unused[]} | null} null where no test of the panel is in it
 */
export function readText(sidecar, text) {
  const attach = makeAttach(sidecar);
  const lines = text
    .split(/\r?\n|\u2028/u)
    .map((raw, place) => ({ text: attach(clean(raw)), raw, where: `${place + 1}` }))
    .filter(({ text: left }) => left);
  const style = {
    decimal: findDecimal(lines.flatMap((line) => line.text.split(/\s+/u).slice(1))),
    order: findOrder([...text.matchAll(new RegExp(DATE, "gu"))].map(([date]) => date)),
  };
  /** @type {Unused[]} */
  const unused = [];
  const people = splitPeople(sidecar, lines).flatMap(({ id, part }) => {
    const results = listResults(sidecar, part, unused);
    if (results.length === 0) return [];
    const told = readFacts(sidecar, part, style);
    const dated = results.map((result) => ({ ...result, date: result.date || told.drawn }));
    return [gather(sidecar, { id, ...told, results: dated }, style)];
  });
  return people.length > 0 ? { people, unused } : null;
}

/** Without bullets, rows of dots and spaces of layout. @param {string} line */
const clean = (line) =>
  line
    .replace(/[.…_·]{3,}/gu, " ")
    .replace(/[\u00a0\u202f\u2007\t|]+/gu, " ")
    .replace(/^[\s•▪*–-]+/u, "")
    .replace(/\s+/gu, " ")
    .trim();

/**
 * What turns "unter 0,3" and "< 0,3" into "<0,3", so that a value is one word.
 *
 * @param {Sidecar} sidecar
 * @returns {(line: string) => string}
 */
function makeAttach({ words: { comparators } }) {
  const spellings = Object.keys(comparators)
    .sort((a, b) => b.length - a.length)
    .map((spelling) => spelling.replace(/[.*+?^${}()|[\]\\]/gu, "\\$&"));
  const pattern = new RegExp(`(?<![\\p{L}<>≤≥=])(${spellings.join("|")})\\s*(?=\\d)`, "giu");
  return (line) => line.replace(pattern, (_, spelling) => comparators[spelling.toLowerCase()]);
}

/**
 * A part for each person where lines such as "Patient: A" name several.
 *
 * @param {Sidecar} sidecar
 * @param {Line[]} lines
 * @returns {{id: string, part: Line[]}[]}
 */
function splitPeople({ words: vocabulary }, lines) {
  const labels = [...vocabulary.columns.person, "name", "nom", "nombre", "nome", "naam"].map(
    foldName,
  );
  /** @type {{id: string, part: Line[]}[]} */
  const parts = [{ id: "", part: [] }];
  for (const line of lines) {
    const [label, ...rest] = line.raw.trim().split(/\s*:\s*/u);
    const name = rest.join(":").split(/\s{2,}|\t/u)[0];
    const last = parts[parts.length - 1];
    if (name && labels.includes(foldName(label)) && name !== last.id) {
      const known = parts.find(({ id }) => id === name);
      if (last.id === "") last.id = name;
      else if (last.part.every((one) => !VALUE.test(one.text.split(" ").at(-1) ?? "")) || known) {
        // A second label of one head, "Patient ID" below "Patient", or a page of one seen before.
        if (known) parts.push(known);
      } else parts.push({ id: name, part: [] });
    }
    parts[parts.length - 1].part.push(line);
  }
  return [...new Set(parts)];
}

/**
 * @param {Sidecar} sidecar
 * @param {Line[]} lines
 * @param {Unused[]} unused
 * @returns {Result[]}
 */
function listResults(sidecar, lines, unused) {
  /** @type {Result[]} */
  const results = [];
  /** @type {{biomarker: Biomarker, label: string, left: number} | undefined} */
  let waiting;
  for (const { text, where } of lines) {
    const words = text.split(" ");
    const found = findLabel(sidecar, words);
    if (found && found.count === words.length) {
      waiting = { biomarker: found.biomarker, label: text, left: REACH };
      continue;
    }
    if (found) {
      results.push(
        readValue(sidecar, found.biomarker, found.label, words.slice(found.count), where),
      );
      waiting = undefined;
      continue;
    }
    if (waiting) {
      // "Your value 0.9 mg/dL"
      const start = words.findIndex((word) => VALUE.test(word));
      if (start >= 0 && start <= 2 && !/^(?:ref|norm|range)/iu.test(words[0])) {
        results.push(
          readValue(sidecar, waiting.biomarker, waiting.label, words.slice(start), where),
        );
        waiting = undefined;
        continue;
      }
      if (--waiting.left === 0) waiting = undefined;
    }
    const other = describeOther(sidecar, words);
    if (other) unused.push({ label: other, where, code: "other_test", params: {} });
  }
  return results;
}

/**
 * The longest beginning of a line that names a biomarker, with a value or nothing after it.
 *
 * @param {Sidecar} sidecar
 * @param {string[]} words
 * @returns {{biomarker: Biomarker, label: string, count: number} | undefined}
 */
function findLabel(sidecar, words) {
  const skip = /^\d{1,5}-\d$/u.test(words[0]) && words.length > 2 ? 1 : 0;
  for (let count = Math.min(words.length, MOST_WORDS_OF_A_NAME + skip); count > skip; count--) {
    const next = words[count];
    if (next !== undefined && !VALUE.test(next) && !isNoValue(sidecar.words, next)) continue;
    // "S-Creatinina" is that of serum.
    const label = words
      .slice(skip, count)
      .join(" ")
      .replace(/[:=.\s]+$/u, "")
      .replace(/^[SPB]-(?=\p{L}{3})/u, "");
    const code = skip ? words[0] : "";
    const { biomarker } = code ? findTest(sidecar, label, code) : findTest(sidecar, label);
    if (biomarker) return { biomarker, label, count };
    // "Lymphozyten % 29": the unit comes before the value.
    const unit = words[count - 1];
    if (next !== undefined && /[%/]/u.test(unit) && count - 1 > skip) {
      const base = words
        .slice(skip, count - 1)
        .join(" ")
        .replace(/[,:\s]+$/u, "");
      const named = findBiomarker(sidecar, base, { withUnit: true });
      if (named && isUnit(sidecar, named, unit.replace(/^[([]|[)\]:]+$/gu, "")))
        return { biomarker: named, label: `${base} ${unit}`, count };
    }
  }
  return undefined;
}

/**
 * @param {Sidecar} sidecar
 * @param {Biomarker} biomarker
 * @param {string} label
 * @param {string[]} words from the value on
 * @param {string} where
 * @returns {Result}
 */
function readValue(sidecar, biomarker, label, words, where) {
  // The number of the laboratory that did the test, "Creatinine 01 0.90 mg/dL".
  const start = /^0\d$/u.test(words[0]) && VALUE.test(words[1] ?? "") ? 1 : 0;
  const text = words[start];
  const rest = words.slice(start + 1);
  const attached = readCell(sidecar, text).rest;
  const before = /\s(\S*[%/]\S*)$/u.exec(label)?.[1].replace(/^[([]|[)\]:]+$/gu, "");
  const unit = attached ? "" : findUnitText(sidecar, biomarker, rest) || before || "";
  return { biomarker, label, text, unit, date: "", where };
}

/**
 * The unit after a value; where it is not known, the text that looks like a unit, so that it is
 * refused with its reason.
 *
 * @param {Sidecar} sidecar
 * @param {Biomarker} biomarker
 * @param {string[]} words
 */
function findUnitText(sidecar, biomarker, words) {
  for (let start = 0; start < Math.min(words.length, 8); start++) {
    for (let count = 4; count > 0; count--) {
      const spelling = words
        .slice(start, start + count)
        .join(" ")
        .replace(/[,;]$/u, "");
      if (start + count <= words.length && isUnit(sidecar, biomarker, spelling)) return spelling;
    }
    const word = words[start].replace(/[,;]$/u, "");
    if (/^[\p{L}\d*^%µμ.]+\/\S+$|^fl$/iu.test(word) && /\p{L}|%/u.test(word)) return word;
    if (!BETWEEN.test(words[start]) && !new RegExp(`^(?:${DATE})$`, "u").test(words[start]))
      return "";
  }
  return "";
}

/**
 * A line whose name begins like a biomarker's, but is another test: "Creatinine, urine".
 *
 * @param {Sidecar} sidecar
 * @param {string[]} words
 */
function describeOther(sidecar, words) {
  const end = words.findIndex((word) => VALUE.test(word));
  if (end < 1 || end > MOST_WORDS_OF_A_NAME) return undefined;
  const label = words.slice(0, end).join(" ");
  const parts = label.split(/[\s,;/()-]+/u).filter((word) => word.length > 2);
  return parts.some((part) => findBiomarker(sidecar, part, { withUnit: true })) ? label : undefined;
}

/**
 * Age, sex, birth date and day of the draw, as lines with their names tell them.
 *
 * @param {Sidecar} sidecar
 * @param {Line[]} lines
 * @param {import("./results.js").Style} style
 * @returns {{age: number | null, sex: number | null, birth: string, drawn: string}}
 */
function readFacts(sidecar, lines, style) {
  const { words: vocabulary } = sidecar;
  const text = lines.map((line) => line.text).join("\n");
  /** @param {string} part @param {string} value pattern the longest names first */
  const find = (part, value) =>
    [...vocabulary.columns[part]]
      .sort((a, b) => b.length - a.length)
      .flatMap((name) => {
        const label = name.replace(/[.*+?^${}()|[\]\\]/gu, "\\$&").replace(/[ _]/gu, "[ _]?");
        const match = new RegExp(
          `(?<![\\p{L}\\d])${label}(?![\\p{L}\\d])[\\s:.=/-]*(?:(?:on|am|vom|le|du|el|del|il|op)\\s+)?(${value})`,
          "iu",
        ).exec(text);
        return match ? [{ name, text: match[1] }] : [];
      });
  const age = find("age", String.raw`\d{1,3}(?:[.,]\d)?`)[0]?.text;
  const stated =
    /(?<![\d.,])(\d{2,3})\s*-?\s*(?:y\/?o|yrs?|years?(?:[ -]old)?|jahre|ans|años|anni|jaar)(?!\p{L})/iu.exec(
      text,
    );
  const sex = find("sex", String.raw`\p{L}+`)
    .map(({ name, text: word }) => readSex(sidecar, word, name))
    .find((code) => code !== null);
  const day = (/** @type {{text: string}[]} */ dates) =>
    dates.find(({ text: date }) => readDay(date, { ...style, months: vocabulary.months }))?.text ??
    "";
  const found = age ?? stated?.[1];
  const birth = day(find("birth", DATE));
  return {
    age: found ? Number(found.replace(",", ".")) : null,
    sex: sex ?? findSexWord(sidecar, lines),
    birth,
    // "Geb.-Datum" contains a name of the day of the draw.
    drawn: day(find("time", DATE).filter(({ text: date }) => date !== birth)),
  };
}

/**
 * A sex that stands without a name: "Frau", "female, 54 years". Only words, no single letters,
 * and only where they do not contradict each other.
 *
 * @param {Sidecar} sidecar
 * @param {Line[]} lines
 */
function findSexWord(sidecar, lines) {
  const found = new Set(
    lines.flatMap(({ text }) =>
      text
        .split(/[^\p{L}]+/u)
        .filter((word) => word.length > 3)
        .map((word) => readSex(sidecar, word))
        .filter((code) => code !== null),
    ),
  );
  return found.size === 1 ? [...found][0] : null;
}
