/** Results that the person asked to keep, in IndexedDB on this device, and nowhere else. */

/**
 * What a result is computed from: kept instead of the result, so that all are by one model.
 *
 * @typedef {{drawn: string, age: number, sex: number, biomarkers: Record<string, number>}} Kept
 *   `drawn` is YYYY-MM-DD, `biomarkers` are in the panel's units.
 */

const NAME = "henaw";
const RESULTS = "results";
export const FORMAT = "henaw-results-1";

/** @returns {Promise<IDBDatabase>} */
function open() {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(RESULTS, { keyPath: "drawn" });
  return finish(request);
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
const finish = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/**
 * @template T
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest<T>} act
 */
async function use(mode, act) {
  const database = await open();
  try {
    return await finish(act(database.transaction(RESULTS, mode).objectStore(RESULTS)));
  } finally {
    database.close();
  }
}

/** @returns {Promise<Kept[]>} the oldest draw first */
export const listKept = () => use("readonly", (store) => store.getAll());

/** Replaces one of the same day. @param {Kept} result */
export const keep = (result) => use("readwrite", (store) => store.put(result));

/** @param {string} drawn */
export const forget = (drawn) => use("readwrite", (store) => store.delete(drawn));

/** Deletes all, the empty database included. @returns {Promise<unknown>} */
export const forgetAll = () => finish(indexedDB.deleteDatabase(NAME));

/** @param {Kept[]} results */
export const writeFile = (results) => JSON.stringify({ format: FORMAT, results }, null, 2);

/**
 * @param {import("../lib/sidecar.js").Sidecar} sidecar
 * @param {string} text
 * @returns {Kept[] | null} null where the file is another one
 */
export function readKeptFile(sidecar, text) {
  let content;
  try {
    content = JSON.parse(text);
  } catch {
    return null;
  }
  if (content?.format !== FORMAT || !Array.isArray(content.results)) return null;
  const [low, high] = sidecar.accepted_ages;
  const isSound = content.results.every(
    (/** @type {any} */ one) =>
      /^\d{4}-\d\d-\d\d$/u.test(one?.drawn) &&
      !Number.isNaN(Date.parse(one.drawn)) &&
      one.age >= low &&
      one.age <= high &&
      Number.isInteger(one.sex) &&
      one.sex in sidecar.sexes &&
      sidecar.panel.every(({ name, minimum, maximum }) => {
        const value = one.biomarkers?.[name];
        return value === undefined || (value >= minimum && value <= maximum);
      }),
  );
  return isSound ? content.results : null;
}
