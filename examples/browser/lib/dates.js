/** Dates of FHIR, whole or partial, and of tables and reports in six languages; and ages. */

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

const CLOCK = String.raw`(?:[T ,]+(\d{1,2})[:.h](\d\d)(?::(\d\d)(?:\.\d+)?)?\s*([AaPp]\.?[Mm]\.?)?)?`;
const POINTS = new RegExp(`^(\\d{1,2})\\.\\s?(\\d{1,2})\\.\\s?(\\d{4})${CLOCK}$`, "u");
const SLASHES = new RegExp(`^(\\d{1,2})[/-](\\d{1,2})[/-](\\d{4})${CLOCK}$`, "u");
const YEAR_FIRST = new RegExp(`^(\\d{4})[-/.](\\d{1,2})[-/.](\\d{1,2})${CLOCK}$`, "u");
const WORDS = new RegExp(`^(\\d{1,2})[-. ]?\\s?(\\p{L}{3,})\\.?[-, ]?\\s?(\\d{4})${CLOCK}$`, "u");
const WORDS_FIRST = new RegExp(`^(\\p{L}{3,})\\.?\\s(\\d{1,2}),?\\s(\\d{4})${CLOCK}$`, "u");

/**
 * Whether dates such as 03/01/2024 begin with the month, "mdy", or with the day, "dmy"; null
 * where they can be either.
 *
 * @param {Iterable<string>} texts
 * @returns {"mdy" | "dmy" | null}
 */
export function findOrder(texts) {
  let first = false;
  let second = false;
  for (const text of texts) {
    const match = SLASHES.exec(text.trim());
    first ||= Number(match?.[1]) > 12;
    second ||= Number(match?.[2]) > 12;
  }
  if (first === second) return null;
  return first ? "dmy" : "mdy";
}

/**
 * A day with its time as tables and reports have it; null where it is not a date, or where its
 * order is not known. A year of two digits does not tell the century, so it is not a date.
 *
 * @param {string} text
 * @param {{order: "mdy" | "dmy" | null, months: Record<string, number>}} how
 * @returns {{when: number, day: string} | null}
 */
export function readDay(text, { order, months }) {
  const written = text.trim();
  const whole =
    written.length > 7 ? readTime(written.replace(/^(\d{4}-\d\d-\d\d) (\d)/u, "$1T$2")) : null;
  if (whole) return whole;
  const slashes = SLASHES.exec(written);
  if (slashes && order === null && slashes[1] !== slashes[2]) return null;
  for (const [pattern, year, month, day] of /** @type {[RegExp, number, number, number][]} */ ([
    [YEAR_FIRST, 1, 2, 3],
    [POINTS, 3, 2, 1],
    order === "mdy" ? [SLASHES, 3, 1, 2] : [SLASHES, 3, 2, 1],
    [WORDS, 3, 2, 1],
    [WORDS_FIRST, 3, 1, 2],
  ])) {
    const match = pattern.exec(written);
    if (!match) continue;
    const number = /^\d+$/u.test(match[month])
      ? Number(match[month])
      : readMonth(match[month], months);
    const half = match[7]?.toLowerCase()[0];
    const hour = Number(match[4] ?? 0);
    const clock = half ? (hour % 12) + (half === "p" ? 12 : 0) : hour;
    const pad = (/** @type {unknown} */ part) => String(part).padStart(2, "0");
    return readTime(
      `${match[year]}-${pad(number)}-${pad(match[day])}T${pad(clock)}:${match[5] ?? "00"}` +
        `:${match[6] ?? "00"}`,
    );
  }
  return null;
}

/** @param {string} word @param {Record<string, number>} months by their first letters */
function readMonth(word, months) {
  const folded = word.toLowerCase();
  return months[folded.slice(0, 4)] ?? months[folded.slice(0, 3)] ?? 0;
}

/** The last day, YYYY-MM-DD, that is not in the future: in some time zones it is already tomorrow. */
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
  // People born on 29 February have their birthday on 1 March in other years, as in Date.
  /** @param {number} year */
  const birthday = (year) => new Date(0).setUTCFullYear(year, month - 1, day);
  const ends = Number(end.slice(0, 4));
  const year = birthday(ends) <= to ? ends : ends - 1;
  return year - born + (to - birthday(year)) / (birthday(year + 1) - birthday(year));
}
