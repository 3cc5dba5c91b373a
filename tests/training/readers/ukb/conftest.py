"""A synthetic extract: people who do not exist, written in any naming convention."""

import gzip
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from henaw.intake.words.ukb_names import FIELDS, Place

Spelling = Callable[[Place], str]

ONCE = {31, 34, 52, 191, 21022}


def _spell_platform(place: Place) -> str:
    return f"p{place.field}" + (f"_i{place.instance}" if place.field not in ONCE else "")


def _spell_title(place: Place) -> str:
    title = FIELDS[place.field].title
    return title + (f" | Instance {place.instance}" if place.field not in ONCE else "")


SPELLINGS: dict[str, tuple[str, Spelling]] = {
    "ukbconv csv": ("eid", lambda p: f"{p.field}-{p.instance}.{p.array}"),
    "ukbconv r": ("f.eid", lambda p: f"f.{p.field}.{p.instance}.{p.array}"),
    "ukbconv stata": ("n_eid", lambda p: f"n_{p.field}_{p.instance}_{p.array}"),
    "letter": ("eid", lambda p: f"x{p.field}_{p.instance}_{p.array}"),
    "ukbtools": (
        "eid",
        lambda p: (
            "".join(c if c.isalnum() else "_" for c in FIELDS[p.field].title.lower())
            + f"_f{p.field}_{p.instance}_{p.array}"
        ),
    ),
    "platform": ("eid", _spell_platform),
    "platform with entity": ("participant.eid", lambda p: f"participant.{_spell_platform(p)}"),
    "titles": ("Participant ID", _spell_title),
}
Table = dict[Place | str, Sequence[object]]


def make_people(n: int, seed: int = 1) -> Table:
    """People at two visits: everyone at the first, every third at the second too."""
    random = np.random.default_rng(seed)
    start = date(2006, 4, 1)
    first = [start + timedelta(days=int(d)) for d in random.integers(0, 1500, n)]
    second = [d + timedelta(days=1600) if i % 3 == 0 else None for i, d in enumerate(first)]
    dies = random.random(n) < 0.4
    died = [
        d + timedelta(days=int(2000 + 3000 * random.random())) if dead else None
        for d, dead in zip(first, dies, strict=True)
    ]
    centres = random.choice([11012, 11004, 11003], n)
    table: Table = {
        "eid": [1_000_001 + i for i in range(n)],
        Place(31): random.integers(0, 2, n).tolist(),
        Place(34): [1950] * n,
        Place(52): [6] * n,
        Place(53, 0): first,
        Place(53, 1): second,
        Place(54, 0): centres.tolist(),
        Place(21003, 0): [age_on(d) for d in first],
        Place(21003, 1): [age_on(d) if d else None for d in second],
        Place(40000, 0): died,
        Place(40001, 0): ["I219" if d else None for d in died],
    }
    typical = {30710: 1.5, 30750: 35.0, 30700: 70.0, 30600: 45.0, 30180: 28.0}
    typical |= {30070: 13.4, 30730: 27.0, 30650: 25.0, 30620: 20.0}
    for field, value in typical.items():
        table[Place(field, 0)] = (value * random.lognormal(0, 0.05, n)).round(2).tolist()
        again = (value * random.lognormal(0, 0.05, n)).round(2)
        table[Place(field, 1)] = [v if d else None for v, d in zip(again, second, strict=True)]
    return table


def age_on(day: date) -> int:
    """Completed years of someone born on 15 June 1950."""
    return day.year - 1950 - ((day.month, day.day) < (6, 15))


def spell(table: Table, spelling: str) -> pl.DataFrame:
    """Give the columns the names of a convention."""
    participant, write = SPELLINGS[spelling]
    return pl.DataFrame(
        {
            participant if isinstance(name, str) else write(name): values
            for name, values in table.items()
        }
    )


def write_text(frame: pl.DataFrame, path: Path, *, separator: str = ",", bom: bool = False) -> Path:
    """Write delimited text, compressed as the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = frame.write_csv(separator=separator).encode()
    if bom:
        content = b"\xef\xbb\xbf" + content
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content))
    elif path.suffix in (".zst", ".bz2"):
        compression = {".zst": "zstd", ".bz2": "bz2"}[path.suffix]
        with pa.CompressedOutputStream(str(path), compression) as file:
            file.write(content)
    else:
        path.write_bytes(content)
    return path


class Extracts:
    """What tests write with; a fixture, since test folders are no packages."""

    Place = Place
    spellings = tuple(SPELLINGS)
    make_people = staticmethod(make_people)
    spell = staticmethod(spell)
    write_text = staticmethod(write_text)
    age_on = staticmethod(age_on)


@pytest.fixture(scope="session")
def extracts() -> type[Extracts]:
    return Extracts
