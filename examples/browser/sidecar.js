/**
 * The sidecar henaw.json: every fact about the panel and the model that the page shows.
 *
 * @typedef {{name: string, label: string, unit: string, minimum: number, maximum: number,
 *   units: string[]}} Biomarker `minimum` and `maximum` in `unit`, the panel's.
 * @typedef {{factor: number, offset: number}} Conversion To the panel's unit.
 * @typedef {{biomarker: string, units?: string[], refused?: string}} Code
 * @typedef {object} Sidecar
 * @property {string} name
 * @property {string} version
 * @property {string} date
 * @property {string} intended_use
 * @property {string} checkpoint_sha256
 * @property {Biomarker[]} panel
 * @property {{conversions: Record<string, Record<string, Conversion>>,
 *   refused: Record<string, Record<string, string>>,
 *   spellings: Record<string, Record<string, string>>, rewrites: [string, string][],
 *   aliases: Record<string, string>, annotation: string, count_per_volume: string}} units
 * @property {{loinc_systems: string[], ucum_systems: string[], statuses: string[],
 *   comparators: Record<string, string>, codes: Record<string, Code>}} fhir
 * @property {string[]} sexes A sex's code is its place here.
 * @property {[number, number]} accepted_ages Years.
 * @property {[number, number]} fitted_ages Years.
 * @property {Record<string, [number, number]>} fitted_range 0.1 to 99.9 % of the fitted people.
 * @property {Record<string, [number | null, number | null]>} critical_limits Lowest and highest
 *   value that is not critical, in the panel's unit; null where there is none.
 * @property {string[]} contribution_names
 * @property {string[]} system_names
 * @property {Record<string, string[]>} systems
 * @property {string[]} cause_names
 * @property {number} interval_level
 * @property {{data: string, people: number}} training
 * @property {{age: number[]} & {[sex: string]: any}} reference Medians by sex and biomarker,
 *   one for each of `age`.
 */

/** @returns {Promise<Sidecar>} */
export async function loadSidecar() {
  const response = await fetch("henaw.json");
  if (!response.ok) throw new Error(`henaw.json: ${response.status} ${response.statusText}`);
  return response.json();
}

/**
 * Median of a biomarker, in the panel's unit, among people of an age and sex.
 *
 * @param {Pick<Sidecar, "reference" | "sexes">} sidecar
 * @param {string} name
 * @param {number} age
 * @param {number} sex
 */
export function findMedian({ reference, sexes }, name, age, sex) {
  const { age: ages, [sexes[sex]]: bySex } = reference;
  const medians = bySex[name];
  const position = Math.min(Math.max(age - ages[0], 0), ages.length - 1);
  const row = Math.min(Math.floor(position), ages.length - 2);
  return medians[row] + (position - row) * (medians[row + 1] - medians[row]);
}

/**
 * A contribution, a system or a cause as people read it.
 *
 * @param {Sidecar} sidecar
 * @param {string} name
 * @returns {string}
 */
export function labelName(sidecar, name) {
  const biomarker = sidecar.panel.find((item) => item.name === name);
  if (biomarker) return biomarker.label;
  if (name === "ast_alt_ratio") return "AST/ALT ratio";
  if (name.includes("_x_"))
    return name
      .split("_x_")
      .map((part) => labelName(sidecar, part))
      .join(" × ");
  const words = name.replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}
