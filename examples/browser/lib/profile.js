/**
 * A laboratory's profile, as `henaw calibrate` writes it, put into the ONNX file's bytes: what the
 * Python package does with `--lab`.
 */

/** @typedef {import("./sidecar.js").Sidecar} Sidecar */
/**
 * @typedef {{name: string, shift: Record<string, number>, standard_error: Record<string, number>,
 *   model: string, level: Record<string, number[]> | null, sha256: string,
 *   life_table?: string | null}} Profile
 */

const FORMAT = "henaw-lab-profile-1";
const NAME_TAG = 0x42;
const RAW_DATA_TAG = 0x4a;

/** A file that is not a laboratory's profile, or is for another model; `code` is for words. */
export class ProfileError extends Error {
  /** @param {"not_a_profile" | "other_model" | "changed"} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * Whether a decoded JSON file is meant to be a profile.
 *
 * @param {any} content
 */
export const isProfile = (content) => content?.format === FORMAT;

/**
 * @param {Sidecar} sidecar
 * @param {any} content decoded JSON
 * @returns {Promise<Profile>}
 * @throws {ProfileError} it is not a profile, was changed by hand, or was made for another model
 */
export async function readProfile(sidecar, content) {
  const isSound =
    isProfile(content) &&
    typeof content.name === "string" &&
    typeof content.model === "string" &&
    [content.shift, content.standard_error].every(
      (part) =>
        part !== null &&
        typeof part === "object" &&
        Object.entries(part).every(
          ([name, value]) =>
            sidecar.panel.some((item) => item.name === name) && Number.isFinite(value),
        ),
    ) &&
    (content.level === null ||
      content.level === undefined ||
      sidecar.sexes.every((sex) => content.level[sex]?.length === 2));
  if (!isSound) throw new ProfileError("not_a_profile", "this is not a laboratory profile");
  if (content.model !== "" && content.model !== sidecar.checkpoint_sha256)
    throw new ProfileError(
      "other_model",
      `it was made for the model ${content.model.slice(0, 12)}`,
    );
  const arrays = listArrays(sidecar, content);
  const bytes = new Uint8Array(arrays.flatMap((array) => [...new Uint8Array(array.buffer)]));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const text = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (text !== content.sha256)
    throw new ProfileError("changed", "its numbers differ from its digest");
  return content;
}

/**
 * The ONNX file's bytes with a profile in the place of its zeros.
 *
 * @param {Sidecar} sidecar
 * @param {Uint8Array} file
 * @param {Profile} profile
 */
export function setProfile(sidecar, file, profile) {
  const changed = Uint8Array.from(file);
  const names = ["lab_shift", "lab_standard_error", "lab_level"];
  for (const [place, array] of listArrays(sidecar, profile).entries())
    changed.set(new Uint8Array(array.buffer), findTensor(file, names[place], array.byteLength));
  return changed;
}

/**
 * Shifts, standard errors and level in the graph's order; 0 where unknown.
 *
 * @param {Sidecar} sidecar
 * @param {Profile} profile
 * @returns {Float32Array[]}
 */
function listArrays({ panel, sexes }, { shift, standard_error, level }) {
  const [women, men] = sexes.map((sex) => level?.[sex] ?? [0, 0]);
  // Sex is -0.5 or 0.5 in the graph: the mean of both, and their difference.
  const mean = women.map((value, place) => (value + men[place]) / 2);
  const difference = women.map((value, place) => men[place] - value);
  return [
    Float32Array.from(panel, ({ name }) => shift[name] ?? 0),
    Float32Array.from(panel, ({ name }) => standard_error[name] ?? 0),
    Float32Array.from([...mean, ...difference]),
  ];
}

/**
 * Where the values of a tensor begin: its name (field 8 of TensorProto), then its bytes (9).
 *
 * @param {Uint8Array} file
 * @param {string} name
 * @param {number} size
 */
function findTensor(file, name, size) {
  const letters = [...name].map((letter) => letter.charCodeAt(0));
  const head = [NAME_TAG, letters.length, ...letters, RAW_DATA_TAG, size];
  for (let place = file.indexOf(NAME_TAG); place >= 0; place = file.indexOf(NAME_TAG, place + 1))
    if (head.every((byte, offset) => file[place + offset] === byte)) return place + head.length;
  throw new Error(`the ONNX file has no tensor ${name}`);
}
