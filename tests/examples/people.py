"""What a person types, and what the model says of it."""

from __future__ import annotations

import re

import numpy as np
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.runtime import OnnxRuntime, Outputs
from playwright.sync_api import Page, expect

MINUS = "\u2212"
Values = dict[str, tuple[str, str]]
# As a report has them: in the units that the page offers first after the panel's own.
TYPED: Values = {
    "crp": ("4.8", "mg/L"),
    "hba1c": ("6.1", "%"),
    "creatinine": ("0.82", "mg/dL"),
    "albumin": ("4.2", "g/dL"),
    "lymphocyte_pct": ("24.4", "%"),
    "rdw": ("14.2", "%"),
    "ggt": ("38", "U/L"),
    "ast": ("0.37", "ukat/L"),
    "alt": ("24", "U/L"),
}


def fill(page: Page, values: Values, *, age: str, sex: str) -> None:
    """Type a person in; nothing else is left in the form."""
    if page.evaluate("location.hash") not in ("", "#enter"):
        page.evaluate("location.hash = 'enter'")
    page.locator("#clear").click()
    page.locator("#excluded-none").check()
    page.fill("#age", age)
    page.locator(f"#sex-{('female', 'male').index(sex)}").check()
    for name, (value, unit) in values.items():
        page.locator(f"#{name} + select").select_option(unit)
        page.fill(f"#{name}", value)


def show(page: Page) -> None:
    """Ask for the result, and wait for it."""
    page.locator(".bar button[type=submit]").click()
    expect(page.locator("#answer, #withheld")).to_be_visible()


def predict(onnx: OnnxRuntime, values: Values, age: float, sex: int) -> Outputs:
    row = [np.nan] * len(NAMES)
    for name, (value, unit) in values.items():
        row[INDEX[name]] = PANEL[INDEX[name]].find_unit(unit).to_si(float(value))
    return onnx.predict(np.array([row], np.float32), np.float32([age]), np.int64([sex]))


def read_number(text: str) -> float:
    match = re.search(rf"[{MINUS}+-]?\d+([.,]\d+)?", text)
    assert match is not None, text
    return float(match[0].replace(MINUS, "-").replace(",", "."))


def drop(page: Page, name: str, text: str, selector: str = "body") -> None:
    """Let a file fall on the page."""
    page.evaluate(
        """([name, text, selector]) => {
            const dropped = new DataTransfer();
            dropped.items.add(new File([text], name));
            document.querySelector(selector).dispatchEvent(
                new DragEvent("drop", {dataTransfer: dropped, bubbles: true, cancelable: true}));
        }""",
        [name, text, selector],
    )
