import { env, InferenceSession, Tensor } from "onnxruntime-web/wasm";

/**
 * A person: biomarkers in the panel's order and units, NaN where a test was not done.
 *
 * @typedef {{biomarkers: number[], age: number, sex: number}} Person
 * @typedef {object} Answer Years, and probabilities within ten years.
 * @property {number} biological_age
 * @property {number} age_gap
 * @property {number[]} interval
 * @property {number} mortality_10y
 * @property {number[]} cause_risk_10y
 * @property {number[]} contributions
 * @property {number[]} system_contributions
 * @property {boolean[]} imputed
 * @property {boolean[]} out_of_range
 * @property {boolean} age_out_of_range
 * @property {boolean[]} critical Beyond the critical limits.
 * @property {boolean} reliable Where it is false, none of the numbers are to be shown.
 */

env.wasm.numThreads = 1; // more need the server's cross-origin isolation headers

/**
 * Load the graph.
 *
 * @param {string} url
 * @returns {Promise<(people: Person[]) => Promise<Answer[]>>} Answers in the people's order.
 */
export async function loadModel(url) {
  // To optimise the graph takes longer than it saves on so few people.
  const session = await InferenceSession.create(url, { graphOptimizationLevel: "disabled" });
  // A session runs one batch at a time and refuses a second one.
  /** @type {Promise<unknown>} */
  let last = Promise.resolve();
  return (people) => {
    const answers = last.then(() => session.run(buildInputs(people)).then(readAnswers));
    last = answers.catch(() => undefined);
    return answers;
  };
}

/** @param {Person[]} people */
function buildInputs(people) {
  const count = people.length;
  const rows = Float32Array.from(people.flatMap((person) => person.biomarkers));
  const ages = people.map((person) => person.age);
  const sexes = people.map((person) => BigInt(person.sex));
  return {
    biomarkers: new Tensor("float32", rows, [count, count ? rows.length / count : 9]),
    age: new Tensor("float32", ages, [count]),
    sex: new Tensor("int64", sexes, [count]),
  };
}

/**
 * @param {Record<string, import("onnxruntime-web").Tensor>} outputs
 * @returns {Answer[]}
 */
function readAnswers(outputs) {
  return Array.from({ length: outputs.age_gap.dims[0] }, (_, row) => {
    const entries = Object.entries(outputs).map(([name, { data, dims, type }]) => {
      const width = dims[1] ?? 1;
      const cells = Array.from(/** @type {ArrayLike<number>} */ (data)).slice(
        row * width,
        (row + 1) * width,
      );
      const values = type === "bool" ? cells.map(Boolean) : cells;
      return [name, dims.length === 1 ? values[0] : values];
    });
    return Object.fromEntries(entries);
  });
}
