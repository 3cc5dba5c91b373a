// A laboratory's report, in any form that the page reads, to a sentence in one of six languages.
//
// node examples/node/report.mjs build/exported report.csv de
//
// The parts are the page's own modules: intake, model, reliability, words.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { argv } from "node:process";
import * as runtime from "onnxruntime-node";
import { readReport } from "../browser/lib/intake.js";
import { loadModel } from "../browser/lib/model.js";
import { toPanel } from "../browser/lib/units.js";
import { speak } from "../browser/words/words.js";

const [, , folder, report, language = "en"] = argv;
const sidecar = JSON.parse(await readFile(join(folder, "henaw.json"), "utf8"));
const predict = await loadModel(runtime, await readFile(join(folder, "henaw.onnx")));
const words = speak(language);

for (const { id, age, sex, readings } of readReport(sidecar, await readFile(report, "utf8"))
  .people) {
  const name = words.say("check.person", { id: id || 1 });
  if (age === null || sex === null) {
    console.log(`${name}: ${words.say(age === null ? "enter.need_age" : "enter.need_sex")}`);
    continue;
  }
  const biomarkers = sidecar.panel.map((biomarker) => {
    const reading = readings.find((one) => one.name === biomarker.name);
    // Bad units and impossible values are the caller's to look at: they are in `doubts`.
    if (!reading || reading.doubts.includes("implausible")) return NaN;
    return toPanel(sidecar.units.conversions[reading.name][reading.unit], reading.value);
  });
  const [answer] = await predict([{ biomarkers, age, sex }]);
  const headline = words.say(`headline.${sidecar.sexes[sex]}`, {
    age: words.number(answer.biological_age),
  });
  // The model always computes numbers. Show them only where reliable is true.
  console.log(`${name}: ${answer.reliable ? headline : words.say("caution.no_age")}`);
}
