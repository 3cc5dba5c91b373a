// Calls of the page's modules, a JSON line each: {"module", "function", "arguments"}.
// Its first argument is the path of the sidecar.
import { readFileSync } from "node:fs";
import { argv, stdin, stdout } from "node:process";
import { createInterface } from "node:readline";

const sidecar = JSON.parse(readFileSync(argv[2], "utf8"));
// JSON has no NaN: null stands for it in numbers that come back, "NaN" in those that go in.
const revive = (_, value) => (value === "NaN" ? NaN : value === "sidecar" ? sidecar : value);

for await (const line of createInterface({ input: stdin })) {
  const call = JSON.parse(line, revive);
  let answer;
  try {
    const module = await import(`../../examples/browser/${call.module}.js`);
    answer = { value: await module[call.function](...call.arguments) };
  } catch (error) {
    answer = { error: error.message, code: error.code ?? null, name: error.constructor.name };
  }
  stdout.write(`${JSON.stringify(answer)}\n`);
}
