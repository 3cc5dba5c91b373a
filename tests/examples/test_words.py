"""Texts of the page in six languages, and what it says beside what the package says."""

import re
from typing import Any

import numpy as np
import pytest
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.reliability import find_reasons
from henaw.model.runtime import OnnxRuntime

LANGUAGES = ("de", "fr", "es", "it", "nl")


@pytest.fixture(scope="module")
def texts(call: Any) -> dict[str, dict[str, str]]:
    return {name: call("words/words", "readTexts", name) for name in ("en", *LANGUAGES)}


def test_no_text_is_missing(texts: dict[str, dict[str, str]]) -> None:
    english = texts["en"]
    assert len(english) > 200
    for language in LANGUAGES:
        mine = texts[language]
        assert list(mine) == list(english), language
        for key, text in mine.items():
            assert text.strip(), (language, key)
            places = sorted(re.findall(r"\{\w+\}", text))
            assert places == sorted(re.findall(r"\{\w+\}", english[key])), (language, key)


def test_what_is_said_is_translated(texts: dict[str, dict[str, str]]) -> None:
    """Sentences differ from the English ones; single words may be the same."""
    for language in LANGUAGES:
        same = [
            key
            for key, text in texts[language].items()
            if text == texts["en"][key] and len(text.split()) > 3
        ]
        assert same == [], language


def test_each_biomarker_has_its_name_hint_and_advice(texts: dict[str, dict[str, str]]) -> None:
    for biomarker in PANEL:
        wanted = {f"{part}.{biomarker.name}" for part in ("name", "abbr", "hint")}
        wanted |= {f"advice.{biomarker.name}.{side}" for side in biomarker.harmful}
        assert wanted <= set(texts["en"])


def test_reasons_are_those_of_python(call: Any, onnx: OnnxRuntime, sidecar: Any) -> None:
    limits = sidecar["critical_limits"]
    people = []
    for name, (low, high) in limits.items():
        usual = dict.fromkeys(NAMES, np.nan) | {"crp": 1.2, "albumin": 43.0}
        people += [
            usual | {name: limit * step}
            for limit, step in ((low, 0.98), (high, 1.02))
            if limit is not None
        ]
    unlike = (0.1, 120.0, 80.0, 55.0, 30.0, 22.0, 5.0, 200.0, 6.0)
    people += [dict.fromkeys(NAMES, np.nan), dict(zip(NAMES, unlike, strict=True))]
    rows = np.array([list(person.values()) for person in people], np.float32)
    age = np.where(np.arange(len(rows)) % 3 == 0, 93.0, 50.0).astype(np.float32)
    outputs = onnx.predict(rows, age, np.zeros(len(rows), np.int64))
    assert not outputs["reliable"].any()
    low, high = sidecar["fitted_ages"]
    expected = find_reasons(outputs, rows, age, critical_limits=limits, fitted_ages=(low, high))
    for row in range(len(rows)):
        person = {
            "biomarkers": ["NaN" if np.isnan(v) else v for v in rows[row].tolist()],
            "age": float(age[row]),
            "sex": 0,
        }
        names = ("reliable", "critical", "age_out_of_range", "imputed")
        answer = {name: outputs[name][row].tolist() for name in names}
        reasons = call("lib/reliability", "listReasons", "sidecar", person, answer)
        fields = [(reason["code"], reason.get("name")) for reason in reasons]
        wanted = [
            (one.code, one.field if one.code == "critical_value" else None) for one in expected[row]
        ]
        assert fields == wanted
        for reason, one in zip(reasons, expected[row], strict=True):
            if reason["code"] == "critical_value":
                assert f" is {reason['side']} {reason['limit']:.6g} " in one.message
