// The page in one HTML file, which opens from the disk: browsers load no modules there.
//
// node examples/browser/bundle.mjs build/web build/web/henaw.html
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { argv } from "node:process";
import { build } from "esbuild";

const [, , folder, out] = argv;
const here = import.meta.dirname;
const read = (name) => readFile(join(folder, name));
const { outputFiles } = await build({
  entryPoints: [join(here, "page", "main.js")],
  bundle: true,
  minify: true,
  write: false,
  format: "esm",
  target: "es2022",
  // pdf.js asks for it where there is no browser.
  external: ["node:*"],
  logLevel: "error",
});
const guard = (code) => code.replaceAll("</script", "<\\/script");
const script = guard(outputFiles[0].text);
const failure = guard(String(await read("page/failure.js")));
const style = String(await read("style.css"));
const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
const carried = [
  "henaw.json",
  "henaw.onnx",
  "vendor/ort-wasm-simd-threaded.wasm",
  "vendor/pdf.worker.min.mjs",
];
const blocks = await Promise.all(
  carried.map(
    async (name) =>
      `<script type="text/plain" id="${name}">${(await read(name)).toString("base64")}</script>`,
  ),
);
const policy =
  `default-src 'none'; script-src 'wasm-unsafe-eval' blob: ${hash(script)} ${hash(failure)}; ` +
  `style-src ${hash(style)}; img-src data: blob:; worker-src blob:; base-uri 'none'; form-action 'none'`;
const page = String(await read("index.html"))
  .replace(/content="default-src[^"]*"/u, () => `content="${policy}"`)
  .replace(/<link rel="(?:modulepreload|preload)"[^>]*>\s*/gu, "")
  .replace(/<script type="importmap">.*?<\/script>\s*/su, "")
  .replace(/<link rel="stylesheet"[^>]*>/u, () => `<style>${style}</style>`)
  .replace(/<script defer [^>]*><\/script>\s*/u, "")
  .replace(/<script type="module"[^>]*><\/script>\s*/u, "")
  .replace(
    "</body>",
    () =>
      `${blocks.join("\n")}\n<script>${failure}</script>\n` +
      `<script type="module">${script}</script>\n</body>`,
  );
await writeFile(out, page);
