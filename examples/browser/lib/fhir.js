/**
 * FHIR R4 Bundles to people: the newest usable Observation of each biomarker, by the codes
 * and units of the sidecar. The rules are the shared cases in tests/fhir, which the Python
 * reader passes too.
 */

import { computeAge, findTomorrow, readTime } from "./dates.js";
import { saysTooLittle } from "./limits.js";
import { findUnit, showNumber, toPanel, UnitError } from "./units.js";

/** @typedef {import("./sidecar.js").Sidecar} Sidecar */
/** @typedef {Record<string, any>} Resource */
/** @typedef {{observation: string, biomarker: string, code: string, message: string}} Refusal
 *   `message` is in English; `code` is for words in any language. */
/** @typedef {{value: number, unit: string}} Given As the report says it. */
/** @typedef {{value: number, given: Given, when: number, day: string, observation: string,
 *   side: string | undefined}} Used `value` in the panel's unit. */
/** @typedef {{observation: string, name: string, code: string, when: number, day: string,
 *   quantity: Resource}} Result */
/**
 * @typedef {object} Patient
 * @property {string} patient
 * @property {number} age_years on the day of the newest value; NaN where unknown
 * @property {number} sex -1 where neither
 * @property {string | null} drawn the day of the newest value
 * @property {Record<string, number>} biomarkers in the panel's units
 * @property {Record<string, Given>} given
 * @property {Record<string, string>} days of the values, as written there
 * @property {Record<string, string>} limits "below" or "above"
 * @property {Record<string, string>} problems messages by code
 */

const WINDOW_MS = 365 * 86_400_000;

/** A Bundle that cannot be read. */
export class BundleError extends Error {}

class RefusedError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * @param {Sidecar} sidecar
 * @param {any} bundle decoded JSON
 * @returns {{people: Patient[], refusals: Refusal[]}}
 * @throws {BundleError} it is not a Bundle, or has no Patient
 */
export function readBundle(sidecar, bundle) {
  if (!isObject(bundle) || bundle.resourceType !== "Bundle")
    throw new BundleError("resourceType must be Bundle");
  if (bundle.type === "history")
    throw new BundleError("a Bundle of type history has earlier versions of its resources too");
  const entries = asList(bundle.entry).filter(isObject);
  const patients = findPatients(entries);
  if (patients.size === 0) throw new BundleError("the Bundle has no Patient");
  /** @type {Refusal[]} */
  const refusals = [];
  /** @type {Map<string, Result[]>} */
  const results = new Map([...patients.keys()].map((key) => [key, []]));
  const latest = findTomorrow();
  for (const { name: observation, fullUrl, resource } of walkObservations(entries)) {
    const found = findBiomarker(sidecar, resource);
    if (found === null) continue;
    attempt(refusals, observation, found.name, () => {
      if (found.reason) throw new RefusedError("code", found.reason);
      const owner = findOwner(resource, fullUrl, patients);
      results.get(owner)?.push(readResult(sidecar, observation, found, resource, latest));
    });
  }
  const people = [...patients].map(([key, { resource }]) =>
    readPerson(sidecar, key, resource, results.get(key) ?? [], refusals),
  );
  return { people, refusals };
}

/** @param {Resource[]} entries */
function findPatients(entries) {
  /** @type {Map<string, {resource: Resource, fullUrl: unknown}>} */
  const patients = new Map();
  entries.forEach(({ resource, fullUrl }, place) => {
    if (!isObject(resource) || resource.resourceType !== "Patient") return;
    const key = nameEntry(resource, fullUrl, place);
    const before = patients.get(key) ?? { resource, fullUrl };
    const moved = isWeb(before.fullUrl) && isWeb(fullUrl) && before.fullUrl !== fullUrl;
    if (moved || spell(before.resource) !== spell(resource))
      throw new BundleError(`Patient '${key}' is in the Bundle twice, with different content`);
    patients.set(key, { resource, fullUrl });
  });
  return patients;
}

/**
 * @param {Resource} resource
 * @param {unknown} fullUrl
 * @param {number} place
 */
const nameEntry = ({ id }, fullUrl, place) =>
  [id, fullUrl].find((name) => typeof name === "string" && name) ?? `entry ${place}`;

/** JSON in one order of keys. @param {unknown} value */
const spell = (value) =>
  JSON.stringify(value, (_, part) => {
    if (!isObject(part)) return part;
    return Object.fromEntries(
      Object.keys(part)
        .sort()
        .map((key) => [key, part[key]]),
    );
  });

