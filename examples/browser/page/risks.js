/** The next ten years as natural frequencies, beside those of the typical person. */

import { chooseDenominator, listCauses } from "../lib/risk.js";
import { h, svg } from "./dom.js";

/** @typedef {import("../lib/model.js").Person} Person */
/** @typedef {import("../lib/model.js").Answer} Answer */
/** @typedef {import("./app.js").App} App */
/** @typedef {import("../words/words.js").Key} Key */

/**
 * @param {App} app
 * @param {Person} person
 * @param {Answer} answer
 * @param {Answer} typical of that age and sex
 */
export function buildRisks(app, { age, sex }, answer, typical) {
  const { sidecar, words } = app;
  const of = chooseDenominator(answer.mortality_10y, typical.mortality_10y);
  /** @param {number} risk */
  const count = (risk) => {
    const people = Math.round(risk * of);
    return people === 0 ? words.say("fewer_than_1") : words.number(people);
  };
  const key = /** @type {Key} */ (`risk.words.${sidecar.sexes[sex]}`);
  const usual = listCauses(sidecar, typical);
  return h(
    "section",
    { class: "card", id: "risks", "aria-labelledby": "risk-title" },
    h("h2", { id: "risk-title" }, words.say("risk.title")),
    h(
      "p",
      { id: "risk-words" },
      words.say(key, {
        of: words.number(of),
        age: words.number(Math.floor(age)),
        count: count(answer.mortality_10y),
        typical: count(typical.mortality_10y),
      }),
    ),
    h(
      "div",
      { class: "pair" },
      ...[
        { label: words.say("risk.yours"), risk: answer.mortality_10y, kind: "yours" },
        { label: words.say("risk.typical"), risk: typical.mortality_10y, kind: "typical" },
      ].map(({ label, risk, kind }) =>
        h(
          "figure",
          { class: kind },
          drawIcons(
            risk,
            of,
            words.say("risk.picture", { count: count(risk), of: words.number(of) }),
          ),
          h(
            "figcaption",
            {},
            h("b", {}, label),
            ` ${count(risk)} ${words.say("risk.of", { of: words.number(of) })}`,
          ),
        ),
      ),
    ),
    h(
      "table",
      { class: "causes" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, words.say("risk.cause")),
          h(
            "th",
            { scope: "col" },
            words.say("risk.yours"),
            h("small", {}, words.say("risk.of", { of: words.number(1000) })),
          ),
          h(
            "th",
            { scope: "col" },
            words.say("risk.typical"),
            h("small", {}, words.say("risk.of", { of: words.number(1000) })),
          ),
        ),
      ),
      h(
        "tbody",
        {},
        ...listCauses(sidecar, answer).map(({ cause, risk }, place) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, words.sayAny(`cause.${cause}`, cause)),
            h("td", {}, words.number(1000 * risk, risk < 0.01 ? 1 : 0)),
            h("td", {}, words.number(1000 * usual[place].risk, usual[place].risk < 0.01 ? 1 : 0)),
          ),
        ),
      ),
    ),
    h("p", { class: "quiet" }, words.say("risk.source")),
  );
}

/** Squares; those of people who die come first. @param {number} risk @param {number} of @param {string} label */
function drawIcons(risk, of, label) {
  const dying = Math.round(risk * of);
  const columns = of === 100 ? 20 : 50;
  return svg(
    "svg",
    {
      class: "icons",
      role: "img",
      "aria-label": label,
      viewBox: `0 0 ${columns * 10} ${(of / columns) * 10}`,
    },
    ...Array.from({ length: of }, (_, person) =>
      svg("rect", {
        class: person < dying ? "dies" : "lives",
        x: (person % columns) * 10 + 1,
        y: Math.floor(person / columns) * 10 + 1,
        width: 8,
        height: 8,
        rx: 2,
      }),
    ),
  );
}
