// Answers of onnxruntime-node for the people of a golden file: golden.mjs MODEL GOLDEN
import { readFile } from "node:fs/promises";
import { argv } from "node:process";
import { InferenceSession, Tensor } from "onnxruntime-node";

const { inputs } = JSON.parse(await readFile(argv[3], "utf8"));
const read = (value) => (value === null ? NaN : Number(value));
const count = inputs.age.length;
const session = await InferenceSession.create(argv[2]);
const outputs = await session.run({
  biomarkers: new Tensor("float32", inputs.biomarkers.flat().map(read), [count, 9]),
  age: new Tensor("float32", inputs.age.map(read), [count]),
  sex: new Tensor("int64", inputs.sex.map(BigInt), [count]),
});
console.log(
  JSON.stringify(
    Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, [...data]])),
  ),
);
