/** Loads what the page needs, the form first: the model comes while somebody types. */

import { readPdf } from "../lib/pdf.js";
import { App } from "./app.js";

/** @param {string} url */
async function load(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
  return response;
}

const file = load("henaw.onnx").then(
  async (response) => new Uint8Array(await response.arrayBuffer()),
);
file.catch(() => undefined); // reported where it is awaited
const runtime = import("onnxruntime-web/wasm").then((ort) => {
  ort.env.wasm.numThreads = 1; // more need the server's cross-origin isolation headers
  return ort;
});
runtime.catch(() => undefined);
const sidecar = await (await load("henaw.json")).json();

const loadPdf = async () => {
  const pdfjs = await import("pdfjs-dist");
  pdfjs.GlobalWorkerOptions.workerSrc = "vendor/pdf.worker.min.mjs";
  return (/** @type {Uint8Array} */ bytes) => readPdf(bytes, pdfjs);
};
new App(sidecar, { file, runtime }, { loadPdf }).start();

if ("serviceWorker" in navigator && location.protocol !== "file:")
  navigator.serviceWorker.register("sw.js").catch(() => undefined); // it then works online only
