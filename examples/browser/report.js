/** A lab report that is chosen, dropped or pasted: FHIR where it is JSON, CSV otherwise. */

import { readCsv, TableError } from "./csv.js";
import { findOld } from "./dates.js";
import { BundleError, readBundle } from "./fhir.js";
import { labelName } from "./sidecar.js";

/** @typedef {import("./sidecar.js").Sidecar} Sidecar */
/** @typedef {import("./form.js").Filling} Filling */

const MOST_NOTES = 100;

/**
 * @param {Sidecar} sidecar
 * @param {string} text
 * @returns {{filling: Filling, dates: Record<string, string[]>, notes: string[]}} with the
 *   labels of the values by their day, the newest first
 * @throws {BundleError | TableError | SyntaxError} nothing of it can be used
 */
export function readReport(sidecar, text) {
  if (!text.trim()) throw new TableError("expected the text of a report, found nothing");
  return /^\s*[{[]/u.test(text) ? readFhir(sidecar, JSON.parse(text)) : readTable(sidecar, text);
}

/**
 * @param {Sidecar} sidecar
 * @param {unknown} bundle
 */
function readFhir(sidecar, bundle) {
  const { people, refusals } = readBundle(sidecar, bundle);
  if (people.length > 1)
    throw new BundleError(`expected one Patient, however: ${people.length}; give one person's`);
  const [person] = people;
  const notes = [
    ...Object.values(person.problems),
    ...Object.entries(person.limits).map(
      ([name, side]) =>
        `${labelName(sidecar, name)} is only known to be ${side} the limit, which is used`,
    ),
    ...describeOld(sidecar, person.days),
    ...refusals.map(
      ({ biomarker, message, observation }) =>
        `${labelName(sidecar, biomarker)} (Observation ${observation}) is not used: ${message}`,
    ),
  ];
  // Rounded to a tenth, an age that is refused could pass for one that is not.
  const age = person.age_years.toFixed(person.problems.age ? 3 : 1);
  const filling = {
    age: Number.isNaN(person.age_years) ? "" : age,
    sex: person.sex < 0 ? undefined : person.sex,
    values: spellValues(person.given),
  };
  return { filling, dates: groupByDay(sidecar, person.days), notes };
}

/**
 * @param {Sidecar} sidecar
 * @param {string} text
 */
function readTable(sidecar, text) {
  const { age, sex, given, days, notes } = readCsv(sidecar, text);
  const filling = {
    age: age === null ? "" : String(age),
    sex: sex ?? undefined,
    values: spellValues(given),
  };
  const told = notes.map(({ label, message }) => `${label} ${message}`);
  return {
    filling,
    dates: groupByDay(sidecar, days),
    notes: [...describeOld(sidecar, days), ...told],
  };
}

/**
 * @param {Sidecar} sidecar
 * @param {Record<string, string>} days by biomarker
 */
function groupByDay(sidecar, days) {
  /** @type {Record<string, string[]>} */
  const labels = {};
  for (const [name, day] of Object.entries(days).sort(([, a], [, b]) => b.localeCompare(a)))
    labels[day] = [...(labels[day] ?? []), labelName(sidecar, name)];
  return labels;
}

/**
 * @param {Sidecar} sidecar
 * @param {Record<string, string>} days by biomarker
 */
const describeOld = (sidecar, days) =>
  Object.entries(findOld(days)).map(
    ([name, day]) =>
      `${labelName(sidecar, name)} is of ${day}, more than a year older than the newest, and is ` +
      "used: leave it out if it no longer holds",
  );

/** @param {Record<string, {value: number, unit: string}>} given */
function spellValues(given) {
  return Object.fromEntries(
    Object.entries(given).map(([name, { value, unit }]) => [name, { value: String(value), unit }]),
  );
}

/**
 * Read what is chosen, dropped anywhere or pasted, and say what became of it.
 *
 * @param {Sidecar} sidecar
 * @param {(filling: Filling) => void} onRead
 * @returns {() => void} what forgets the report
 */
export function watchReports(sidecar, onRead) {
  const details = /** @type {HTMLDetailsElement} */ (document.getElementById("report"));
  const outcome = /** @type {HTMLElement} */ (document.getElementById("report-outcome"));
  const area = /** @type {HTMLTextAreaElement} */ (document.getElementById("report-text"));
  const file = /** @type {HTMLInputElement} */ (document.getElementById("report-file"));

  /** @param {string | Promise<string>} source */
  async function read(source) {
    outcome.replaceChildren();
    try {
      const { filling, dates, notes } = readReport(sidecar, await source);
      details.open = false;
      onRead(filling);
      const count = Object.keys(filling.values).length;
      const days = Object.entries(dates).map(([day, labels]) => `Of ${day}: ${labels.join(", ")}.`);
      tell([`Read ${count} of ${sidecar.panel.length} values.`, ...days].join(" "), notes);
    } catch (error) {
      tell("The report could not be read.", [error instanceof Error ? error.message : `${error}`]);
    }
  }

  /** @param {string} summary @param {string[]} notes */
  function tell(summary, notes) {
    const list = document.createElement("ul");
    const more = notes.length - MOST_NOTES;
    const shown = more > 0 ? [...notes.slice(0, MOST_NOTES), `and ${more} more`] : notes;
    list.append(
      ...shown.map((note) => Object.assign(document.createElement("li"), { textContent: note })),
    );
    outcome.replaceChildren(summary, ...(notes.length ? [list] : []));
  }

  document.getElementById("read-report")?.addEventListener("click", () => read(area.value));
  file.addEventListener("change", async () => {
    if (file.files?.[0]) await read(file.files[0].text());
    file.value = ""; // the same file can be chosen again
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault(); // or the browser leaves the page and shows the file
    const dropped = event.dataTransfer;
    const text = dropped?.files[0]?.text() ?? dropped?.getData("text");
    if (text) read(text);
  });
  return () => {
    area.value = "";
    outcome.replaceChildren();
  };
}
