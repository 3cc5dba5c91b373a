/**
 * The sidecar henaw.json: every fact about the panel and the model that the page shows.
 *
 * @typedef {{name: string, label: string, synonyms: string[], unit: string, units: string[],
 *   minimum: number, maximum: number, log_scaled: boolean, harmful: string[],
 *   reference: {low: (number | null)[], high: (number | null)[], source: string}}} Biomarker
 *   Numbers are in `unit`, the panel's; the limits of `reference` are by the code of a sex.
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
 * @property {{columns: Record<string, string[]>, shared_names: Record<string, string[]>,
 *   sexes: Record<string, string[]>, specimens: string[], filling: string[], no_value: string[],
 *   comparators: Record<string, string>, months: Record<string, number>}} words
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
 *   one for each of `age`; `gap_percentiles` has a row for each of `age`.
 * @property {number[]} percentiles Of the columns of `gap_percentiles`, 0 to 100.
 */

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
 * Gaps of people of an age and sex, in years, the youngest first: each stands for as many.
 *
 * @param {Pick<Sidecar, "reference" | "sexes" | "percentiles">} sidecar
 * @param {number} age
 * @param {number} sex
 * @param {number} count how many
 * @returns {number[]}
 */
export function listGaps({ reference, sexes, percentiles }, age, sex, count) {
  const { age: ages, [sexes[sex]]: bySex } = reference;
  const position = Math.min(Math.max(age - ages[0], 0), ages.length - 1);
  const row = Math.min(Math.floor(position), ages.length - 2);
  const [before, after] = bySex.gap_percentiles.slice(row, row + 2);
  return Array.from({ length: count }, (_, person) => {
    const percent = (100 * (person + 0.5)) / count;
    const upper = Math.max(
      1,
      percentiles.findIndex((known) => known >= percent),
    );
    const [low, high] = [percentiles[upper - 1], percentiles[upper]];
    const share = Math.max(0, (percent - low) / (high - low));
    const [one, other] = [before, after].map(
      (gaps) => gaps[upper - 1] + share * (gaps[upper] - gaps[upper - 1]),
    );
    return one + (position - row) * (other - one);
  });
}
