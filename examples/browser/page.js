import { fillBars, listSystems, stackContributions } from "./bars.js";
import { EXAMPLE } from "./example.js";
import { Form } from "./form.js";
import { halfWidth, rankMissing } from "./informative.js";
import { loadModel } from "./model.js";
import { listReasons } from "./reliability.js";
import { watchReports } from "./report.js";
import { chooseDenominator, describeRisk, drawIcons, listCauses } from "./risk.js";
import { drawScale } from "./scale.js";
import { labelName, loadSidecar } from "./sidecar.js";
import { showYears } from "./shapes.js";
import { WhatIf } from "./whatif.js";

/** @typedef {import("./form.js").Entered} Entered */
/** @typedef {import("./model.js").Person} Person */
/** @typedef {import("./model.js").Answer} Answer */

const SPEAK_AFTER_MS = 800;

/** @type {ReturnType<typeof setTimeout> | undefined} */
let speaking;

/** @param {string} id */
const find = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

let latest = 0;
/** @type {Awaited<ReturnType<typeof loadModel>> | undefined} */
let predict;
/** @type {WhatIf | undefined} */
let whatIf;

const loading = loadModel("henaw.onnx");
loading.catch(() => undefined); // reported below, where it is awaited
const sidecar = await loadSidecar().catch((error) => {
  throw new Error(`The model's description could not be loaded: ${error.message}`);
});
const form = new Form(sidecar, update);
form.fill(EXAMPLE, { example: true });
const forgetReport = watchReports(sidecar, (filling) => {
  form.fill(filling);
  whatIf?.reset();
  update();
});
find("clear").addEventListener("click", () => {
  form.fill({ values: {} });
  forgetReport();
  whatIf?.reset();
  find("age").focus();
  update();
});
find("print").addEventListener("click", () => print());
update();
find("intended-use").textContent = sidecar.intended_use;
find("provenance").textContent =
  `Model ${sidecar.name} ${sidecar.version} of ${sidecar.date}, checkpoint ` +
  `${sidecar.checkpoint_sha256.slice(0, 12)}. Fitted on ${sidecar.training.people} people: ` +
  sidecar.training.data;

predict = await loading.catch((error) => {
  throw new Error(`The model could not be loaded: ${error.message}`);
});
whatIf = new WhatIf(sidecar, predict, update);
await update();

/** Answer what the form holds now. */
async function update() {
  const turn = ++latest;
  const entered = form.read();
  find("clear").hidden = form.isEmpty;
  find("example-note").hidden = !form.hasExample;
  for (const mark of document.querySelectorAll(".example-mark"))
    /** @type {HTMLElement} */ (mark).hidden = !form.hasExample;
  if (!predict || !whatIf) return; // still loading
  const { age, sex, biomarkers } = entered;
  const isComplete = age !== null && sex !== null;
  find("answer").ariaBusy = String(isComplete);
  if (!isComplete) {
    find("no-answer").textContent = "Type an age and choose a sex to see the answer.";
    showOnly("no-answer");
    return;
  }
  const person = { biomarkers, age, sex };
  const unknown = { ...person, biomarkers: biomarkers.map(() => NaN) };
  const [answer, typical] = await predict([person, unknown]);
  if (turn !== latest) return; // a later key is being answered
  form.warn(answer.out_of_range);
  if (!answer.reliable) {
    speakLater(showWithheld(person, answer));
    find("answer").ariaBusy = "false";
    return;
  }
  showOnly("answer");
  const spoken = showAge(entered, person, answer);
  showParts(entered, person, answer);
  showRisk(person, answer, typical);

  const next = await rankMissing(sidecar, predict, person);
  if (turn !== latest) return;
  showNext(answer, next);
  const changed = await whatIf.show(person, form.unitOf, () => turn === latest);
  if (turn !== latest) return;
  const difference = showChange(answer, changed);
  speakLater(`${spoken}${whatIf.isMoved ? ` What if: ${difference}` : ""}`);
  find("answer").ariaBusy = "false";
}

/** @param {"answer" | "withheld" | "no-answer"} shown */
function showOnly(shown) {
  for (const id of ["answer", "withheld", "no-answer"]) find(id).hidden = id !== shown;
}

/**
 * Say why there is no number.
 *
 * @param {Person} person @param {Answer} answer
 * @returns {string} the same to be spoken
 */
