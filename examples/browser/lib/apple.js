/**
 * An export of Apple Health: birth date and sex from export.xml, laboratory results from the FHIR
 * resources in clinical-records. The ZIP archive is read as a stream: it may be large.
 */

import { Unzip, UnzipInflate } from "fflate";

/** @typedef {Record<string, any>} Resource */
/** @typedef {{birthDate?: string, gender?: string}} Me */

/**
 * Whether a text begins as export.xml does.
 *
 * @param {string} text
 */
export const isHealthXml = (text) =>
  /<HealthData|<!DOCTYPE HealthData/u.test(text.slice(0, 20_000));

/**
 * Birth date and sex of the person of export.xml.
 *
 * @param {string} text its beginning is enough
 * @returns {Me}
 */
export function readMe(text) {
  const me = /<Me\s[^>]*>/u.exec(text)?.[0] ?? "";
  const birthDate = /DateOfBirth="(\d{4}-\d\d-\d\d)"/u.exec(me)?.[1];
  const gender = /BiologicalSex="HKBiologicalSex(Female|Male)"/u.exec(me)?.[1].toLowerCase();
  return { ...(birthDate && { birthDate }), ...(gender && { gender }) };
}

/**
 * @param {Blob} file export.zip
 * @returns {Promise<{me: Me, resources: Resource[]}>}
 */
export async function readHealthZip(file) {
  /** @type {Resource[]} */
  const resources = [];
  /** @type {Me} */
  let me = {};
  const archive = new Unzip((entry) => {
    const isRecord = /clinical[-_]records\/[^/]+\.json$/u.test(entry.name);
    if (!isRecord && !/(^|\/)export\.xml$/u.test(entry.name)) return;
    const decoder = new TextDecoder();
    let text = "";
    let isDone = false;
    entry.ondata = (error, chunk, final) => {
      if (error) throw error;
      if (isDone) return;
      text += decoder.decode(chunk, { stream: !final });
      if (isRecord && final) resources.push(JSON.parse(text));
      if (isRecord || !/<Me\s[^>]*>/u.test(text)) return;
      me = readMe(text);
      isDone = true;
      text = "";
    };
    entry.start();
  });
  archive.register(UnzipInflate);
  const reader = file.stream().getReader();
  for (;;) {
    const { done, value } = await reader.read();
    archive.push(value ?? new Uint8Array(), done);
    if (done) return { me, resources };
  }
}

/**
 * One person's resources as a Bundle: their subject is on a server that is not asked.
 *
 * @param {Me} me
 * @param {Resource[]} resources
 */
export const bundleResources = (me, resources) => ({
  resourceType: "Bundle",
  type: "collection",
  entry: [
    { resource: { resourceType: "Patient", id: "me", ...me } },
    ...resources
      .filter(({ resourceType }) => resourceType !== "Patient")
      .map(({ subject, ...resource }) => ({ resource })),
  ],
});
