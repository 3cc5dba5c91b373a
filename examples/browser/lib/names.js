/**
 * What a name of a test or of a column means. The names are the panel's synonyms in the
 * sidecar, in six languages.
 */

import { foldName } from "./folding.js";
import { findUnit, UnitError } from "./units.js";

/** @typedef {import("./sidecar.js").Sidecar} Sidecar */
/** @typedef {import("./sidecar.js").Biomarker} Biomarker */
/** @typedef {{own: Map<string, Biomarker>, all: Map<string, Biomarker>, blood: Set<string>,
 *   filling: Set<string>}} Index `own` names mean one biomarker; `all` holds shared ones too. */

/** @type {WeakMap<Sidecar, Index>} */
const indices = new WeakMap();

/** @param {Sidecar} sidecar @returns {Index} */
function indexOf(sidecar) {
  const known = indices.get(sidecar);
  if (known) return known;
  const { panel, words: vocabulary } = sidecar;
  /** @type {Index} */
  const index = {
    own: new Map(),
    all: new Map(),
    blood: new Set(vocabulary.specimens.map(foldName)),
    filling: new Set(vocabulary.filling),
  };
  for (const biomarker of panel) {
    const shared = new Set(vocabulary.shared_names[biomarker.name] ?? []);
    for (const spelling of [biomarker.name, biomarker.label, ...biomarker.synonyms]) {
      index.all.set(foldName(spelling), biomarker);
      if (!shared.has(spelling)) index.own.set(foldName(spelling), biomarker);
    }
  }
  indices.set(sidecar, index);
  return index;
}

/**
 * The biomarker that a name means exactly; undefined where it means none, or another
 * quantity. A specimen beside the name may be blood, and a second name must mean the same.
 *
 * @param {Sidecar} sidecar
 * @param {string} spelling
 * @param {{withUnit: boolean}} options whether a unit tells it from what shares its name
 * @returns {Biomarker | undefined}
 */
export function findBiomarker(sidecar, spelling, { withUnit }) {
  const { own, all, filling } = indexOf(sidecar);
  const known = withUnit ? all : own;
  const whole = known.get(foldName(spelling));
  if (whole) return whole;
  /** @type {Set<Biomarker>} */
  const found = new Set();
  for (const part of spelling.split(/[,;/|()[\]:]|\s-\s/u)) {
    const words = part.split(/\s+/u).filter((word) => word && !filling.has(foldName(word)));
    const left = words.join(" ");
    if (!foldName(left) || isBlood(sidecar, left)) continue;
    const plain = words.filter((word) => word.length === 1 || !isBlood(sidecar, word)).join(" ");
    const biomarker = known.get(foldName(left)) ?? known.get(foldName(plain));
    if (!biomarker) return undefined;
    found.add(biomarker);
  }
  return found.size === 1 ? [...found][0] : undefined;
}

/**
 * Whether a specimen is blood, serum or plasma.
 *
 * @param {Sidecar} sidecar
 * @param {string} specimen
 */
export const isBlood = (sidecar, specimen) => indexOf(sidecar).blood.has(foldName(specimen));

/**
 * What a test is, by its LOINC code and its name.
 *
 * @param {Sidecar} sidecar
 * @param {string} test
 * @param {string} [code]
 * @returns {{biomarker?: Biomarker, units?: string[], refused?: string}} `units` that its code
 *   allows; `refused` is the code of a look-alike. Empty for a test that is not of the panel.
 */
export function findTest(sidecar, test, code = "") {
  const { panel, fhir } = sidecar;
  for (const text of [code, test]) {
    const number = /^(?:LOINC[: ]+|http:\/\/loinc\.org[|/])?(\d{1,5}-\d)$/iu.exec(text.trim())?.[1];
    if (number === undefined) continue;
    const known = Object.hasOwn(fhir.codes, number) ? fhir.codes[number] : undefined;
    if (!known) return {};
    if (known.refused) return { refused: number };
    return { biomarker: panel.find(({ name }) => name === known.biomarker), units: known.units };
  }
  const biomarker =
    findBiomarker(sidecar, test, { withUnit: true }) ??
    (code ? findBiomarker(sidecar, code, { withUnit: true }) : undefined);
  return biomarker ? { biomarker } : {};
}

