/** A hundred people of the same age and sex as dots over their biological ages, and the person. */

import { listGaps } from "../lib/sidecar.js";
import { h, scaleToPercent, svg } from "./dom.js";

/** @typedef {import("../lib/model.js").Person} Person */
/** @typedef {import("../lib/model.js").Answer} Answer */
/** @typedef {import("./app.js").App} App */

const PEOPLE = 100;
const COLUMNS = 44;
const PITCH = 10;
const MARGIN_YEARS = 2;

/**
 * @param {App} app
 * @param {Person} person
 * @param {Answer} answer
 */
export function drawPeople({ sidecar, words }, { age, sex }, answer) {
  const { biological_age, interval, percentile } = answer;
  const ages = listGaps(sidecar, age, sex, PEOPLE).map((gap) => age + gap);
  const first = Math.floor(Math.min(ages[1], interval[0]) - MARGIN_YEARS);
  const last = Math.ceil(Math.max(ages[PEOPLE - 3], interval[1]) + MARGIN_YEARS);
  const younger = Math.round(percentile);
  /** @type {number[]} */
  const stacks = new Array(COLUMNS).fill(0);
  const dots = ages.map((years, place) => {
    const share = Math.min(Math.max((years - first) / (last - first), 0), 0.999);
    const column = Math.floor(share * COLUMNS);
    const row = stacks[column]++;
    return { column, row, kind: place < younger ? "younger" : "older" };
  });
  const height = Math.max(...stacks) * PITCH;
  const place = scaleToPercent(first, last);
  const width = COLUMNS * PITCH;
  const picture = svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", class: "dots" },
    ...dots.map(({ column, row, kind }) =>
      svg("circle", {
        class: kind,
        cx: (column + 0.5) * PITCH,
        cy: height - (row + 0.5) * PITCH,
        r: 0.4 * PITCH,
      }),
    ),
  );
  const axis = h("div", { class: "axis", "aria-hidden": "true" });
  /** @param {string} kind @param {number} from @param {number} to @param {string} [text] */
  const mark = (kind, from, to, text = "") => {
    const element = h("span", { class: kind }, text);
    element.style.left = `${place(from)}%`;
    if (to !== from) element.style.width = `${place(to) - place(from)}%`;
    axis.append(element);
  };
  mark("interval", interval[0], interval[1]);
  mark("own-age", age, age);
  mark("estimate", biological_age, biological_age);
  const step = last - first > 40 ? 10 : 5;
  for (let year = Math.ceil((first + 1) / step) * step; year < last; year += step)
    mark("tick", year, year, words.number(year));
  const places = {
    first: words.number(first),
    last: words.number(last),
    age: words.number(biological_age),
    low: words.number(interval[0]),
    high: words.number(interval[1]),
    count: younger,
  };
  const sexName = sidecar.sexes[sex];
  return h(
    "div",
    { class: "people-chart", role: "img", "aria-label": words.say("people.label", places) },
    picture,
    axis,
    h(
      "p",
      { class: "keys", "aria-hidden": "true" },
      h("span", { class: "key younger" }, words.sayAny(`people.${sexName}`, "")),
      h("span", { class: "key own" }, words.say("people.you")),
      h("span", { class: "key lived" }, words.say("people.age")),
    ),
  );
}
