/** The form: values in the units of the report, checked while they are typed. */

import { describeImplausible, fromPanel, parseNumber, showNumber, toPanel } from "./units.js";

/** @typedef {import("./sidecar.js").Sidecar} Sidecar */
/** @typedef {import("./sidecar.js").Biomarker} Biomarker */
/** @typedef {{value: string, unit: string}} Typed */
/**
 * What the form holds; null where it is empty or refused.
 *
 * @typedef {object} Entered
 * @property {number | null} age years
 * @property {number | null} sex
 * @property {number[]} biomarkers in the panel's order and units, NaN where not given
 * @property {Record<string, Typed>} typed of the values that are used
 * @property {string[]} refused labels of fields whose text cannot be used
 */
/** @typedef {{age?: string, sex?: number, values: Record<string, Typed>}} Filling */
/** @typedef {{biomarker: Biomarker, input: HTMLInputElement, select: HTMLSelectElement,
 *   message: HTMLElement}} Field */

export class Form {
  /** @type {Field[]} */
  #fields;
  #sidecar;
  #age = /** @type {HTMLInputElement} */ (document.getElementById("age"));
  #sex = /** @type {HTMLFieldSetElement} */ (document.getElementById("sex"));
  #ageMessage = /** @type {HTMLElement} */ (document.getElementById("age-message"));

  /**
   * @param {Sidecar} sidecar
   * @param {() => void} onChange
   */
  constructor(sidecar, onChange) {
    this.#sidecar = sidecar;
    this.#sex.append(...sidecar.sexes.map(buildChoice));
    this.#fields = sidecar.panel.map(buildField);
    const person = /** @type {HTMLFormElement} */ (document.getElementById("person"));
    person.addEventListener("submit", (event) => event.preventDefault());
    person.addEventListener("input", (event) => {
      const edited = /** @type {HTMLElement} */ (event.target).closest(".example");
      edited?.classList.remove("example");
      onChange();
    });
    person.addEventListener("focusin", ({ target }) => {
      if (target instanceof HTMLInputElement && target.closest(".example")) target.select();
    });
  }

  /** Whether any field still holds an example value. */
  get hasExample() {
    return document.querySelector("#person .example") !== null;
  }

  /** Whether nothing is typed or chosen, the text of a report included. */
  get isEmpty() {
    const boxes = document.querySelectorAll("#person input[type=text], #person textarea");
    return (
      this.#sex.querySelector("input:checked") === null &&
      [...boxes].every((box) => !(/** @type {HTMLInputElement} */ (box).value))
    );
  }

  /**
   * Put values in, in place of all that are there.
   *
   * @param {Filling} filling
   * @param {{example?: boolean}} options
   */
  fill({ age = "", sex, values }, { example = false } = {}) {
    this.#age.value = age;
    this.#age.closest(".field")?.classList.toggle("example", example);
    this.#sex.classList.toggle("example", example);
    for (const choice of this.#sex.querySelectorAll("input"))
      choice.checked = choice.value === String(sex);
    for (const { biomarker, input, select } of this.#fields) {
      const typed = values[biomarker.name];
      input.value = typed?.value ?? "";
      select.value = typed?.unit ?? biomarker.unit;
      input.closest(".field")?.classList.toggle("example", example && input.value !== "");
    }
  }

  /**
   * The unit that is chosen for a biomarker.
   *
   * @param {string} name
   */
  unitOf = (name) =>
    this.#fields.find(({ biomarker }) => biomarker.name === name)?.select.value ?? "";

  /** @returns {Entered} */
  read() {
    /** @type {string[]} */
    const refused = [];
    /** @type {Record<string, Typed>} */
    const typed = {};
    const age = this.#readAge();
    if (age === null && this.#age.value.trim()) refused.push("Age");
    const chosen = this.#sex.querySelector("input:checked");
    const biomarkers = this.#fields.map((field) => {
      const { biomarker, input, select } = field;
      const value = this.#readField(field);
      if (!Number.isNaN(value)) typed[biomarker.name] = { value: input.value, unit: select.value };
      else if (input.value.trim()) refused.push(biomarker.label);
      return value;
    });
    const sex = chosen instanceof HTMLInputElement ? Number(chosen.value) : null;
    return { age, sex, biomarkers, typed, refused };
  }

  /**
   * Say under a field that its value is used, but rarer than the model has seen.
   *
   * @param {boolean[]} outOfRange in the panel's order
   */
  warn(outOfRange) {
    this.#fields.forEach((field, place) => {
      if (!outOfRange[place]) return;
      const { name } = field.biomarker;
      const conversion = this.#sidecar.units.conversions[name][field.select.value];
      const [low, high] = this.#sidecar.fitted_range[name].map((bound) =>
        showNumber(fromPanel(conversion, bound)),
      );
      tell(field, `rare: 99.8 % of the people fitted on have ${low} to ${high}`, "rare");
    });
  }

  #readAge() {
    const [youngest, oldest] = this.#sidecar.accepted_ages;
    const field = { input: this.#age, message: this.#ageMessage };
    tell(field, "");
    if (!this.#age.value.trim()) return null;
    try {
      const age = parseNumber(this.#age.value);
      if (youngest <= age && age <= oldest) return age;
      tell(field, `${age} years is outside ${youngest} to ${oldest}`, "refused");
    } catch (error) {
      tellReason(field, error);
    }
    return null;
  }

  /** @param {Field} field */
  #readField(field) {
    const { biomarker, input, select } = field;
    tell(field, "");
    if (!input.value.trim()) return NaN;
    try {
      const value = parseNumber(input.value);
      const problem = describeImplausible(this.#sidecar, biomarker, value, select.value);
      if (problem === null)
        return toPanel(this.#sidecar.units.conversions[biomarker.name][select.value], value);
      tell(field, problem, "refused");
    } catch (error) {
      tellReason(field, error);
    }
    return NaN;
  }
}

/**
 * @param {Pick<Field, "input" | "message">} field
 * @param {string} text
 * @param {"refused" | "rare" | ""} kind
 */
function tell({ input, message }, text, kind = "") {
  // Written only where it changed, or a screen reader says it again at each key.
  if (message.textContent !== text) message.textContent = text;
  message.dataset.kind = kind;
  input.setAttribute("aria-invalid", String(kind === "refused"));
}

/**
 * @param {Pick<Field, "input" | "message">} field
 * @param {unknown} error
 */
function tellReason(field, error) {
  if (!(error instanceof RangeError)) throw error;
  tell(field, error.message, "refused");
}

/**
 * @param {string} name
 * @param {number} code
 */
function buildChoice(name, code) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), {
    type: "radio",
    name: "sex",
    value: String(code),
  });
  label.append(input, ` ${name}`);
  return label;
}

/**
 * @param {Biomarker} biomarker
 * @returns {Field}
 */
function buildField(biomarker) {
  const template = /** @type {HTMLTemplateElement} */ (document.getElementById("field-template"));
  const part = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
  const [label, input, select, message] = /** @type {[HTMLLabelElement, HTMLInputElement,
    HTMLSelectElement, HTMLElement]} */ ([.../** @type {Element} */ (part.firstElementChild).children]);
  label.textContent = biomarker.label;
  label.htmlFor = input.id = biomarker.name;
  message.id = `${biomarker.name}-message`;
  input.setAttribute("aria-describedby", message.id);
  select.setAttribute("aria-label", `Unit of ${biomarker.label}`);
  select.append(...biomarker.units.map((unit) => new Option(unit)));
  document.getElementById("fields")?.append(part);
  return { biomarker, input, select, message };
}