/** @param {unknown} url @returns {url is string} */
const isWeb = (url) => typeof url === "string" && /^https?:\/\//u.test(url);

/**
 * Observations and their components, which share subject, status, time and modifiers.
 *
 * @param {Resource[]} entries
 * @returns {Generator<{name: string, fullUrl: unknown, resource: Resource}>}
 */
function* walkObservations(entries) {
  for (const { resource, fullUrl, place } of listResources(entries)) {
    if (!isObject(resource) || resource.resourceType !== "Observation") continue;
    const name = nameEntry(resource, fullUrl, place);
    yield { name, fullUrl, resource };
    const { code, valueQuantity, dataAbsentReason, component, modifierExtension, ...shared } =
      resource;
    const modifiers = isEmpty(modifierExtension) ? {} : { modifierExtension };
    for (const part of asList(component).filter(isObject))
      yield { name, fullUrl, resource: { ...part, ...shared, ...modifiers } };
  }
}

/**
 * The resources of the entries, and those that reports contain, which share their subject.
 *
 * @param {Resource[]} entries
 * @returns {Generator<{resource: any, fullUrl: unknown, place: number}>}
 */
function* listResources(entries) {
  for (const [place, { resource, fullUrl }] of entries.entries()) {
    yield { resource, fullUrl, place };
    if (!isObject(resource)) continue;
    const { subject, effectiveDateTime } = resource;
    for (const part of asList(resource.contained).filter(isObject))
      yield { resource: { subject, effectiveDateTime, ...part }, fullUrl, place };
  }
}

/**
 * @param {Sidecar} sidecar
 * @param {Resource} resource
 * @returns {{name: string, code: string, reason?: string} | null} null: nothing of the panel
 */
function findBiomarker({ fhir }, resource) {
  const numbers = asList(resource.code?.coding)
    .filter((coding) => isObject(coding) && fhir.loinc_systems.includes(coding.system))
    .map((coding) => coding.code)
    .filter((number) => typeof number === "string" && Object.hasOwn(fhir.codes, number));
  if (numbers.length === 0) return null;
  const code = numbers.find((number) => fhir.codes[number].refused) ?? numbers[0];
  const { biomarker: name, refused } = fhir.codes[code];
  if (refused) return { name, code, reason: `LOINC ${code}: ${refused}` };
  const names = new Set(numbers.map((number) => fhir.codes[number].biomarker));
  if (names.size > 1) return { name, code, reason: `its codes say ${[...names].join(" and ")}` };
  return { name, code };
}

/** Systems and values; a value alone is not unique. @param {unknown} identifiers */
const listIdentifiers = (identifiers) =>
  asList(identifiers)
    .filter((one) => isObject(one) && one.system && one.value)
    .map(({ system, value }) => `${system}|${value}`);

/**
 * The Patient of an Observation, by FHIR's rules of references in a Bundle.
 *
 * @param {Resource} resource
 * @param {unknown} fullUrl
 * @param {Map<string, {resource: Resource, fullUrl: unknown}>} patients
 */
function findOwner(resource, fullUrl, patients) {
  const subject = resource.subject ?? {};
  const identifiers = listIdentifiers([subject.identifier]);
  const reference = subject.reference ?? null;
  if (isObject(subject) && reference === null) {
    for (const [key, patient] of patients)
      if (listIdentifiers(patient.resource.identifier).some((one) => identifiers.includes(one)))
        return key;
    if ((subject.identifier ?? null) !== null)
      throw new RefusedError("subject", "no Patient of the Bundle has its subject's identifier");
    if (patients.size === 1) return [...patients.keys()][0];
    throw new RefusedError("subject", "it names no subject, and the Bundle has several Patients");
  }
  let wanted = typeof reference === "string" ? reference.split("/_history/")[0] : "";
  const base = isWeb(fullUrl) ? fullUrl.lastIndexOf("/Observation/") : -1;
  if (isWeb(fullUrl) && base >= 0 && wanted.startsWith("Patient/"))
    wanted = `${fullUrl.slice(0, base)}/${wanted}`;
  for (const [key, { fullUrl: address }] of patients) {
    if (wanted === address) return key;
    // A Patient without its own address is found by its id, on any server.
    const byId = wanted.startsWith("Patient/") || (isWeb(wanted) && !isWeb(address));
    if (byId && `/${wanted}`.endsWith(`/Patient/${key}`)) return key;
  }
  throw new RefusedError("subject", "its subject is not a Patient of the Bundle");
}

