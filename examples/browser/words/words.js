/** Texts, numbers and dates in a person's language. */

import { de } from "./de.js";
import { en } from "./en.js";
import { es } from "./es.js";
import { fr } from "./fr.js";
import { it } from "./it.js";
import { nl } from "./nl.js";

/** @typedef {keyof typeof en} Key */
/** @typedef {Record<Key, string>} Texts */
/** @typedef {ReturnType<typeof speak>} Words */

/** @type {Record<string, Texts>} */
export const LANGUAGES = { en, de, fr, es, it, nl };

/**
 * All texts of a language.
 *
 * @param {string} language
 */
export const readTexts = (language) => LANGUAGES[language];

/**
 * The first of some languages that has texts.
 *
 * @param {readonly string[]} wanted such as navigator.languages
 */
export const chooseLanguage = (wanted) =>
  wanted.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag in LANGUAGES) ?? "en";

/**
 * @param {string} language one of LANGUAGES
 * @param {string} [region] of the number's and date's form, such as "en-US"
 */
export function speak(language, region = language) {
  const texts = readTexts(language);
  const locale = region.startsWith(language) ? region : language;
  /** @param {number} value @param {number} [digits] after the decimal mark */
  const number = (value, digits = 0) =>
    new Intl.NumberFormat(locale, {
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
    }).format(round(value, digits));
  return {
    language,
    locale,
    /** The decimal mark that people of this language type. */
    decimal: /** @type {"." | ","} */ (number(1.5, 1).includes(",") ? "," : "."),
    number,
    /**
     * A text with its places filled.
     *
     * @param {Key} key
     * @param {Record<string, string | number>} [places]
     */
    say: (key, places = {}) =>
      texts[key].replace(/\{(\w+)\}/gu, (_, name) => String(places[name] ?? `{${name}}`)),
    /**
     * A text that may be missing, as for a new biomarker.
     *
     * @param {string} key
     * @param {string} otherwise
     */
    sayAny: (key, otherwise) => /** @type {Record<string, string>} */ (texts)[key] ?? otherwise,
    /** As laboratories give a value: three significant digits. @param {number} value */
    value: (value) =>
      new Intl.NumberFormat(locale, {
        maximumSignificantDigits: Math.abs(value) < 1000 ? 3 : 6,
        useGrouping: false,
      }).format(value),
    /** With its sign, a true minus. @param {number} years */
    years: (years) => {
      const rounded = round(years, 1);
      const sign = rounded > 0 ? "+" : rounded < 0 ? "\u2212" : "\u00b1";
      return sign + number(Math.abs(rounded), 1);
    },
    /** @param {string} day YYYY-MM-DD */
    date: (day) =>
      new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeZone: "UTC" }).format(
        new Date(`${day}T00:00:00Z`),
      ),
  };
}

/** Without a minus zero. @param {number} value @param {number} digits */
const round = (value, digits) => Number(value.toFixed(digits)) + 0;
