// The ONNX file in a Node app: onnxruntime-node, nothing of HENAW.
//
// node examples/node/embed.mjs build/exported/henaw.onnx
import { argv } from "node:process";
import { InferenceSession, Tensor } from "onnxruntime-node";

const session = await InferenceSession.create(argv[2]);
// CRP mg/L, HbA1c mmol/mol, creatinine umol/L, albumin g/L, lymphocytes %, RDW %,
// GGT U/L, AST U/L, ALT U/L; NaN where a test was not done.
const values = [1.2, 35.5, 79.6, 45, 29, 13.1, NaN, 24, 20];
const answer = await session.run({
  biomarkers: new Tensor("float32", values, [1, 9]),
  age: new Tensor("float32", [54], [1]),
  sex: new Tensor("int64", [0n], [1]), // 0 female, 1 male
});
const [age] = answer.biological_age.data;
const [low, high] = answer.interval.data;
// The model always computes numbers. Show them only where reliable is true.
console.log(
  answer.reliable.data[0]
    ? `biological age ${age.toFixed(1)} (${low.toFixed(1)} to ${high.toFixed(1)}) years`
    : "no reliable answer: show no number, see docs/embedding.md",
);
