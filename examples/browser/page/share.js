/** A result to take along: one printed page, a picture or a file, all made on this device. */

import { listGaps } from "../lib/sidecar.js";
import { download, h } from "./dom.js";

/** @typedef {import("../lib/model.js").Person} Person */
/** @typedef {import("../lib/model.js").Answer} Answer */
/** @typedef {import("./app.js").App} App */

const WIDTH = 1200;
const HEIGHT = 630;
const EDGE = 72;

/**
 * @param {App} app
 * @param {Person} person
 * @param {Answer} answer
 * @param {{headline: string, younger: string, interval: string}} spoken
 */
export function buildShare(app, person, answer, spoken) {
  const { words } = app;
  const button = (
    /** @type {string} */ id,
    /** @type {string} */ text,
    /** @type {() => void} */ onclick,
    kind = "",
  ) => h("button", { type: "button", id, class: kind, onclick }, text);
  return h(
    "section",
    { class: "card share", "aria-labelledby": "share-title" },
    h("h2", { id: "share-title" }, words.say("share.title")),
    h(
      "div",
      { class: "row" },
      button("print", words.say("share.print"), () => print()),
      button("picture", words.say("share.picture"), () =>
        sharePicture(app, person, answer, spoken),
      ),
      button("file", words.say("share.file"), () => saveFile(app, person, answer)),
    ),
    h(
      "div",
      { class: "row" },
      button("edit", words.say("share.edit"), () => app.go("enter"), "plain"),
      button("again", words.say("share.again"), () => app.clear(), "plain"),
    ),
  );
}

/** @param {App} app @param {Person} person @param {Answer} answer */
function saveFile({ sidecar, profile }, { age, sex, biomarkers }, answer) {
  const content = {
    model: {
      name: sidecar.name,
      version: sidecar.version,
      checkpoint_sha256: sidecar.checkpoint_sha256,
      lab: profile?.name,
    },
    person: {
      age,
      sex: sidecar.sexes[sex],
      ...Object.fromEntries(
        sidecar.panel.map(({ name }, place) => [
          name,
          Number.isNaN(biomarkers[place]) ? null : biomarkers[place],
        ]),
      ),
    },
    answer: {
      ...answer,
      contributions: Object.fromEntries(
        sidecar.contribution_names.map((name, place) => [name, answer.contributions[place]]),
      ),
    },
  };
  download(
    new Blob([JSON.stringify(content, null, 2)], { type: "application/json" }),
    "henaw-result.json",
  );
}

/**
 * To another program of the device where it takes files, else as a download.
 *
 * @param {App} app
 * @param {Person} person
 * @param {Answer} answer
 * @param {{headline: string, younger: string, interval: string}} spoken
 */
async function sharePicture(app, person, answer, spoken) {
  const canvas = h("canvas", { width: WIDTH, height: HEIGHT });
  paint(
    app,
    /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")),
    person,
    answer,
    spoken,
  );
  /** @type {Blob | null} */
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  if (!blob) throw new Error("the picture could not be made");
  const file = new File([blob], "henaw.png", { type: "image/png" });
  if (matchMedia("(pointer: coarse)").matches && navigator.canShare?.({ files: [file] })) {
    await navigator.share({ files: [file] }).catch((error) => {
      if (error.name !== "AbortError") throw error;
    });
  } else download(blob, file.name);
}

/**
 * @param {App} app
 * @param {CanvasRenderingContext2D} on
 * @param {Person} person
 * @param {Answer} answer
 * @param {{headline: string, younger: string, interval: string}} spoken
 */
function paint({ sidecar, words, draft }, on, person, answer, spoken) {
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
  on.fillStyle = colour("paper");
  on.fillRect(0, 0, WIDTH, HEIGHT);
  /** @param {string} text @param {number} y @param {string} font @param {string} ink @returns {number} */
  const write = (text, y, font, ink) => {
    on.font = font;
    on.fillStyle = colour(ink);
    let line = "";
    for (const word of text.split(" ")) {
      const longer = line ? `${line} ${word}` : word;
      if (line && on.measureText(longer).width > WIDTH - 2 * EDGE) {
        on.fillText(line, EDGE, y);
        y += 1.25 * parseInt(/(\d+)px/u.exec(font)?.[1] ?? "30", 10);
        line = word;
      } else line = longer;
    }
    on.fillText(line, EDGE, y);
    return y;
  };
  if (draft.example.length > 0)
    write(words.say("result.example"), 60, "600 26px system-ui, sans-serif", "more");
  let y = write(spoken.headline, 130, `600 52px ${colour("serif")}`, "ink");
  y = write(spoken.younger, y + 70, "400 32px system-ui, sans-serif", "ink");
  write(spoken.interval, y + 50, "400 28px system-ui, sans-serif", "quiet");
  const gaps = listGaps(sidecar, person.age, person.sex, 100);
  const [low, high] = [
    Math.min(gaps[1], answer.interval[0] - person.age) - 2,
    Math.max(gaps[97], answer.interval[1] - person.age) + 2,
  ];
  const columns = 66;
  const stacks = new Array(columns).fill(0);
  const pitch = (WIDTH - 2 * EDGE) / columns;
  for (const [place, gap] of gaps.entries()) {
    const column = Math.floor(Math.min(Math.max((gap - low) / (high - low), 0), 0.999) * columns);
    on.fillStyle = colour(place < Math.round(answer.percentile) ? "accent" : "dots");
    on.beginPath();
    on.arc(
      EDGE + (column + 0.5) * pitch,
      540 - (stacks[column]++ + 0.5) * pitch,
      0.4 * pitch,
      0,
      7,
    );
    on.fill();
  }
  const x = (/** @type {number} */ years) =>
    EDGE + ((years - person.age - low) / (high - low)) * (WIDTH - 2 * EDGE);
  on.fillStyle = colour("ink");
  on.fillRect(x(answer.interval[0]), 548, x(answer.interval[1]) - x(answer.interval[0]), 8);
  on.beginPath();
  on.arc(x(answer.biological_age), 552, 14, 0, 7);
  on.fill();
  write(
    `${words.say("not_a_diagnosis")} ${sidecar.name} ${sidecar.version}`,
    606,
    "400 22px system-ui, sans-serif",
    "quiet",
  );
}