/**
 * @param {Sidecar} sidecar
 * @param {string} observation
 * @param {{name: string, code: string}} found
 * @param {Resource} resource
 * @param {string} latest the last day that is not of the future
 * @returns {Result}
 */
function readResult({ fhir }, observation, { name, code }, resource, latest) {
  if (!fhir.statuses.includes(resource.status))
    throw new RefusedError(
      "status",
      `status must be ${fhir.statuses.join(", ")}; got ${quote(resource.status)}`,
    );
  if (!isEmpty(resource.modifierExtension))
    throw new RefusedError("modifier", "it has a modifierExtension, whose meaning is not known");
  const { effectiveDateTime, effectiveInstant, effectivePeriod } = resource;
  const time = [effectiveDateTime, effectiveInstant, effectivePeriod?.end, effectivePeriod?.start]
    .map(readTime)
    .find((moment) => moment !== null);
  if (!time) throw new RefusedError("date", "it has no effective date");
  if (time.day > latest)
    throw new RefusedError("date", `its effective date, ${time.day}, is in the future`);
  const quantity = isObject(resource.valueQuantity) ? resource.valueQuantity : {};
  if (typeof quantity.value !== "number")
    throw new RefusedError("no_value", "it has no valueQuantity with a number");
  if ((resource.dataAbsentReason ?? null) !== null)
    throw new RefusedError("no_value", "it has a dataAbsentReason beside its value");
  return { observation, name, code, ...time, quantity };
}

/**
 * @param {Sidecar} sidecar
 * @param {string} key
 * @param {Resource} resource
 * @param {Result[]} results
 * @param {Refusal[]} refusals
 * @returns {Patient}
 */
function readPerson(sidecar, key, resource, results, refusals) {
  const used = pickNewest(sidecar, results, refusals);
  const sex = sidecar.sexes.indexOf(resource.gender);
  const drawn =
    [...used.values()]
      .map(({ day }) => day)
      .sort()
      .at(-1) ?? null;
  const hasResult = used.size > 0;
  refuseLimits(sidecar, used, resource.birthDate, sex, refusals);
  const age = drawn === null ? NaN : computeAge(resource.birthDate, drawn);
  /** @type {Record<string, string>} */
  const problems = {};
  const [youngest, oldest] = sidecar.accepted_ages;
  if (readTime(resource.birthDate) === null)
    problems.birth_date = `birthDate must be a date; got ${quote(resource.birthDate)}`;
  else if (drawn !== null && !(youngest <= age && age <= oldest))
    // The first day outside is less than 0.003 years away.
    problems.age = `${age.toFixed(3)} years is outside ${youngest} to ${oldest}`;
  if (sex < 0)
    problems.sex = `gender must be ${sidecar.sexes.join(" or ")}; got ${quote(resource.gender)}`;
  if (!hasResult) problems.no_values = "no usable Observation";
  /** @template T @param {(use: Used) => T} part @returns {Record<string, T>} */
  const collect = (part) => Object.fromEntries([...used].map(([name, use]) => [name, part(use)]));
  const days = collect(({ day }) => day);
  return {
    patient: key,
    age_years: age,
    sex,
    drawn,
    biomarkers: collect(({ value }) => value),
    given: collect(({ given }) => given),
    days,
    limits: Object.fromEntries(
      [...used].flatMap(([name, { side }]) => (side ? [[name, side]] : [])),
    ),
    problems,
  };
}

/**
 * The newest usable result of each biomarker, as the package chooses: of the same time a number
 * before a limit, and of several numbers the lowest, in any order. A result more than a year older
 * than the newest of all does not say how the person was then, and is refused.
 *
 * @param {Sidecar} sidecar
 * @param {Result[]} results
 * @param {Refusal[]} refusals
 */
function pickNewest(sidecar, results, refusals) {
  /** @type {Map<string, Used>} */
  const used = new Map();
  for (const result of results)
    attempt(refusals, result.observation, result.name, () => {
      const read = convert(sidecar, result);
      const known = used.get(result.name);
      if (!known || isBefore(read, known)) used.set(result.name, read);
    });
  const newest = [...used.values()].reduce((latest, { when }) => Math.max(latest, when), -Infinity);
  for (const [name, { when, day, observation }] of used)
    attempt(refusals, observation, name, () => {
      if (when >= newest - WINDOW_MS) return;
      used.delete(name);
      throw new RefusedError("old", `${day} is more than 365 days before the newest result`);
    });
  return used;
}

