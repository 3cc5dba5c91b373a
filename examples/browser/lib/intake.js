/**
 * A laboratory's report in whatever form people have it: FHIR, CSV, running text, a PDF with text,
 * an export of Apple Health. Each value comes with its source, and each unused result with a reason.
 */

import { bundleResources, isHealthXml, readHealthZip, readMe } from "./apple.js";
import { computeAge } from "./dates.js";
import { BundleError, readBundle } from "./fhir.js";
import { isProfile } from "./profile.js";
import { readTable } from "./table.js";
import { readText } from "./text.js";

/** @typedef {import("./sidecar.js").Sidecar} Sidecar */
/** @typedef {import("./results.js").Person} Person */
/** @typedef {import("./results.js").Unused} Unused */
/** @typedef {{kind: "fhir" | "table" | "text" | "health", people: Person[], unused: Unused[]}} Report */

/**
 * A file or text that cannot be read; `code` is for words: "empty", "picture", "scan",
 * "spreadsheet", "document", "profile", "broken_json", "fhir", "one_file", "nothing_found",
 * "unreadable".
 */
export class IntakeError extends Error {
  /** @param {string} code @param {string} [message] */
  constructor(code, message = code) {
    super(message);
    this.code = code;
  }
}

const HEAD = 1 << 20;
const MOST_BYTES = 50 << 20;

/**
 * Read a file.
 *
 * @param {Sidecar} sidecar
 * @param {File | Blob} file
 * @param {{loadPdf: () => Promise<(bytes: Uint8Array) => Promise<string>>}} tools
 * @returns {Promise<Report>}
 * @throws {IntakeError}
 */
export async function readFile(sidecar, file, { loadPdf }) {
  const head = new Uint8Array(await file.slice(0, HEAD).arrayBuffer());
  const starts = (/** @type {string} */ text) =>
    [...text].every((letter, place) => head[place] === letter.charCodeAt(0));
  if (isPicture(head, file.type)) throw new IntakeError("picture");
  if (starts("%PDF")) {
    const text = await (await loadPdf())(new Uint8Array(await file.arrayBuffer()));
    if (!text) throw new IntakeError("scan");
    return readReport(sidecar, text);
  }
  if (starts("PK\u0003\u0004")) return readArchive(sidecar, file, head);
  if (starts("\u00d0\u00cf\u0011\u00e0")) throw new IntakeError("spreadsheet");
  const beginning = decode(head);
  if (isHealthXml(beginning)) return readHealthXml(sidecar, beginning);
  if (file.size > MOST_BYTES || beginning.includes("\u0000")) throw new IntakeError("unreadable");
  return readReport(sidecar, decode(new Uint8Array(await file.arrayBuffer())));
}

/**
 * Read a text: FHIR where it is JSON, else a table, else running text.
 *
 * @param {Sidecar} sidecar
 * @param {string} text
 * @returns {Report}
 * @throws {IntakeError}
 */
