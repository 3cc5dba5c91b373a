/**
 * The ONNX file in ONNX Runtime, whichever a program has: onnxruntime-web's WebAssembly, which
 * computes in float32, or onnxruntime-node.
 */

/** @typedef {Pick<typeof import("onnxruntime-web"), "InferenceSession" | "Tensor">} Runtime */
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
 * @property {number} percentile 0 to 100: the share of people of that age and sex who are younger.
 * @property {number} draw_sd Years, standard deviation of a repeat blood draw.
 * @property {boolean[]} critical Beyond the critical limits.
 * @property {boolean} reliable Where it is false, none of the numbers are to be shown.
 */

/**
 * Load the graph.
 *
 * @param {Runtime} runtime
 * @param {Uint8Array} file the ONNX file's bytes
 * @returns {Promise<(people: Person[]) => Promise<Answer[]>>} Answers in the people's order.
 */
export async function loadModel(runtime, file) {
  const { InferenceSession } = runtime;
  // Optimising the graph takes longer than it saves for so few people.
  const session = await InferenceSession.create(file, { graphOptimizationLevel: "disabled" });
  // A session runs one batch at a time and refuses a second one.
  /** @type {Promise<unknown>} */
  let last = Promise.resolve();
  return (people) => {
    const answers = last.then(() => session.run(buildInputs(runtime, people)).then(readAnswers));
    last = answers.catch(() => undefined);
    return answers;
  };
}

/** @param {Runtime} runtime @param {Person[]} people */
function buildInputs({ Tensor }, people) {
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
