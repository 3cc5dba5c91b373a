/**
 * A name without case, accents, spaces and punctuation, so that its spellings meet; the signs
 * for percent and number stay as words.
 *
 * @param {string} name
 */
export const foldName = (name) =>
  name
    .toLowerCase()
    .replaceAll("%", "pct")
    .replaceAll("#", "count")
    .replaceAll("γ", "gamma")
    .replaceAll("ß", "ss")
    .normalize("NFKD")
    .replace(/[^a-z0-9]/gu, "");
