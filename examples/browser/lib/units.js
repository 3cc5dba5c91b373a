/** Units of a laboratory report, and what to say about an impossible value. */

/** @typedef {import("./sidecar.js").Sidecar} Sidecar */
/** @typedef {import("./sidecar.js").Biomarker} Biomarker */
/** @typedef {import("./sidecar.js").Conversion} Conversion */

/**
 * A unit that is not the biomarker's; the message is the reason. `code` is "refused" for one that
 * only looks right, "count" for a count per volume, "unknown" for any other.
 */
export class UnitError extends Error {
  /** @param {"refused" | "count" | "unknown"} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

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
      if (foldUnit(units, unit) === folded) throw new UnitError("refused", reason);
    if (new RegExp(`^(?:${units.count_per_volume})$`, "u").test(folded)) {
      const share = biomarker.unit === "%" ? ", a share" : "";
      throw new UnitError(
        "count",
        `${spelling} is a count per volume; ${biomarker.name} is in ${biomarker.unit}${share}`,
      );
    }
  }
  throw new UnitError(
    "unknown",
    `unit must be one of ${biomarker.units.join(", ")}; got '${spelling}'`,
  );
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
 * Whether a value is one that the model accepts.
 *
 * @param {Sidecar} sidecar
 * @param {Biomarker} biomarker
 * @param {number} value as given
 * @param {string} unit as given
 */
export function isAccepted(sidecar, { name, minimum, maximum }, value, unit) {
  const converted = toPanel(sidecar.units.conversions[name][unit], value);
  return minimum <= converted && converted <= maximum;
}

/**
 * Whether a value is among the 99.8 % that the model was fitted on.
 *
 * @param {Sidecar} sidecar
 * @param {Biomarker} biomarker
 * @param {number} value as given
 * @param {string} unit as given
 */
export function isUsual(sidecar, { name }, value, unit) {
  const [low, high] = sidecar.fitted_range[name];
  const converted = toPanel(sidecar.units.conversions[name][unit], value);
  return low <= converted && converted <= high;
}

/**
 * The probable meaning of a value that few or no people have: another unit, or a missing decimal
 * point. Undefined where the value is usual, or nothing fits.
 *
 * @param {Sidecar} sidecar
 * @param {Biomarker} biomarker
 * @param {number} value as given
 * @param {string} unit as given
 * @returns {{value: number, unit: string} | undefined}
 */
export function guessMeant(sidecar, biomarker, value, unit) {
  if (isUsual(sidecar, biomarker, value, unit)) return undefined;
  const meant = biomarker.units.find((other) => isUsual(sidecar, biomarker, value, other));
  if (meant) return { value, unit: meant };
  if (isAccepted(sidecar, biomarker, value, unit) || !Number.isInteger(value)) return undefined;
  const point = [10, 100]
    .map((power) => value / power)
    .find((number) => isUsual(sidecar, biomarker, number, unit));
  return point === undefined ? undefined : { value: point, unit };
}

/**
 * The unit that a value without one is probably in: the panel's where both are usual.
 *
 * @param {Sidecar} sidecar
 * @param {Biomarker} biomarker
 * @param {number} value
 */
export const guessUnit = (sidecar, biomarker, value) =>
  [biomarker.unit, ...biomarker.units].find((unit) => isUsual(sidecar, biomarker, value, unit)) ??
  biomarker.unit;

/**
 * Three significant digits, and all digits of the whole part.
 *
 * @param {number} value
 */
export const showNumber = (value) =>
  Math.abs(value) < 1000 ? String(Number(value.toPrecision(3))) : value.toFixed(0);
