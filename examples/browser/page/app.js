/** The page: its state, the step that it shows, and its language. */

import { loadModel } from "../lib/model.js";
import { setProfile } from "../lib/profile.js";
import { chooseLanguage, LANGUAGES, speak } from "../words/words.js";
import { buildCheck } from "./check.js";
import { completeDraft, emptyDraft, loadDraft, saveDraft, unitOf } from "./draft.js";
import { buildEnter, readDropped } from "./enter.js";
import { find, h } from "./dom.js";
import { useProfile } from "./laboratory.js";
import { buildResult } from "./result.js";

/** @typedef {import("../lib/sidecar.js").Sidecar} Sidecar */
/** @typedef {import("../lib/sidecar.js").Biomarker} Biomarker */
/** @typedef {import("../lib/model.js").Person} Person */
/** @typedef {import("../lib/model.js").Answer} Answer */
/** @typedef {import("../lib/profile.js").Profile} Profile */
/** @typedef {import("./draft.js").Draft} Draft */
/** @typedef {import("./draft.js").Typed} Typed */
/** @typedef {import("./draft.js").System} System */
/** @typedef {"enter" | "check" | "result"} Step */
/** @typedef {(people: Person[]) => Promise<Answer[]>} Predict */

const PREFERENCES = "henaw-preferences";
const STEPS = /** @type {Step[]} */ (["enter", "check", "result"]);

export class App {
  /** @type {(import("../lib/intake.js").Report & {chosen: number | null}) | null} */
  report = null;
  /** @type {Profile | null} */
  profile = null;
  /** @type {Promise<Predict> | undefined} */
  #withProfile;
  #turn = 0;

  /**
   * @param {Sidecar} sidecar
   * @param {{file: Promise<Uint8Array>, runtime: Promise<import("../lib/model.js").Runtime>}} model
   * @param {{loadPdf: () => Promise<(bytes: Uint8Array) => Promise<string>>}} tools
   */
  constructor(sidecar, model, tools) {
    this.sidecar = sidecar;
    this.tools = tools;
    this.model = model;
    const kept = loadPreferences();
    this.language = kept.language ?? chooseLanguage(navigator.languages);
    /** @type {System} */
    this.system = kept.system ?? (navigator.language.endsWith("-US") ? "us" : "si");
    this.words = speak(this.language, findRegion(this.language));
    this.draft = loadDraft();
    this.loading = Promise.all([model.runtime, model.file]).then(([runtime, file]) =>
      loadModel(runtime, file),
    );
    this.loading.catch(() => undefined); // reported where it is awaited
  }

  /** Answers with the laboratory's profile, where one is used. @type {Predict} */
  predict = async (people) => (await (this.#withProfile ?? this.loading))(people);

  /** Answers without it. @type {Predict} */
  predictPlain = async (people) => (await this.loading)(people);

  /** The unit in which a value is shown: as typed. @param {Biomarker} biomarker */
  unitOf = (biomarker) => this.draft.values[biomarker.name]?.unit ?? unitOf(biomarker, this.system);

  start() {
    addEventListener("hashchange", () => this.show());
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", async (event) => {
      event.preventDefault(); // or the browser leaves the page and shows the file
      const files = [...(event.dataTransfer?.files ?? [])];
      const text = event.dataTransfer?.getData("text");
      if (this.step === "result" && files[0]) return useProfile(this, await files[0].text());
      if (this.step !== "enter") await this.go("enter");
      if (files.length > 0) await readDropped(this, files);
      else if (text) await readDropped(this, [new Blob([text])]);
    });
    this.#buildHeader();
    this.show();
  }

  /** @returns {Step} that the address asks for, if there is what it needs */
  get step() {
    const asked = STEPS.find((step) => location.hash === `#${step}`) ?? "enter";
    if (asked === "check" && !this.report) return "enter";
    if (asked === "result" && !completeDraft(this.sidecar, this.words, this.draft).person)
      return "enter";
    return asked;
  }

  /** @param {Step} step */
  async go(step) {
    if (location.hash === `#${step}`) await this.show();
    else location.hash = step; // shows it
  }

  /** Show the result, or say what is missing for it. */
  finish() {
    const { person, missing, place } = completeDraft(this.sidecar, this.words, this.draft);
    if (person) return this.go("result");
    this.say("missing", missing);
    this.speak(missing);
    find(place)?.focus();
  }

  async show() {
    const turn = ++this.#turn;
    const { step, words } = this;
    const main = find("main");
    const { person } = completeDraft(this.sidecar, words, this.draft);
    main.setAttribute("aria-busy", "true");
    let view;
    if (step === "result" && person) {
      const note = h("p", { class: "quiet", id: "loading" }, words.say("enter.loading"));
      const wait = setTimeout(() => main.replaceChildren(note), 150);
      view = await buildResult(this, person).finally(() => clearTimeout(wait));
    } else view = step === "check" ? buildCheck(this) : buildEnter(this);
    if (turn !== this.#turn) return; // another step was asked for meanwhile
    main.replaceChildren(view);
    main.setAttribute("aria-busy", "false");
    document.title = `${words.say(`step.${step}`)} – ${words.say("title")}`;
    for (const item of document.querySelectorAll("#steps li"))
      if (item.id === `step-${step}`) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
    document.body.dataset.step = step;
    if (turn > 1) {
      scrollTo(0, 0);
      main.querySelector("h1")?.focus({ preventScroll: true });
    }
  }

  /** @param {Partial<Draft>} change */
  change(change) {
    Object.assign(this.draft, change);
    this.#own(...Object.keys(change));
    this.keep();
  }

  /** @param {string} name @param {Typed} typed */
  changeValue(name, typed) {
    this.draft.values[name] = typed;
    this.#own(name);
    this.keep();
  }

  keep() {
    saveDraft(this.draft);
    const count = document.getElementById("count");
    if (count) count.textContent = this.describeCount();
    this.say("missing", "");
  }

  /** What is typed over an example is the person's own. @param {string[]} names */
  #own(...names) {
    this.draft.example = this.draft.example.filter((name) => !names.includes(name));
  }

