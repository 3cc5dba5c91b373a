/** Results over time, kept on this device if asked, and whether a change is beyond the noise. */

import { compareDraws } from "../lib/change.js";
import { h, download, scaleToPercent, svg } from "./dom.js";
import { forget, forgetAll, keep, listKept, readKeptFile, writeFile } from "./store.js";

/** @typedef {import("../lib/model.js").Person} Person */
/** @typedef {import("../lib/model.js").Answer} Answer */
/** @typedef {import("./store.js").Kept} Kept */
/** @typedef {import("./app.js").App} App */

/** @param {App} app @param {Person} person */
export function buildTime(app, person) {
  const { words, draft } = app;
  const list = h("div", { id: "timeline" });
  const today = new Date().toISOString().slice(0, 10);
  const date = h("input", { type: "date", id: "drawn", max: today, value: draft.drawn || today });
  /** @param {() => Promise<unknown>} step */
  const act = async (step) => {
    try {
      await step();
      await show(app, list);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      app.say("time-message", words.say("time.no_store"));
    }
  };
  const save = h(
    "button",
    {
      type: "button",
      id: "keep",
      onclick: () =>
        act(async () => {
          if (!date.value) return date.focus();
          app.change({ drawn: date.value });
          const known = app.sidecar.panel.flatMap(({ name }, place) =>
            Number.isNaN(person.biomarkers[place]) ? [] : [[name, person.biomarkers[place]]],
          );
          const { age, sex } = person;
          await keep({ drawn: date.value, age, sex, biomarkers: Object.fromEntries(known) });
          app.say("time-message", words.say("time.kept"));
        }),
    },
    words.say("time.keep"),
  );
  const input = h("input", {
    type: "file",
    id: "time-file",
    class: "unseen",
    accept: ".json,application/json",
    onchange: async () => {
      const file = input.files?.[0];
      input.value = "";
      if (!file) return;
      const read = readKeptFile(app.sidecar, await file.text());
      if (!read) app.say("time-message", words.say("time.wrong_file"));
      else
        await act(async () => {
          for (const result of read) await keep(result);
          app.say("time-message", words.say("time.imported", { count: read.length }));
        });
    },
  });
  const section = h(
    "section",
    { class: "card", id: "time", "aria-labelledby": "time-title" },
    h("h2", { id: "time-title" }, words.say("time.title")),
    h("p", { class: "quiet" }, words.say("time.words")),
    list,
    h("div", { class: "row" }, h("label", { for: "drawn" }, words.say("time.drawn")), date, save),
    h("p", { class: "message", id: "time-message" }),
    h(
      "div",
      { class: "row" },
      input,
      h("label", { for: "time-file", class: "button plain" }, words.say("time.import")),
      h(
        "button",
        {
          type: "button",
          class: "plain",
          id: "time-export",
          onclick: async () =>
            download(
              new Blob([writeFile(await listKept())], { type: "application/json" }),
              "henaw-results.json",
            ),
        },
        words.say("time.export"),
      ),
      h(
        "button",
        {
          type: "button",
          class: "plain",
          id: "time-delete-all",
          onclick: () => confirm(words.say("time.delete_sure")) && act(forgetAll),
        },
        words.say("time.delete_all"),
      ),
    ),
  );
  act(async () => undefined);
  return section;
}

/** @param {App} app @param {HTMLElement} list */
async function show(app, list) {
  const { words } = app;
  const known = await indexedDB.databases?.();
  // Looking must not leave an empty database behind.
  const kept = known && !known.some(({ name }) => name === "henaw") ? [] : await listKept();
  const answers = kept.length > 0 ? await app.predict(kept.map((one) => toPerson(app, one))) : [];
  const rows = kept.map((one, place) => ({ ...one, answer: answers[place] }));
  const usable = rows.filter(({ answer }) => answer.reliable);
  list.replaceChildren(
    ...(usable.length > 1 ? [drawTimeline(app, usable), ...describeChanges(app, usable)] : []),
    h(
      "ul",
      { class: "kept", "aria-label": words.say("time.list") },
      ...rows.map(({ drawn, answer }) => {
        const date = words.date(drawn);
        const places = {
          date,
          age: words.number(answer.biological_age, 1),
          low: words.number(answer.interval[0]),
          high: words.number(answer.interval[1]),
        };
        return h(
          "li",
          {},
          h("span", {}, words.say(answer.reliable ? "time.row" : "time.row_withheld", places)),
          h(
            "button",
            {
              type: "button",
              class: "plain",
              "aria-label": words.say("time.delete", { date }),
              onclick: async () => {
                await forget(drawn);
                await show(app, list);
              },
            },
            "×",
          ),
        );
      }),
    ),
  );
}