/**
 * Whether another quantity has the same name: a count of lymphocytes often has the name of their
 * share.
 *
 * @param {Sidecar} sidecar
 * @param {string} spelling
 */
export const isShared = (sidecar, spelling) =>
  findBiomarker(sidecar, spelling, { withUnit: true }) !== undefined &&
  findBiomarker(sidecar, spelling, { withUnit: false }) === undefined;

/**
 * What a column of values holds, "Kreatinin [mg/dl]".
 *
 * @param {Sidecar} sidecar
 * @param {string} column
 * @returns {{biomarker: Biomarker, unit: string} | undefined} `unit` as spelt, "" where none is
 */
export function readHeader(sidecar, column) {
  const whole = indexOf(sidecar).own.get(foldName(column));
  if (whole) return { biomarker: whole, unit: "" };
  for (const [base, unit] of splitUnit(column)) {
    const biomarker = findBiomarker(sidecar, base, { withUnit: true });
    if (!biomarker) continue;
    if (base !== column && isUnit(sidecar, biomarker, unit)) return { biomarker, unit };
    // In brackets stands a unit or a second name; a unit that is refused says why later.
    if (/[(\[{]/u.test(column) && !findBiomarker(sidecar, column, { withUnit: true }))
      return { biomarker, unit };
  }
  const plain = findBiomarker(sidecar, column, { withUnit: true });
  return plain && { biomarker: plain, unit: "" };
}

/**
 * @param {Sidecar} sidecar
 * @param {Biomarker} biomarker
 * @param {string} spelling
 */
export function isUnit(sidecar, biomarker, spelling) {
  try {
    findUnit(sidecar, biomarker, spelling);
    return true;
  } catch (error) {
    if (error instanceof UnitError) return false;
    throw error;
  }
}

/**
 * Every way in which a unit may stand at the end of a column's name, or before it.
 *
 * @param {string} column
 * @returns {[string, string][]}
 */
function splitUnit(column) {
  /** @type {[string, string][]} */
  const splits = [];
  const text = column.trim();
  const open = text.search(/[(\[{]/u);
  if (open > 0 && /[)\]}]$/u.test(text))
    splits.push([text.slice(0, open).replace(/[\s_]+$/u, ""), text.slice(open + 1, -1)]);
  if (text.endsWith("%")) splits.push([text.slice(0, -1).trim(), "%"]);
  if (text.startsWith("%")) splits.push([text.slice(1).replace(/^[\s_]*(of\s)?/u, ""), "%"]);
  const words = text.length < 100 ? text.split(/[\s_,;:]+/u) : [];
  for (let count = words.length - 1; count > 0; count--) {
    const base = words.slice(0, count).join(" ");
    splits.push([base, words.slice(count).join("/")], [base, words.slice(count).join(" ")]);
  }
  return splits;
}

/**
 * Whether a column or a label is one of a part of the vocabulary: "age", "unit", "person".
 *
 * @param {Sidecar} sidecar
 * @param {string} part
 * @param {string} spelling
 */
export const means = ({ words: vocabulary }, part, spelling) =>
  (vocabulary.columns[part] ?? []).some((name) => foldName(name) === foldName(spelling));

/**
 * The code of a sex as people write it; null where it is none. The name of its column tells
 * letters apart that mean two things: V is vrouw or varón, M is masculino or mujer.
 *
 * @param {Sidecar} sidecar
 * @param {string} text
 * @param {string} [label]
 */
export function readSex({ sexes, words: vocabulary }, text, label = "") {
  const folded = foldName(text);
  const [named, letter] = [foldName(label), folded.length === 1 ? folded : ""];
  if (named === "geslacht" && letter === "v") return sexes.indexOf("female");
  if (named === "sexo" && letter === "v") return sexes.indexOf("male");
  if (named === "sexo" && letter === "h") return sexes.indexOf("male");
  if (named === "sexo" && letter === "m") return null;
  if (named === "sexe" && letter === "h") return sexes.indexOf("male");
  const code = sexes.findIndex((sex) =>
    vocabulary.sexes[sex].some((word) => foldName(word) === folded),
  );
  return code < 0 ? null : code;
}