  describeCount() {
    const count = Object.values(this.draft.values).filter(({ text }) => text.trim()).length;
    return this.words.say("enter.count", { count, all: this.sidecar.panel.length });
  }

  clear() {
    this.draft = emptyDraft();
    this.report = null;
    this.profile = null;
    this.#withProfile = undefined;
    saveDraft(this.draft);
    this.speak("");
    return this.go("enter");
  }

  /** Fill the draft with what was read of one person. @param {number} place */
  take(place) {
    if (!this.report) return;
    this.report.chosen = place;
    const { age, sex, drawn, readings } = this.report.people[place];
    const values = readings.map(({ name, value, unit }) => [
      name,
      { text: this.words.value(value), unit },
    ]);
    this.draft = {
      ...this.draft,
      ...(age === null
        ? {}
        : { age: this.words.number(age, Math.abs(age - Math.round(age)) < 0.05 ? 0 : 1) }),
      ...(sex === null ? {} : { sex }),
      drawn: drawn ?? "",
      values: Object.fromEntries(values),
      example: [],
    };
    this.keep();
  }

  /** @param {Profile | null} profile */
  async useProfile(profile) {
    if (profile) {
      const [runtime, file] = await Promise.all([this.model.runtime, this.model.file]);
      this.#withProfile = loadModel(runtime, setProfile(this.sidecar, file, profile));
    } else this.#withProfile = undefined;
    this.profile = profile;
    await this.show();
  }

  /** @param {string} id @param {string} text */
  say(id, text) {
    const place = document.getElementById(id);
    if (place && place.textContent !== text) place.textContent = text;
  }

  /** Tell a screen reader, through the one live region. @param {string} text */
  speak(text) {
    this.say("spoken", text);
  }

  #buildHeader() {
    const { words, sidecar } = this;
    document.documentElement.lang = this.language;
    find("skip").textContent = words.say("skip");
    find("steps").setAttribute("aria-label", words.say("steps"));
    find("steps").replaceChildren(
      h(
        "ol",
        {},
        ...STEPS.map((step, place) =>
          h(
            "li",
            { id: `step-${step}` },
            h("span", { "aria-hidden": "true" }, place + 1 + ""),
            words.say(`step.${step}`),
          ),
        ),
      ),
    );
    const language = h(
      "select",
      {
        id: "language",
        "aria-label": words.say("nav.language"),
        onchange: () => this.#prefer({ language: language.value }),
      },
      ...Object.entries(LANGUAGES).map(([code, texts]) =>
        h("option", { value: code, lang: code, selected: code === this.language }, texts.language),
      ),
    );
    const units = h(
      "fieldset",
      { id: "units" },
      h("legend", { class: "unseen" }, words.say("nav.units")),
      .../** @type {System[]} */ (["us", "si"]).map((system) =>
        h(
          "label",
          { class: "choice" },
          h("input", {
            type: "radio",
            name: "system",
            id: `units-${system}`,
            checked: system === this.system,
            onchange: () => this.#prefer({ system }),
          }),
          h("span", {}, words.say(`units.${system}`)),
        ),
      ),
    );
    find("preferences").replaceChildren(units, language);
    const people = words.number(sidecar.training.people);
    find("footer").replaceChildren(
      h("p", {}, words.say("foot.use")),
      h(
        "p",
        {},
        words.say("foot.model", { name: sidecar.name, version: sidecar.version, people }),
        " · ",
        words.say("foot.draft"),
        " ",
        words.say("foot.offline"),
      ),
    );
  }

  /** @param {{language?: string, system?: System}} change */
  #prefer(change) {
    const before = this.words;
    Object.assign(this, change);
    this.words = speak(this.language, findRegion(this.language));
    savePreferences({
      language: change.language ?? loadPreferences().language,
      system: this.system,
    });
    // Typed numbers are written as the language writes them.
    for (const typed of Object.values(this.draft.values))
      typed.text = typed.text.replace(before.decimal, this.words.decimal);
    if (change.system)
      for (const biomarker of this.sidecar.panel) {
        const typed = this.draft.values[biomarker.name];
        if (!typed?.text.trim()) delete this.draft.values[biomarker.name];
      }
    this.keep();
    const focus = document.activeElement?.id ?? "";
    this.#buildHeader();
    this.show().then(() => document.getElementById(focus)?.focus());
  }
}

/** Where numbers and dates are written as the person does. @param {string} language */
const findRegion = (language) =>
  navigator.languages.find((tag) => tag.startsWith(language)) ?? language;

/** @returns {{language?: string, system?: System}} */
function loadPreferences() {
  try {
    return JSON.parse(localStorage.getItem(PREFERENCES) ?? "{}");
  } catch {
    return {};
  }
}

/** @param {{language?: string, system?: System}} preferences */
function savePreferences(preferences) {
  try {
    localStorage.setItem(PREFERENCES, JSON.stringify(preferences));
  } catch {
    // They are then kept until the page is left.
  }
}