export function readReport(sidecar, text) {
  if (!text.trim()) throw new IntakeError("empty");
  if (/^\s*[{[]/u.test(text)) return readJson(sidecar, text);
  if (isHealthXml(text)) return readHealthXml(sidecar, text);
  const table = readTable(sidecar, text);
  if (table) return { kind: "table", ...table };
  const found = readText(sidecar, text);
  if (found) return { kind: "text", ...found };
  throw new IntakeError("nothing_found");
}

/**
 * Several files of one person, such as the folder clinical-records.
 *
 * @param {Sidecar} sidecar
 * @param {(File | Blob)[]} files
 * @param {{loadPdf: () => Promise<(bytes: Uint8Array) => Promise<string>>}} tools
 * @returns {Promise<Report>}
 * @throws {IntakeError}
 */
export async function readFiles(sidecar, files, tools) {
  if (files.length === 1) return readFile(sidecar, files[0], tools);
  const texts = await Promise.all(files.map((file) => file.text()));
  if (!texts.every((text) => /^\s*[{[]/u.test(text))) throw new IntakeError("one_file");
  return readFhir(sidecar, texts.flatMap(parseJson));
}

/**
 * export.xml says who the person is; the results are in other files beside it.
 *
 * @param {Sidecar} sidecar
 * @param {string} text
 * @returns {Report}
 */
function readHealthXml(sidecar, text) {
  const { birthDate, gender } = readMe(text);
  const today = new Date().toISOString().slice(0, 10);
  const age = computeAge(birthDate, today);
  const sex = sidecar.sexes.indexOf(gender ?? "");
  const unused = [{ label: "export.xml", where: "", code: "health_records", params: {} }];
  const person = { id: "", drawn: null, readings: [], unused: [] };
  return {
    kind: "health",
    people: [{ ...person, age: Number.isNaN(age) ? null : age, sex: sex < 0 ? null : sex }],
    unused,
  };
}

/**
 * @param {Sidecar} sidecar
 * @param {string} text
 */
function readJson(sidecar, text) {
  const content = parseJson(text);
  if (isProfile(content)) throw new IntakeError("profile");
  return readFhir(sidecar, content);
}

/** One document, or one per line. @param {string} text */
function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    try {
      return text
        .trim()
        .split(/\r?\n/u)
        .map((line) => JSON.parse(line));
    } catch (error) {
      throw new IntakeError("broken_json", error instanceof Error ? error.message : "");
    }
  }
}

/**
 * @param {Sidecar} sidecar
 * @param {any} content a Bundle, a resource, or a list of resources
 * @returns {Report}
 */
function readFhir(sidecar, content) {
  const { people, refusals } = attempt(() => readBundle(sidecar, toBundle(content)));
  const unused = refusals.map(({ observation, biomarker, code, message }) => ({
    label: sidecar.panel.find(({ name }) => name === biomarker)?.label ?? biomarker,
    where: observation,
    code: code === "old" ? code : `fhir_${code}`,
    params: { message },
  }));
  const useful = people.filter(({ given }) => Object.keys(given).length > 0);
  if (useful.length === 0 && unused.length === 0) throw new IntakeError("nothing_found");
  const read = (useful.length > 0 ? useful : people.slice(0, 1)).map((person) => ({
    id: person.patient,
    age: Number.isNaN(person.age_years) ? null : person.age_years,
    sex: person.sex < 0 ? null : person.sex,
    drawn: person.drawn,
    unused: [],
    readings: Object.entries(person.given).map(([name, { value, unit }]) => ({
      name,
      value,
      unit,
      label: sidecar.panel.find((item) => item.name === name)?.label ?? name,
      source: `FHIR Observation · ${value} ${unit}`,
      day: person.days[name],
      side: person.limits[name] ?? "",
      doubts: person.limits[name] ? ["limit_used"] : [],
    })),
  }));
  return { kind: "fhir", people: read, unused };
}

/** @template T @param {() => T} read @returns {T} */
function attempt(read) {
  try {
    return read();
  } catch (error) {
    if (error instanceof BundleError) throw new IntakeError("fhir", error.message);
    if (error instanceof RangeError) throw new IntakeError("unreadable", error.message);
    throw error;
  }
}

/** @param {any} content */
function toBundle(content) {
  if (content?.resourceType === "Bundle") return content;
  const resources = (Array.isArray(content) ? content : [content]).filter(
    (item) => typeof item?.resourceType === "string",
  );
  if (resources.length === 0) return content;
  if (resources.some(({ resourceType }) => resourceType === "Patient"))
    return { resourceType: "Bundle", entry: resources.map((resource) => ({ resource })) };
  const owners = new Set(resources.map(({ subject }) => subject?.reference));
  if (owners.size > 1) throw new BundleError("it has results of several people, and no Patient");
  return bundleResources({}, resources);
}

/**
 * @param {Sidecar} sidecar
 * @param {Blob} file
 * @param {Uint8Array} head
 */
async function readArchive(sidecar, file, head) {
  const names = decode(head.slice(0, 4000));
  if (/xl\/|\[Content_Types\]/u.test(names) && !/word\//u.test(names))
    throw new IntakeError("spreadsheet");
  if (/word\/|mimetypeapplication\/vnd/u.test(names)) throw new IntakeError("document");
  const { me, resources } = await readHealthZip(file).catch((error) => {
    throw new IntakeError("unreadable", String(error?.message ?? error));
  });
  if (resources.length === 0)
    throw new IntakeError(Object.keys(me).length > 0 ? "nothing_found" : "unreadable");
  return readFhir(sidecar, bundleResources(me, resources));
}

/** By its first bytes, whatever it is called. @param {Uint8Array} head @param {string} type */
function isPicture(head, type) {
  const text = String.fromCharCode(...head.slice(0, 16));
  return (
    type.startsWith("image/") ||
    /^(?:\u0089PNG|\u00ff\u00d8\u00ff|GIF8|BM|II\*|MM\u0000\*|RIFF....WEBP|....ftyp(?:hei|mif|avi))/su.test(
      text,
    )
  );
}

/** UTF-8, UTF-16 by its mark, or Windows-1252. @param {Uint8Array} bytes */
function decode(bytes) {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (first === 0xfe && second === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  const text = new TextDecoder().decode(bytes);
  return text.includes("\ufffd") && !text.endsWith("\ufffd")
    ? new TextDecoder("windows-1252").decode(bytes)
    : text;
}