/** @param {App} app @param {Kept} kept @returns {Person} */
const toPerson = ({ sidecar }, { age, sex, biomarkers }) => ({
  age,
  sex,
  biomarkers: sidecar.panel.map(({ name }) => biomarkers[name] ?? NaN),
});

/** @param {App} app @param {(Kept & {answer: Answer})[]} rows */
function describeChanges({ words }, rows) {
  const last = rows[rows.length - 1];
  const before = rows.length > 2 ? [rows[0], rows[rows.length - 2]] : [rows[0]];
  return before.map((row) => {
    const years = last.age - row.age;
    const { gapChange, high, withinNoise } = compareDraws(row.answer, last.answer, years);
    return h(
      "p",
      { class: "change" },
      words.say(withinNoise ? "time.within" : "time.beyond", {
        from: words.date(row.drawn),
        to: words.date(last.drawn),
        years: words.years(gapChange),
        noise: words.number(high - gapChange, 1),
      }),
    );
  });
}

/** @param {App} app @param {(Kept & {answer: Answer})[]} rows */
function drawTimeline({ words }, rows) {
  const times = rows.map(({ drawn }) => Date.parse(drawn));
  const x = scaleToPercent(Math.min(...times), Math.max(...times));
  const ages = rows.flatMap(({ age, answer }) => [age, ...answer.interval]);
  const [low, high] = [Math.floor(Math.min(...ages) - 1), Math.ceil(Math.max(...ages) + 1)];
  const height = 150;
  /** @param {number} years */
  const y = (years) => 10 + (height * (high - years)) / (high - low);
  const at = (/** @type {number} */ place) => `${8 + 0.84 * x(times[place])}%`;
  const step = high - low > 30 ? 10 : 5;
  const ticks = Array.from(
    { length: Math.ceil((high - low) / step) + 1 },
    (_, place) => Math.ceil(low / step) * step + place * step,
  );
  return svg(
    "svg",
    {
      class: "timeline",
      role: "img",
      "aria-label": words.say("time.chart", { count: rows.length }),
    },
    ...ticks
      .filter((year) => year < high)
      .flatMap((year) => [
        svg("line", { class: "grid", x1: "6%", x2: "100%", y1: y(year), y2: y(year) }),
        svg("text", { x: "0", y: y(year) + 4 }, words.number(year)),
      ]),
    ...rows.slice(1).map((row, place) =>
      svg("line", {
        class: "lived",
        x1: at(place),
        y1: y(rows[place].age),
        x2: at(place + 1),
        y2: y(row.age),
      }),
    ),
    ...rows.slice(1).map((row, place) =>
      svg("line", {
        class: "course",
        x1: at(place),
        y1: y(rows[place].answer.biological_age),
        x2: at(place + 1),
        y2: y(row.answer.biological_age),
      }),
    ),
    ...rows.flatMap(({ answer }, place) => [
      svg("line", {
        class: "whisker",
        x1: at(place),
        x2: at(place),
        y1: y(answer.interval[0]),
        y2: y(answer.interval[1]),
      }),
      svg("circle", { class: "own", cx: at(place), cy: y(answer.biological_age), r: 6 }),
    ]),
    svg("text", { class: "first", x: "6%", y: height + 30 }, words.date(rows[0].drawn)),
    svg(
      "text",
      { class: "last", x: "100%", y: height + 30, "text-anchor": "end" },
      words.date(rows[rows.length - 1].drawn),
    ),
  );
}
