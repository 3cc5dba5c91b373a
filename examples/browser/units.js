/** Units of a lab report, and what is said of a value that cannot be right. */

/** @typedef {import("./sidecar.js").Sidecar} Sidecar */
/** @typedef {import("./sidecar.js").Biomarker} Biomarker */
/** @typedef {import("./sidecar.js").Conversion} Conversion */

/** A unit that is not the biomarker's; the message is the reason. */
export class UnitError extends Error {}

/**
 * @param {Conversion} conversion
 * @param {number} value
 */
export const toPanel = ({ factor, offset }, value) => (value - offset) * factor;

/**
 * @param {Conversion} conversion
 * @param {number} value in the panel's unit
 */
export const fromPanel = ({ factor, offset }, value) => value / factor + offset;

/**
 * The accepted unit that a spelling means.
 *
 * @param {Sidecar} sidecar
 * @param {Biomarker} biomarker
 * @param {string} spelling
 * @returns {string} as the panel spells it
 * @throws {UnitError} it is refused, with the reason, or not known
 */
export function findUnit({ units }, biomarker, spelling) {
  const spellings = units.spellings[biomarker.name];
  const refused = Object.entries(units.refused[biomarker.name] ?? {});
  // The annotation first: "% (JDS)" is refused, "% (whole blood)" is %.
  for (const read of [spelling, dropAnnotations(units.annotation, spelling)]) {
    const folded = foldUnit(units, read);
    if (Object.hasOwn(spellings, folded)) return spellings[folded];
    for (const [unit, reason] of refused)
      if (foldUnit(units, unit) === folded) throw new UnitError(reason);
    if (new RegExp(`^(?:${units.count_per_volume})$`, "u").test(folded)) {
      const share = biomarker.unit === "%" ? ", a share" : "";
      throw new UnitError(
        `${spelling} is a count per volume; ${biomarker.name} is in ${biomarker.unit}${share}`,
      );
    }
  }
  throw new UnitError(`unit must be one of ${biomarker.units.join(", ")}; got '${spelling}'`);
}

/**
 * A spelling without what stands in brackets; an annotation alone is the unit 1.
 *
 * @param {string} annotation
 * @param {string} spelling
 */
const dropAnnotations = (annotation, spelling) =>
  spelling.replaceAll(new RegExp(annotation, "gu"), "").trim() || "1";

/**
 * Fold the spellings of one unit: micro signs, case, spaces, superscripts, words, IU for U.
 *
 * @param {Sidecar["units"]} units
 * @param {string} spelling
 */
function foldUnit({ rewrites, aliases }, spelling) {
  let folded = spelling
    .normalize("NFKC") // one of the two micro signs, and plain digits of superscripts
    .replaceAll("\u03bc", "u")
    .replaceAll("\u2212", "-")
    .replace(/[\u00b7\u22c5]/gu, ".")
    .replaceAll("^", "*")
    .replaceAll("**", "*")
    .replace(/\s/gu, "")
    .toLowerCase();
  for (const [pattern, replacement] of rewrites)
    folded = folded.replaceAll(new RegExp(pattern, "gu"), replacement);
  return Object.hasOwn(aliases, folded) ? aliases[folded] : folded;
}

/**
 * Read a number as a person types it.
 *
 * @param {string} text
 * @returns {number}
 * @throws {RangeError} saying what to type instead
 */
export function parseNumber(text) {
  const typed = text.trim();
  // A group of thousands has three digits, and does not come after a 0.
  const plain = typed.replace(/^[+-]?(0+,\d+|\d+,(?:\d{1,2}|\d{4,}))$/u, (text) =>
    text.replace(",", "."),
  );
  if (/^[+-]?(\d+(\.\d*)?|\.\d+)$/u.test(plain)) return Number(plain);
  if (/^[+-]?\d+,\d{3}$/u.test(typed))
    throw new RangeError(
      `${typed} could be ${typed.replace(",", ".")} or ${typed.replace(",", "")}: type it ` +
        "without the comma",
    );
  if (/^[<>]/u.test(typed))
    throw new RangeError(`${typed} is a limit, not a value: leave it out, or type the limit`);
  throw new RangeError(`expected a number, however: ${typed.slice(0, 40)}`);
}

/**
 * Say what is wrong with a value, and which unit was probably meant.
 *
 * @param {Sidecar} sidecar
 * @param {Biomarker} biomarker
 * @param {number} value as given
 * @param {string} unit as given
 * @returns {string | null} null where the value is accepted
 */
export function describeImplausible(sidecar, biomarker, value, unit) {
  const { name, minimum, maximum } = biomarker;
  const conversions = sidecar.units.conversions[name];
  /** @param {number} number */
  const accepts = (number) => minimum <= number && number <= maximum;
  const converted = toPanel(conversions[unit], value);
  if (accepts(converted)) return null;
  const bounds = `${minimum} to ${maximum}`;
  const message =
    unit === biomarker.unit
      ? `${value} ${unit} is outside ${bounds}`
      : `${value} ${unit} is ${showNumber(converted)} ${biomarker.unit}, outside ${bounds}`;
  const meant = biomarker.units.find((other) => accepts(toPanel(conversions[other], value)));
  if (meant === undefined) return message;
  const would = showNumber(toPanel(conversions[meant], value));
  return `${message}; as ${meant} it would be ${would} ${biomarker.unit}`;
}

/**
 * Three significant digits, and all digits of the whole part.
 *
 * @param {number} value
 */
export const showNumber = (value) =>
  Math.abs(value) < 1000 ? String(Number(value.toPrecision(3))) : value.toFixed(0);
