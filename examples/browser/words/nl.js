import { en } from "./en.js";
/** @type {import("./words.js").Texts} */
export const nl = { ...en, language: "nl" };
