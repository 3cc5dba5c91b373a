"""The first screen in six languages, at three widths and in both schemes, beside kept pictures.

The kept pictures are small and have the Liberation fonts: others break lines elsewhere. What was
seen is left in build/screens. `HENAW_KEEP_SCREENS=1` keeps it as the new picture.
"""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

KEPT = Path(__file__).with_name("screens")
SEEN = Path(__file__).resolve().parents[2] / "build" / "screens"
SIZES = {390: 844, 820: 1180, 1400: 900}
SHRINK = 10
LARGEST_DIFFERENCE = 6.0
"""Mean over a picture's pixels, of 255."""
HAS_FONT = """name => {
  const pen = document.createElement("canvas").getContext("2d");
  const [one, other] = [`"${name}", monospace`, "monospace"].map((family) => {
    pen.font = `20px ${family}`;
    return pen.measureText("Willkommen").width;
  });
  return one !== other;
}"""


@pytest.fixture(autouse=True)
def fonts(page: Page) -> None:
    for name in ("Liberation Sans", "Liberation Serif"):
        if not page.evaluate(HAS_FONT, name):
            pytest.skip(f"needs the font {name}, such as Debian's fonts-liberation")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "de", "fr", "es", "it", "nl"])
def test_the_first_screen(page: Page, language: str, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.locator("#language").select_option(language)
    differences = {}
    for width, height in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate("document.activeElement.blur(), scrollTo(0, 0)")
        name = f"{language}-{width}-{scheme}.png"
        SEEN.mkdir(parents=True, exist_ok=True)
        picture = Image.open(io.BytesIO(page.screenshot(path=SEEN / name))).convert("RGB")
        small = picture.resize((width // SHRINK, height // SHRINK), Image.Resampling.BOX)
        if os.environ.get("HENAW_KEEP_SCREENS"):
            KEPT.mkdir(exist_ok=True)
            small.save(KEPT / name, optimize=True)
        kept = np.asarray(Image.open(KEPT / name).convert("RGB"), float)
        differences[name] = float(np.abs(np.asarray(small, float) - kept).mean())
    page.emulate_media(color_scheme="light", reduced_motion="no-preference")
    assert max(differences.values()) < LARGEST_DIFFERENCE, differences
