import os

import polars as pl
import pyarrow as pa
import pytest
from henaw.intake.words.ukb_names import Place
from henaw.model.errors import CohortError
from henaw.training.readers.ukb.batches import read_batches
from henaw.training.readers.ukb.files import describe_error, find_sources


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "extract"
    made.mkdir()
    return made


def read(root, out):
    """The participants' CRP, by the one file there is."""
    (source,) = find_sources(root, out).sources
    frame = pl.concat(read_batches(source))
    return frame.rename({str(source.places[Place(30710)]): "30710"}).sort("eid")


@pytest.fixture
def frame(extracts):
    return extracts.spell(extracts.make_people(30), "ukbconv csv")


@pytest.mark.parametrize("name", ["a.csv", "deep/er/a.csv.gz", "a.csv.zst", "a.txt", "a.csv.bz2"])
@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_every_kind_of_text_reads_alike(folder, frame, extracts, name, separator):
    for bom in (True, False):
        extracts.write_text(frame, folder / name, separator=separator, bom=bom)
        found = read(folder, folder / "out.parquet")
        assert found["eid"].to_list() == [str(e) for e in frame["eid"]]
        assert found["30710"].cast(pl.Float64).to_list() == frame["30710-0.0"].to_list()


def test_utf_16_and_windows_line_ends(folder, frame):
    text = frame.write_csv(line_terminator="\r\n")
    (folder / "a.csv").write_bytes(text.encode("utf-16"))
    found = read(folder, folder / "out.parquet")
    assert found["30710"].cast(pl.Float64).to_list() == frame["30710-0.0"].to_list()


@pytest.mark.parametrize("spelling", ["platform with entity", "titles"])
def test_parquet_with_dots_and_spaces_in_its_names(folder, extracts, spelling):
    table = extracts.spell(extracts.make_people(30), spelling)
    table.write_parquet(folder / "a.parquet")
    found = read(folder, folder / "out.parquet")
    expected = table.select(pl.selectors.matches("p30710_i0|C-reactive protein . Instance 0"))
    assert found["30710"].cast(pl.Float64).to_list() == expected.to_series().to_list()


def test_missing_values_and_decimal_commas(folder):
    (folder / "a.csv").write_text("eid;30710-0.0\n1;1,5\n2;NA\n3; \n4;NaN\n5;2\n")
    assert read(folder, folder / "out.parquet")["30710"].to_list() == ["1.5", None, None, None, "2"]


def test_what_was_written_is_not_read_back(folder, frame, extracts):
    extracts.write_text(frame, folder / "a.csv")
    out = folder / "cohort.parquet"
    frame.write_parquet(out)
    assert [s.path.name for s in find_sources(folder, out).sources] == ["a.csv"]


def test_other_tables_are_named_and_left_alone(folder, frame, extracts):
    extracts.write_text(frame, folder / "a.csv")
    (folder / "Data_Dictionary_Showcase.csv").write_text("FieldID,Field\n30710,CRP\n")
    (folder / "genetics.csv").write_text("eid,22001-0.0\n1,0\n")
    (folder / ".hidden.csv").write_text("eid,31-0.0\n")
    extract = find_sources(folder, folder / "out.parquet")
    assert set(extract.unused) == {"Data_Dictionary_Showcase.csv", "genetics.csv"}
    assert len(extract.sources) == 1


def problems_of(root, out):
    with pytest.raises(CohortError) as caught:
        find_sources(root, out)
    return list(caught.value.problems)


def test_a_folder_without_tables_is_refused(folder):
    (folder / "ukb1.enc_ukb").write_bytes(b"x")
    (problem,) = problems_of(folder, folder / "out.parquet")
    assert "got .enc_ukb" in problem
    assert "run ukbconv" in problem
    assert problems_of(folder / "no", folder / "out.parquet") == ["there is no such folder or file"]


def test_every_unreadable_file_is_listed_together(folder, frame, extracts):
    extracts.write_text(frame, folder / "good.csv")
    (folder / "empty.csv").write_bytes(b"")
    (folder / "liar.csv.gz").write_bytes(b"eid,31-0.0\n1,0\n")
    (folder / "broken.parquet").write_bytes(b"PAR1" + b"\x00" * 100)
    (folder / "binary.txt").write_bytes(b"\x00\x01\x02\x03" * 10)
    os.symlink(folder / "gone", folder / "dangling.csv")
    (folder / "cut.csv.gz").write_bytes(
        extracts.write_text(frame, folder / "x.csv.gz").read_bytes()[:20]
    )
    found = problems_of(folder, folder / "out.parquet")
    assert [problem.split(":")[0] for problem in found] == [
        "binary.txt",
        "broken.parquet",
        "cut.csv.gz",
        "dangling.csv",
        "empty.csv",
        "liar.csv.gz",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(folder, frame, extracts):
    path = extracts.write_text(frame, folder / "a.csv")
    path.chmod(0)
    assert "Permission denied" in problems_of(folder, folder / "out.parquet")[0]


def test_two_columns_of_one_field_are_refused(folder):
    (folder / "a.csv").write_text(
        "Participant ID,Creatinine | Instance 0,Creatinine | Instance 0\n1,70,0.07\n"
    )
    (problem,) = problems_of(folder, folder / "out.parquet")
    assert "field 30700, instance 0, array 0 must have one column" in problem
    assert "export with field names" in problem


def test_room_on_the_disk_is_checked_before_reading(folder):
    path = folder / "a.csv"
    path.write_text("eid,30710-0.0\n1,1\n")
    # A sparse file takes no room itself; read, it would take hours.
    os.truncate(path, 2 << 40)
    (problem,) = problems_of(folder, folder / "out.parquet")
    assert "MB free for" in problem


def damage(path, keep):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.zst", "a.csv.bz2", "a.tsv"])
def test_a_file_cut_short_is_refused(folder, extracts, name):
    frame = extracts.spell(extracts.make_people(3000), "ukbconv csv")
    separator = "\t" if name.endswith("tsv") else ","
    path = extracts.write_text(frame, folder / name, separator=separator)
    damage(path, 0.75)
    with pytest.raises(CohortError) as caught:
        read(path, folder / "out.parquet")
    message = str(caught.value)
    assert "cannot be read" in message or "cut short" in message
    assert "10000" not in message, "no participant may be in a message"


def test_a_last_line_without_a_line_break_gives_a_warning(folder):
    (folder / "a.csv").write_text("eid,30710-0.0\n1,1.5\n2,1.")
    extract = find_sources(folder, folder / "out.parquet")
    assert "the last line has no line break" in extract.warnings[0]


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("eid,31-0.0,30710-0.0\n1,0,1\n2,0\n", "cut short"),
        ("eid,31-0.0\n1,1000001,0\n2,1000002,0\n", "Row names"),
        ("eid,31-0.0\n1,0\n2,0,a,b\n3,a,b,c,d\n", "may not be quoted"),
    ],
)
def test_rows_of_another_length_are_counted_not_quoted(folder, text, fix):
    (folder / "a.csv").write_text(text)
    (source,) = find_sources(folder, folder / "out.parquet").sources
    with pytest.raises(CohortError, match=fix) as caught:
        list(read_batches(source))
    assert "100000" not in str(caught.value)


def test_a_row_that_arrow_quotes_is_not_repeated():
    error = pa.ArrowInvalid("CSV parse error: Expected 4 columns, got 2: 1000001,57\n1000002,58")
    assert describe_error(error) == "CSV parse error"
    assert describe_error(FileNotFoundError(2, "No such file")) == "No such file"
