"""Spellings of units in the page's JavaScript, run by node, held to what Python says."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from henaw.export.metadata import describe_units
from henaw.model.biomarkers import PANEL, Biomarker
from henaw.model.errors import PanelError

UNITS = Path(__file__).resolve().parents[2] / "examples" / "browser" / "units.js"
READ = """
import { readFileSync } from "node:fs";
import { findUnit } from "./units.mjs";
const { units, cases } = JSON.parse(readFileSync(0, "utf8"));
const read = ([biomarker, spelling]) => {
  try { return findUnit({ units }, biomarker, spelling); } catch (error) { return error.message; }
};
console.log(JSON.stringify(cases.map(read)));
"""
SPELLINGS = (
    *("mg/L", "MG/DL", "mg/100 mL", "mg%", "mgm/dL", "ug/mL", "\u00b5g/mL", "mcg/mL", "mg/L.", ""),
    *("milligram per liter", "gm/dL", "g%", "gm/L", "mg/mL", "g\u00b7dL\u207b\u00b9", "nmol/L"),
    *("umol/L", "\u03bcmol/l", "micromoles per litre", "nmol/mL", "mmol/L", "\u00b5M"),
    *("mmol/mol", "mmol/mol Hb", "mmol/mol{Hb}", "mmol mol\u207b\u00b9", "mmol/mol (IFCC)"),
    *("%", "percent", "\uff05", "% of total Hgb", "% (NGSP)", "%{HbA1c}", "% (JDS)", "NGSP %"),
    *("1", "L/L", "ratio", "{ratio}", "fraction", "10*-2", "10\u207b\u00b2", "% of WBC", "% (CV)"),
    *("U/L", "IU/L", "[IU]/L", "{IU}/L", "Units/L", "units per liter", "E/L", "mIU/mL", "U L-1"),
    *("ukat/L", "\u03bckat/l", "nkat/L", "umol/(min.L)", "U/L (37 \u00b0C)", "kU/L", "fL", "{fL}"),
    *("10*9/L", "x10\u2079/L", "K/uL", "{cells}/uL", "10^9 L-1", "# / uL", "G/L", "furlong"),
)


def read(biomarker: Biomarker, spelling: str) -> str:
    """The accepted unit that it means, or why it is refused."""
    try:
        unit = biomarker.find_unit(spelling)
    except PanelError as error:
        return error.problems[0]
    return next(name for name in biomarker.units if biomarker.find_unit(name) == unit)


def test_the_page_reads_a_unit_as_python_does(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    shutil.copy(UNITS, tmp_path / "units.mjs")
    (tmp_path / "read.mjs").write_text(READ, encoding="utf-8")
    pairs = [(biomarker, spelling) for biomarker in PANEL for spelling in SPELLINGS]
    cases = [
        ({"name": b.name, "unit": b.unit, "units": list(b.units)}, spelling)
        for b, spelling in pairs
    ]
    done = subprocess.run(
        [node, "read.mjs"],
        cwd=tmp_path,
        input=json.dumps({"units": describe_units(), "cases": cases}),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    seen = {
        (biomarker.name, spelling): answer
        for (biomarker, spelling), answer in zip(pairs, json.loads(done.stdout), strict=True)
    }
    assert seen == {(b.name, spelling): read(b, spelling) for b, spelling in pairs}
