"""Put the page, the exported model and its runtime into one folder that any server can serve.

python examples/browser/assemble.py build/exported build/web
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parent
MODULES = PAGE.parents[1] / "node_modules"
VENDORED = {
    "onnxruntime-web/dist/ort.wasm.bundle.min.mjs": "ort.wasm.bundle.min.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
    "d3-dsv/dist/d3-dsv.mjs": "d3-dsv.mjs",
    "fflate/esm/browser.js": "fflate.js",
    "pdfjs-dist/build/pdf.min.mjs": "pdf.min.mjs",
    "pdfjs-dist/build/pdf.worker.min.mjs": "pdf.worker.min.mjs",
}
SERVICE_WORKER = "sw.js"


def main() -> None:
    exported, out = Path(sys.argv[1]), Path(sys.argv[2])
    shutil.rmtree(out, ignore_errors=True)
    (out / "vendor").mkdir(parents=True)
    for path in PAGE.rglob("*"):
        if path.suffix in {".html", ".css", ".js"}:
            (out / path.relative_to(PAGE)).parent.mkdir(exist_ok=True)
            shutil.copy(path, out / path.relative_to(PAGE))
    for name in ("henaw.onnx", "henaw.json"):
        shutil.copy(exported / name, out)
    for name, short in VENDORED.items():
        shutil.copy(MODULES / name, out / "vendor" / short)
    list_files(out)


def list_files(out: Path) -> None:
    """Tell the service worker what to keep, and by a digest when any of it changed."""
    kept = sorted(path for path in out.rglob("*") if path.is_file() and path.name != SERVICE_WORKER)
    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in kept))
    page = {
        "version": digest.hexdigest()[:16],
        "files": ["./", *(path.relative_to(out).as_posix() for path in kept)],
    }
    worker = out / SERVICE_WORKER
    worker.write_text(f"self.PAGE = {json.dumps(page)};\n{worker.read_text()}", encoding="utf-8")


if __name__ == "__main__":
    main()