/** Whether a result is to be used rather than another. @param {Used} one @param {Used} other */
const isBefore = (one, other) =>
  one.when !== other.when
    ? one.when > other.when
    : Boolean(one.side) !== Boolean(other.side)
      ? !one.side
      : one.value < other.value;

/**
 * @param {Sidecar} sidecar
 * @param {Result} result
 * @returns {Used}
 */
function convert(sidecar, { observation, name, code, when, day, quantity }) {
  const { fhir, panel, units } = sidecar;
  const biomarker = /** @type {Sidecar["panel"][0]} */ (panel.find((item) => item.name === name));
  const { comparator = null, value: number } = quantity;
  const known = typeof comparator === "string" && Object.hasOwn(fhir.comparators, comparator);
  if (comparator !== null && !known)
    throw new RefusedError("comparator", `comparator ${quote(comparator)} is not known`);
  const ucum = fhir.ucum_systems.includes(quantity.system) ? quantity.code : null;
  const spelling = ucum || quantity.unit || quantity.code;
  if (typeof spelling !== "string")
    throw new RefusedError("unit", `it has no unit; it must be one of ${biomarker.units.join(", ")}`);
  const unit = readUnit(sidecar, biomarker, spelling);
  const allowed = fhir.codes[code].units;
  if (allowed && !allowed.includes(unit))
    throw new RefusedError(
      "unit",
      `LOINC ${code} must have the unit ${allowed.join(", ")}; got ${spelling}`,
    );
  const value = toPanel(units.conversions[name][unit], number);
  if (!(biomarker.minimum <= value && value <= biomarker.maximum))
    throw new RefusedError(
      "implausible",
      `${showNumber(value)} ${biomarker.unit} is outside ${biomarker.minimum} to ${biomarker.maximum}`,
    );
  const side = comparator === null ? undefined : fhir.comparators[comparator];
  return { value, given: { value: number, unit }, when, day, observation, side };
}

/**
 * @param {Sidecar} sidecar
 * @param {Sidecar["panel"][0]} biomarker
 * @param {string} spelling
 */
function readUnit(sidecar, biomarker, spelling) {
  try {
    return findUnit(sidecar, biomarker, spelling);
  } catch (error) {
    if (error instanceof UnitError) throw new RefusedError("unit", error.message);
    throw error;
  }
}

/**
 * Remove limits that cannot be used as a value. Each is judged by the person's age on its own day,
 * because the day of the newest value depends on which limits are used.
 *
 * @param {Sidecar} sidecar
 * @param {Map<string, Used>} used
 * @param {unknown} birthDate
 * @param {number} sex
 * @param {Refusal[]} refusals
 */
function refuseLimits(sidecar, used, birthDate, sex, refusals) {
  const [youngest, oldest] = sidecar.accepted_ages;
  for (const [name, { side, value, given, day, observation }] of used)
    attempt(refusals, observation, name, () => {
      if (!side) return;
      const age = computeAge(birthDate, day);
      const limit = `${side} ${given.value} ${given.unit}`;
      let reason;
      if (sex < 0 || !(youngest <= age && age <= oldest))
        reason = `is a limit, which needs a sex and an age of ${youngest} to ${oldest} to be judged`;
      else if (saysTooLittle(sidecar, name, side, value, age, sex))
        reason = "says too little: so are most";
      if (!reason) return;
      used.delete(name);
      throw new RefusedError("limit", `${limit} ${reason}`);
    });
}

/**
 * @param {Refusal[]} refusals
 * @param {string} observation
 * @param {string} biomarker
 * @param {() => void} step
 */
function attempt(refusals, observation, biomarker, step) {
  try {
    step();
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    refusals.push({ observation, biomarker, code: error.code, message: error.message });
  }
}

/** @param {unknown} value @returns {value is Resource} */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {unknown} value @returns {any[]} */
const asList = (value) => (Array.isArray(value) ? value : []);

/** @param {unknown} value */
const isEmpty = (value) =>
  value === undefined || value === null || (Array.isArray(value) && value.length === 0);

/** @param {unknown} value as it is told to people */
const quote = (value) => (isEmpty(value) ? "none" : JSON.stringify(value).slice(0, 40));
