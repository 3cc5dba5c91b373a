import { en } from "./en.js";
/** @type {import("./words.js").Texts} */
export const it = { ...en, language: "it" };
