/** One printed page for the doctor: values, units, intervals, method, version. */

import { h } from "./dom.js";
import { listRest, listValues } from "./values.js";

/** @typedef {import("../lib/model.js").Person} Person */
/** @typedef {import("../lib/model.js").Answer} Answer */
/** @typedef {import("./app.js").App} App */

/** @param {App} app @param {Person} person @param {Answer} answer */
export function buildSheet(app, person, answer) {
  const { sidecar, words, draft, profile } = app;
  const { given, missing } = listValues(app, person, answer);
  const rows = sidecar.panel.flatMap(({ name }) =>
    given.filter(({ biomarker }) => biomarker.name === name),
  );
  const today = new Date().toISOString().slice(0, 10);
  const about = [
    words.say("sheet.person", {
      sex: words.sayAny(`sex.${sidecar.sexes[person.sex]}`, ""),
      age: words.number(person.age, Number.isInteger(person.age) ? 0 : 1),
    }),
    draft.drawn && words.say("sheet.drawn", { date: words.date(draft.drawn) }),
    words.say("sheet.printed", { date: words.date(today) }),
  ];
  const [low, high] = answer.interval;
  const method = words.say("sheet.method", {
    people: words.number(sidecar.training.people),
    data: sidecar.training.data.replace(/\.$/u, ""),
  });
  return h(
    "section",
    { class: "sheet", "aria-hidden": "true" },
    h("h2", {}, words.say("sheet.title")),
    h(
      "p",
      {},
      about.filter(Boolean).join(" · "),
      draft.example.length > 0 ? ` · ${words.say("result.example")}` : "",
    ),
    h(
      "p",
      { class: "sheet-age" },
      h(
        "b",
        {},
        `${words.say("result.number")}: ${words.number(answer.biological_age, 1)} ${words.say("result.years")}`,
      ),
      ` · ${words.say("sheet.interval", { low: words.number(low, 1), high: words.number(high, 1) })}`,
      ` · ${words.say("sheet.percentile", { share: words.number(100 - answer.percentile) })}`,
    ),
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ...["sheet.value", "sheet.result", "sheet.usual", "sheet.typical", "sheet.years"].map(
            (key) =>
              h(
                "th",
                { scope: "col" },
                words.say(/** @type {import("../words/words.js").Key} */ (key)),
              ),
          ),
        ),
      ),
      h(
        "tbody",
        {},
        ...rows.map(({ name, biomarker, shown, unit, interval, typical, years, side }) =>
          h(
            "tr",
            {},
            h(
              "th",
              { scope: "row" },
              name,
              h("small", {}, ` ${words.sayAny(`abbr.${biomarker.name}`, "")}`),
            ),
            h(
              "td",
              {},
              `${shown} ${unit}`,
              side === "usual" ? "" : ` (${words.say(`value.${side}`)})`,
            ),
            h("td", {}, interval),
            h("td", {}, typical),
            h("td", {}, words.years(years)),
          ),
        ),
        ...missing.map(({ name, label }) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, words.sayAny(`name.${name}`, label)),
            h("td", { colspan: 4 }, words.say("value.missing")),
          ),
        ),
        ...listRest(app, answer).map(({ label, years }) =>
          h(
            "tr",
            {},
            h("th", { scope: "row", colspan: 4 }, label),
            h("td", {}, words.years(years)),
          ),
        ),
      ),
    ),
    h("p", {}, method),
    h(
      "p",
      {},
      words.say("sheet.model", {
        name: sidecar.name,
        version: sidecar.version,
        date: words.date(sidecar.date),
        checkpoint: sidecar.checkpoint_sha256.slice(0, 12),
      }),
      profile ? ` · ${words.say("lab.title")}: ${profile.name}` : "",
    ),
    h("p", {}, h("b", {}, words.say("foot.use"))),
  );
}
