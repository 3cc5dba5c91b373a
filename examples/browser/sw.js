/**
 * Keeps the page on the device, so that it works offline. The list of files and its digest are
 * written above this line when the page is assembled.
 */

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));
const { files, version } = /** @type {{files: string[], version: string}} */ (
  /** @type {any} */ (self).PAGE
);
const cacheName = `henaw-${version}`;

worker.addEventListener("install", (event) => {
  event.waitUntil(caches.open(cacheName).then((cache) => cache.addAll(files)));
});

worker.addEventListener("activate", (event) => {
  const clean = caches
    .keys()
    .then((known) =>
      Promise.all(
        known
          .filter((other) => other.startsWith("henaw-") && other !== cacheName)
          .map((other) => caches.delete(other)),
      ),
    );
  event.waitUntil(clean);
});

worker.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  event.respondWith(
    caches
      .open(cacheName)
      .then((cache) => cache.match(event.request, { ignoreSearch: true }))
      .then((kept) => kept ?? fetch(event.request)),
  );
});
