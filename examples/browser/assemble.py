"""Put the page, the exported model and its runtime into one folder that any server can serve.

python examples/browser/assemble.py build/exported build/web
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parent
MODULES = PAGE.parents[1] / "node_modules"
VENDORED = (
    "onnxruntime-web/dist/ort.wasm.bundle.min.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
    "d3-dsv/dist/d3-dsv.mjs",
)


def main() -> None:
    exported, out = Path(sys.argv[1]), Path(sys.argv[2])
    shutil.rmtree(out, ignore_errors=True)
    (out / "vendor").mkdir(parents=True)
    parts = [path for path in PAGE.iterdir() if path.suffix in {".html", ".css", ".js"}]
    for path in (*parts, exported / "henaw.onnx", exported / "henaw.json"):
        shutil.copy(path, out)
    for name in VENDORED:
        shutil.copy(MODULES / name, out / "vendor")


if __name__ == "__main__":
    main()
