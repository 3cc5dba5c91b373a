import { en } from "./en.js";
/** @type {import("./words.js").Texts} */
export const es = { ...en, language: "es" };
