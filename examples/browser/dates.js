/** Dates of FHIR: whole or partial, with a time and its zone or without; and ages. */

const TIME =
  /^(\d{4})(?:-(\d\d)(?:-(\d\d))?)?(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(?:Z|([+-])(\d\d):(\d\d))?)?$/;
const DAY_MS = 86_400_000;
const MEAN_YEAR_DAYS = 365.25;

/**
 * @param {unknown} text
 * @returns {{when: number, day: string} | null} the instant in ms, and the day as written
 *   there; a partial date is its first day
 */
export function readTime(text) {
  const match = typeof text === "string" ? TIME.exec(text) : null;
  if (match === null) return null;
  const [year, month, day, hour, minute, second] = match
    .slice(1, 7)
    .map((part, place) => (part === undefined ? Number(place === 1 || place === 2) : Number(part)));
  const midnight = new Date(0).setUTCFullYear(year, month - 1, day);
  const written = new Date(midnight).toISOString().slice(0, 10);
  const asked = [year, month, day].map((part, place) => String(part).padStart(place ? 2 : 4, "0"));
  if (year < 1 || written !== asked.join("-") || hour > 23 || minute > 59) return null;
  const [sign, hours, minutes] = match.slice(7);
  const offset = sign ? Number(`${sign}1`) * (Number(hours) * 60 + Number(minutes)) : 0;
  const when = midnight + ((hour * 60 + minute - offset) * 60 + Math.min(second, 59)) * 1000;
  return { when, day: written };
}

/**
 * A date of a table: as of FHIR, with a space for its T too, or day.month.year. With slashes
 * it could be of either order, and is not read.
 *
 * @param {string} text
 */
export function readTableTime(text) {
  const written = text
    .replace(
      /^(\d{1,2})\.(\d{1,2})\.(\d{4})/u,
      (_, day, month, year) => `${year}-${month.padStart(2, "0")}-${day.padStart(2, "0")}`,
    )
    .replace(/^(\d{4}-\d\d-\d\d) (\d)/u, "$1T$2")
    .replace(/T(\d):/u, "T0$1:");
  return readTime(written);
}

/** The last day, YYYY-MM-DD, that is not of the future: somewhere it is tomorrow already. */
export const findTomorrow = () => new Date(Date.now() + DAY_MS).toISOString().slice(0, 10);

/**
 * Age on a day; of a birth month alone the fifteenth counts, of a year alone the first of
 * July.
 *
 * @param {unknown} birthDate
 * @param {string} day YYYY-MM-DD
 * @returns {number} years, NaN where the birth date cannot be read
 */
export function computeAge(birthDate, day) {
  const born = readTime(birthDate);
  if (born === null) return NaN;
  const written = String(birthDate);
  const middle = { 4: "-07-01", 7: "-15" }[written.length];
  return countYears(middle ? written + middle : born.day, day);
}

/**
 * Days that are more than a year before the newest of them: what was measured then may not
 * say how the person was on that day.
 *
 * @param {Record<string, string>} days YYYY-MM-DD by name
 */
export function findOld(days) {
  const newest = Object.values(days).sort().at(-1) ?? "";
  const old = Object.entries(days).filter(([, day]) => countYears(day, newest) > 1);
  return Object.fromEntries(old);
}

/**
 * Years between two days by the calendar: whole ones on a birthday. Between two birthdays
 * the days count by their share of that year.
 *
 * @param {string} start YYYY-MM-DD
 * @param {string} end YYYY-MM-DD
 */
export function countYears(start, end) {
  const [from, to] = [start, end].map((day) => Date.parse(day));
  if (to < from) return Math.round((to - from) / DAY_MS) / MEAN_YEAR_DAYS;
  const [born, month, day] = start.split("-").map(Number);
  // Who is born on a 29 February has it on 1 March in other years, as Date does.
  /** @param {number} year */
  const birthday = (year) => new Date(0).setUTCFullYear(year, month - 1, day);
  const ends = Number(end.slice(0, 4));
  const year = birthday(ends) <= to ? ends : ends - 1;
  return year - born + (to - birthday(year)) / (birthday(year + 1) - birthday(year));
}
