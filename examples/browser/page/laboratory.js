/** The laboratory's profile: dropped on the result, it takes the laboratory's differences off. */

import { ProfileError, readProfile } from "../lib/profile.js";
import { halfWidth } from "../lib/informative.js";
import { h } from "./dom.js";

/** @typedef {import("../lib/model.js").Answer} Answer */
/** @typedef {import("./app.js").App} App */
/** @typedef {import("../words/words.js").Key} Key */

/**
 * @param {App} app
 * @param {Answer} answer with the profile, where there is one
 * @param {Answer} without it
 */
export function buildLaboratory(app, answer, without) {
  const { words, profile } = app;
  const input = h("input", {
    type: "file",
    id: "lab-file",
    class: "unseen",
    accept: ".json,application/json",
    onchange: async () => {
      const file = input.files?.[0];
      input.value = "";
      if (file) await useProfile(app, await file.text());
    },
  });
  const places = {
    name: profile?.name ?? "",
    after: words.number(answer.biological_age, 1),
    before: words.number(without.biological_age, 1),
    width: words.number(halfWidth(answer), 1),
    widthBefore: words.number(halfWidth(without), 1),
  };
  return h(
    "section",
    { class: "card", id: "lab", "aria-labelledby": "lab-title" },
    h("h2", { id: "lab-title" }, words.say("lab.title")),
    h("p", { class: "quiet" }, words.say("lab.words")),
    profile &&
      h(
        "p",
        { id: "lab-used" },
        answer.reliable && without.reliable
          ? words.say("lab.used", places)
          : words.say("lab.withheld", { name: profile.name }),
      ),
    h(
      "div",
      { class: "row" },
      input,
      h("label", { for: "lab-file", class: "button" }, words.say("lab.choose")),
      profile &&
        h(
          "button",
          { type: "button", class: "plain", onclick: () => app.useProfile(null) },
          words.say("lab.remove"),
        ),
    ),
    h("p", { class: "message", id: "lab-message", "data-kind": "wrong" }),
  );
}

/** @param {App} app @param {string} text */
export async function useProfile(app, text) {
  try {
    await app.useProfile(await readProfile(app.sidecar, parse(text)));
  } catch (error) {
    if (!(error instanceof ProfileError)) throw error;
    app.say("lab-message", app.words.say(/** @type {Key} */ (`lab.${error.code}`)));
  }
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
