import { en } from "./en.js";
/** @type {import("./words.js").Texts} */
export const fr = { ...en, language: "fr" };