function showWithheld(person, answer) {
  const reasons = listReasons(sidecar, person, answer, form.unitOf);
  const codes = reasons.map(({ code }) => code);
  if (codes.includes("nothing_known") && codes.length === 1) {
    find("no-answer").textContent = "Type at least one value to see the answer.";
    showOnly("no-answer");
    return "";
  }
  const needsDoctor = codes.includes("critical_value") || codes.includes("unlike_fitted");
  const heading = needsDoctor
    ? "This result needs a doctor, not a calculator"
    : "The model does not know people of this age";
  const messages = reasons.map(({ message }) => message);
  find("withheld-heading").textContent = heading;
  find("withheld-reasons").replaceChildren(...messages.map(buildItem));
  showOnly("withheld");
  return [`${heading}.`, ...messages].join(" ");
}

/**
 * @param {Entered} entered @param {Person} person @param {Answer} answer
 * @returns {string} the same to be spoken
 */
function showAge({ refused }, person, answer) {
  const [low, high] = answer.interval.map((years) => years.toFixed(1));
  const gap = Math.abs(answer.age_gap).toFixed(1);
  const direction = answer.age_gap < 0 ? "younger" : "older";
  const years = answer.biological_age.toFixed(1);
  find("age-number").textContent = `${years} years`;
  find("age-words").textContent =
    `${gap} years ${direction} than the age lived. In ${100 * sidecar.interval_level} of 100 ` +
    `such cases the person's usual level lies between ${low} and ${high}.`;
  find("age-scale").replaceChildren(drawScale(person.age, answer));
  const warnings = refused.map((label) => `${label} is not used until it is corrected.`);
  find("age-warnings").replaceChildren(...warnings.map(buildItem));
  return [`Biological age ${years} years, ${low} to ${high}.`, ...warnings].join(" ");
}

/** @param {Entered} entered @param {Person} person @param {Answer} answer */
function showParts({ typed }, person, answer) {
  const notes = Object.fromEntries(
    sidecar.panel.map(({ name }) => [
      name,
      typed[name] ? `${typed[name].value} ${typed[name].unit}` : "not given: estimated",
    ]),
  );
  fillBars(
    /** @type {HTMLTableElement} */ (find("contributions")),
    stackContributions(sidecar, person.age, answer, notes),
    person.age,
  );
  fillBars(/** @type {HTMLTableElement} */ (find("systems")), listSystems(sidecar, answer), 0);
}

/** @param {Person} person @param {Answer} answer @param {Answer} typical */
function showRisk({ age, sex }, answer, typical) {
  find("risk-words").textContent = describeRisk(sidecar, age, sex, answer, typical);
  const of = chooseDenominator(answer.mortality_10y, typical.mortality_10y);
  find("risk-icons").replaceChildren(drawIcons(answer.mortality_10y, of));
  const table = /** @type {HTMLTableElement} */ (find("causes"));
  if (table.caption) table.caption.textContent = "Risk of dying within ten years, by cause";
  table.tBodies[0].replaceChildren(
    ...listCauses(sidecar, answer).map(([label, risk]) => {
      const row = document.createElement("tr");
      const heading = Object.assign(document.createElement("th"), { scope: "row" });
      heading.append(label);
      row.append(heading);
      row.insertCell().append(risk);
      return row;
    }),
  );
}

/** @param {Answer} answer @param {{name: string, years: number}[]} next */
function showNext(answer, next) {
  const now = halfWidth(answer).toFixed(1);
  find("next-words").textContent = next.length
    ? `The interval is \u00b1${now} years. Expected with one more test done:`
    : `All nine are given; the interval is \u00b1${now} years.`;
  find("next-list").replaceChildren(
    ...next.map(({ name, years }) =>
      buildItem(`${labelName(sidecar, name)}: about \u00b1${years.toFixed(1)} years`),
    ),
  );
}

/** @param {Answer} answer @param {Answer} changed */
function showChange(answer, changed) {
  const difference = showYears(changed.biological_age - answer.biological_age);
  const words = changed.reliable
    ? `${changed.biological_age.toFixed(1)} years, ${difference} from the typed values.`
    : "Such values need a doctor, not a calculator: no age is shown.";
  find("what-if-words").textContent = words;
  return words;
}

/** @param {string} text */
function buildItem(text) {
  return Object.assign(document.createElement("li"), { textContent: text });
}

/** Tell a screen reader once the typing rests. @param {string} text */
function speakLater(text) {
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    if (find("spoken").textContent !== text) find("spoken").textContent = text;
  }, SPEAK_AFTER_MS);
}
