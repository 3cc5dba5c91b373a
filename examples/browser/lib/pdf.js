/** The text layer of a PDF, line by line, by pdf.js; it is loaded when a PDF is read. */

/** @typedef {{str: string, transform: number[], width: number, height: number}} Item */

/**
 * @param {Uint8Array} bytes
 * @param {typeof import("pdfjs-dist")} pdfjs
 * @returns {Promise<string>} "" where it has no text: a scan
 */
export async function readPdf(bytes, pdfjs) {
  const loading = pdfjs.getDocument({ data: bytes, useSystemFonts: false });
  const document = await loading.promise;
  try {
    const pages = [];
    for (let number = 1; number <= document.numPages; number++) {
      const page = await document.getPage(number);
      const { items } = await page.getTextContent();
      pages.push(joinLines(/** @type {Item[]} */ (items.filter((item) => "str" in item))));
    }
    return pages.join("\n").trim();
  } finally {
    await loading.destroy();
  }
}

/**
 * Pieces of text to lines: those at one height, from left to right.
 *
 * @param {Item[]} items
 */
function joinLines(items) {
  /** @type {{y: number, size: number, items: Item[]}[]} */
  const lines = [];
  for (const item of items.filter(({ str }) => str.trim())) {
    const y = item.transform[5];
    const size = item.height || Math.abs(item.transform[3]) || 10;
    const line = lines.find((other) => Math.abs(other.y - y) < 0.4 * Math.max(size, other.size));
    if (line) line.items.push(item);
    else lines.push({ y, size, items: [item] });
  }
  return lines
    .sort((a, b) => b.y - a.y)
    .map((line) =>
      line.items
        .sort((a, b) => a.transform[4] - b.transform[4])
        .reduce((text, item, place, all) => {
          const before = all[place - 1];
          const gap = before ? item.transform[4] - before.transform[4] - before.width : 0;
          return text + (before && gap > 0.15 * line.size ? " " : "") + item.str;
        }, ""),
    )
    .join("\n");
}
