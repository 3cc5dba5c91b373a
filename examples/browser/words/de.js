import { en } from "./en.js";
/** @type {import("./words.js").Texts} */
export const de = { ...en, language: "de" };
