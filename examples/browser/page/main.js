/** Loads what the page needs, the form first: the model comes while the person types. */

import { readPdf } from "../lib/pdf.js";
import { App } from "./app.js";

/**
 * A file beside the page, or one that a page in one file carries along.
 *
 * @param {string} name
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
async function load(name) {
  const carried = document.getElementById(name)?.textContent;
  if (carried) return decode(carried);
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** @param {string} base64 */
function decode(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place++) bytes[place] = text.charCodeAt(place);
  return bytes;
}

const WASM = "vendor/ort-wasm-simd-threaded.wasm";
const PDF_WORKER = "vendor/pdf.worker.min.mjs";
const isAlone = document.getElementById(WASM) !== null;

const file = load("henaw.onnx");
file.catch(() => undefined); // reported where it is awaited
const runtime = import("onnxruntime-web/wasm").then(async (ort) => {
  ort.env.wasm.numThreads = 1; // more need the server's cross-origin isolation headers
  if (isAlone) ort.env.wasm.wasmBinary = (await load(WASM)).buffer;
  return ort;
});
runtime.catch(() => undefined);
const sidecar = JSON.parse(new TextDecoder().decode(await load("henaw.json")));

const loadPdf = async () => {
  const pdfjs = await import("pdfjs-dist");
  pdfjs.GlobalWorkerOptions.workerSrc = isAlone
    ? URL.createObjectURL(new Blob([await load(PDF_WORKER)], { type: "text/javascript" }))
    : PDF_WORKER;
  return (/** @type {Uint8Array} */ bytes) => readPdf(bytes, pdfjs);
};
new App(sidecar, { file, runtime }, { loadPdf }).start();

if ("serviceWorker" in navigator && location.protocol !== "file:")
  navigator.serviceWorker.register("sw.js").catch(() => undefined); // it then works online only
