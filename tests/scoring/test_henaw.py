import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pytest
from henaw.export.people import People
from henaw.intake.tables.layout import BiomarkerColumn, Layout, SexColumn, find_layout
from henaw.model.biomarkers import NAMES
from henaw.model.errors import ConfigurationError, RuntimeUnavailableError, ScoringError
from henaw.model.runtime import Outputs
from henaw.scoring import Henaw

# Most tables here lack columns, which test_preflight.py is about.
pytestmark = pytest.mark.filterwarnings("ignore::henaw.intake.preflight.InputWarning")


def test_golden_people_get_their_answers(model: Henaw, golden: tuple[People, Outputs]) -> None:
    people, outputs = golden
    table = pd.DataFrame(people.biomarkers, columns=list(NAMES))
    table["age"], table["sex"] = people.age, people.sex
    answers = model.predict(table)
    kept = model.predict(table, unreliable="keep")
    scored = answers["reason"].isna().to_numpy()
    told = scored & outputs["reliable"].astype(bool)
    assert 100 < told.sum() < scored.sum() < len(table)
    assert (answers["reliable"][scored] == outputs["reliable"][scored]).all()
    assert (answers["withheld"].notna().to_numpy() == scored & ~told).all()
    assert answers["withheld"].equals(kept["withheld"])
    for column, expected in {
        "biological_age": outputs["biological_age"],
        "interval_high": outputs["interval"][:, 1],
        "cause_risk_10y_cancer": outputs["cause_risk_10y"][:, 1],
        "percentile": outputs["percentile"],
        "draw_sd": outputs["draw_sd"],
        "contribution_typical_values": outputs["contributions"][:, 0],
        "contribution_albumin": outputs["contributions"][:, 4],
        "system_hematology": outputs["system_contributions"][:, 3],
    }.items():
        for seen, there in ((answers[column].to_numpy(), told), (kept[column].to_numpy(), scored)):
            np.testing.assert_allclose(seen[there], expected[there], atol=1e-4)
            assert np.isnan(seen[~there]).all()
    imputed = answers.loc[scored, [f"imputed_{name}" for name in NAMES]].to_numpy(bool)
    assert (imputed == outputs["imputed"][scored]).all()


def test_the_same_kind_of_table_comes_back(model: Henaw, people: pd.DataFrame) -> None:
    shuffled = people.sample(frac=1, random_state=1)
    answers = model.predict(shuffled)
    assert isinstance(answers, pd.DataFrame)
    assert (answers.index == shuffled.index).all()
    assert answers["biological_age"].dtype == np.float32
    assert answers["imputed_crp"].dtype == "boolean"
    by_polars = model.predict(pl.from_pandas(shuffled))
    assert isinstance(by_polars, pl.DataFrame)
    table = pa.Table.from_pandas(shuffled, preserve_index=False)
    by_arrow = model.predict(table)
    assert isinstance(by_arrow, pa.Table)
    assert isinstance(model.predict(table.to_batches()[0]), pa.RecordBatch)
    for column in answers.columns.drop(["withheld", "reason"]):
        expected = answers[column].to_numpy()
        np.testing.assert_array_equal(by_polars[column].to_numpy(), expected)
        np.testing.assert_array_equal(by_arrow[column].to_numpy(), expected)


def test_rows_do_not_depend_on_each_other(model_path: Path, people: pd.DataFrame) -> None:
    many = pd.concat([people] * 20, ignore_index=True)
    one, two = (Henaw.load(model_path, threads=n).predict(many) for n in (1, 2))
    pd.testing.assert_frame_equal(one, two)
    alone = Henaw.load(model_path).predict(people.iloc[[5]])
    np.testing.assert_allclose(
        alone["biological_age"].to_numpy(), one["biological_age"].iloc[[5]].to_numpy(), atol=1e-4
    )


def test_what_cannot_be_scored_says_why(model: Henaw, unscorable: pd.DataFrame) -> None:
    answers = model.predict(unscorable)
    assert answers["reason"].fillna("").tolist() == [
        "",
        "age is missing",
        "age is outside 18 to 120 years",
        "sex is not female or male",
        "creatinine is outside 5 to 2000 umol/L",
        "age is outside 18 to 120 years; crp is outside 0.01 to 500 mg/L",
    ]
    assert answers["withheld"].isna().all()
    assert answers.drop(columns=["withheld", "reason"]).iloc[0].notna().all()
    assert answers.drop(columns=["withheld", "reason"]).iloc[1:].isna().all(axis=None)


def test_numbers_that_are_not_reliable_are_withheld(model: Henaw, doubtful: pd.DataFrame) -> None:
    answers = model.predict(doubtful)
    codes = [
        *("", "critical_value", "age_outside_fitted", "nothing_known", "unlike_fitted"),
        "critical_value;age_outside_fitted",
    ]
    assert answers["withheld"].fillna("").tolist() == codes
    assert answers["reliable"].tolist() == [True] + [False] * 5
    assert answers["critical_crp"].tolist() == [False, True, False, False, False, True]
    assert answers["reason"].isna().all()
    numbers = [column for column in answers if answers[column].dtype == np.float32]
    assert len(numbers) > 20
    assert answers[numbers].iloc[0].notna().all()
    assert answers[numbers].iloc[1:].isna().all(axis=None)
    kept = model.predict(doubtful, unreliable="keep")
    assert kept[numbers].notna().all(axis=None)
    pd.testing.assert_frame_equal(kept.drop(columns=numbers), answers.drop(columns=numbers))
    few = model.predict(doubtful, outputs=["age_gap"])
    assert list(few) == ["age_gap", "withheld", "reason"]
    assert few["age_gap"].isna().tolist() == [False] + [True] * 5
    assert few["withheld"].equals(answers["withheld"])
    with pytest.raises(ScoringError, match="unreliable must be 'withhold' or 'keep'; got 'answer'"):
        model.predict(doubtful, unreliable="answer")


def test_withheld_answers_are_explained_in_sentences(model: Henaw, doubtful: pd.DataFrame) -> None:
    sentences = model.find_withheld(doubtful)
    assert [len(row) for row in sentences] == [0, 2, 1, 1, 1, 2]
    high = model.description["critical_limits"]["crp"][1]
    said = f"C-reactive protein {high + 1:g} mg/L is above {high:g} mg/L."
    assert sentences[1][0].startswith(said)
    assert sentences[1][1].startswith("Albumin 19 g/L is below 20 g/L.")
    # A row that cannot be scored has a reason of its own.
    assert model.find_withheld(doubtful.assign(age=7)) == [[]] * 6


def test_parts_and_figures_are_withheld_too(model: Henaw, doubtful: pd.DataFrame) -> None:
    parts = model.explain(doubtful)
    assert parts["years"].notna().groupby(parts["row"]).all().tolist() == [True] + [False] * 5
    assert parts["years"].isna().groupby(parts["row"]).all().tolist() == [False] + [True] * 5
    assert parts.query("row == 1 and name in ['crp', 'albumin']")["critical"].all()
    assert parts.query("row == 1")["critical"].sum() == 2
    assert parts.query("row == 1 and name == 'crp'")["value"].notna().all()
    kept = model.explain(doubtful, unreliable="keep")
    assert kept["years"].notna().all()
    with pytest.raises(ScoringError, match=r"row 1: 2 problems\n.*needs a doctor"):
        model.plot(doubtful, row=1)
    figure = model.plot(doubtful, row=1, unreliable="keep")
    assert "not reliable" in figure.axes[0].get_title(loc="left")
    assert "not reliable" not in model.plot(doubtful, row=0).axes[0].get_title(loc="left")


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table])
def test_an_empty_table_and_people_without_values(model: Henaw, frame: type) -> None:
    nobody = frame({"age": [], "sex": [], "crp": []})
    assert len(model.predict(nobody)) == len(model.explain(nobody)) == 0
    answer = pd.DataFrame({"age": [60], "sex": [1], "crp": pd.Series([None], dtype=object)})
    assert model.predict(answer)["imputed_crp"].tolist() == [True]


def test_any_type_that_holds_numbers(model: Henaw) -> None:
    expected = model.predict(pa.table({"age": [60.0, 70.0], "sex": [0, 1], "ggt": [22.0, None]}))
    for table in (
        pa.table({"age": ["60", " 70.0"], "sex": ["Female", "M"], "ggt": ["22", "NA"]}),
        pa.table(
            {
                "age": pa.array([60, 70], pa.int8()),
                "sex": pa.array(["female", "male"]).dictionary_encode(),
                "ggt": pa.array([22, None], pa.decimal128(5, 1)),
            }
        ),
        pa.table(
            {
                "age": pa.array(["60", "70"], pa.string_view()),
                "sex": pa.array(["0", "1.0"], pa.large_string()),
                "ggt": pa.array([22.0, None], pa.float16()),
            }
        ),
    ):
        assert model.predict(table).equals(expected)


def test_codes_of_missing_values_hold_in_columns_of_any_type(model: Henaw) -> None:
    layout = Layout(
        age="age",
        sex=SexColumn(column="sex", female=("0",), male=("1",)),
        biomarkers=(BiomarkerColumn(name="ggt", column="ggt", unit="U/L"),),
        missing=("999", "-9"),
    )
    for values in ([999.0, -9.0, 22.0], [999, -9, 22], ["999", "-9", "22"]):
        table = pa.table({"age": [54] * 3, "sex": [0] * 3, "ggt": values})
        answers = model.predict(table, layout=layout)
        assert answers["reason"].to_pylist() == [None] * 3
        imputed = answers["imputed_ggt"].to_pylist()
        assert imputed == [True, True, False]


def test_a_row_reads_alike_whatever_is_beside_it(model: Henaw) -> None:
    for beside in ("1.2", "junk"):
        table = pl.DataFrame({"age": ["60", "60"], "sex": ["f", "f"], "crp": ["nan", beside]})
        assert model.predict(table)["reason"].to_list()[0] is None


def test_text_that_is_no_number_is_a_reason(model: Henaw) -> None:
    table = pl.DataFrame(
        {"age": ["60", "x", "<61"], "sex": ["f", "f", None], "crp": ["1,079", "1.2", "1-2"]}
    )
    assert model.predict(table)["reason"].to_list() == [
        "crp is not a number",
        "age is not a number",
        "age is not a number; sex is not female or male; crp is not a number",
    ]
    truth = pa.table({"age": [60], "sex": [0], "crp": [True]})
    assert model.predict(truth)["reason"].to_pylist() == ["crp is not a number"]


def test_limits_and_words_are_read_as_they_are_meant(model: Henaw) -> None:
    cells = ["0.3", "<0.3", "< 0,3", "<50", ">200", "200", "n.d.", None, "haemolysed", "<0.3"]
    sexes = ["f"] * 9 + ["?"]
    table = pa.table({"age": [60] * 10, "sex": sexes, "crp": cells})
    ages = model.predict(table, unreliable="keep")["biological_age"].to_pylist()
    assert ages[1] == ages[2] == ages[0]
    assert ages[4] == ages[5]
    # "Below 50" says less of a CRP than nothing does, as most are.
    assert ages[3] == ages[6] == ages[7] == ages[8]
    assert ages[9] is None
    layout = find_layout(table.schema.names)
    _, summary = model.score(table.to_batches()[0], layout, ("age_gap",))
    assert summary.notes == {
        "crp is a limit, which is used as the value": 3,
        "crp is a limit that says too little, and is missing": 1,
        "crp is a word for no value, and is missing": 2,
    }
    assert summary.imputed["crp"] == 4


def test_of_two_columns_of_a_biomarker_each_row_has_one(model: Henaw) -> None:
    table = pa.table(
        {
            "SEQN": [1, 2, 3],
            "RIDAGEYR": [60, 60, 60],
            "RIAGENDR": [2, 2, 2],
            "LBXCRP": [0.12, None, 0.12],
            "LBXHSCRP": [None, 1.2, 99.0],
        }
    )
    ages = model.predict(table)["biological_age"].to_pylist()
    assert ages[0] == ages[1] == ages[2]


def test_a_layout_has_units_and_codes(model: Henaw) -> None:
    layout = Layout(
        age="years",
        sex=SexColumn(column="geschlecht", female=("W",), male=("M",)),
        biomarkers=(
            BiomarkerColumn(name="hba1c", column="a1c", unit="%"),
            BiomarkerColumn(name="creatinine", column="crea", unit_column="crea_unit"),
        ),
        missing=("-9",),
    )
    table = pa.table(
        {
            "years": ["54", "54", "54"],
            "geschlecht": ["w", "M", "W"],
            "a1c": [5.4, 5.4, 5.4],
            "crea": ["0.9", "79.578", "0.9"],
            "crea_unit": ["mg/dl", "µmol/l", "g"],
        }
    )
    answers = model.predict(table, layout=layout)
    expected = model.predict(
        pa.table(
            {"age": [54, 54], "sex": [0, 1], "hba1c": [35.5050284] * 2, "creatinine": [79.578] * 2}
        )
    )
    np.testing.assert_allclose(
        answers["biological_age"].to_numpy()[:2], expected["biological_age"].to_numpy(), atol=1e-4
    )
    assert answers["reason"].to_pylist() == [
        None,
        None,
        "the unit of creatinine must be one of umol/L, mg/dL, mg/L",
    ]


def test_another_unit_is_refused_not_scored(model: Henaw, people: pd.DataFrame) -> None:
    with pytest.raises(ScoringError, match="creatinine, taken to be in umol/L: the values may be"):
        model.predict(people.assign(creatinine=people["creatinine"] / 88.42))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([1, "x"], "must be a dict, a list of dicts, or a table .*; got list of int, str"),
        (pd.DataFrame({"age": [50], "sex": [True], "crp": [1.0]}), "do not say who is female"),
        (
            pd.DataFrame({"age": [50], "sex": [0], "crp": pd.arrays.SparseArray([1.0])}),
            r"crp is sparse: call \.sparse\.to_dense\(\) first",
        ),
        (pd.DataFrame({"born": [50], "sex": [0], "crp": [1.0]}), "column 'age'"),
        (
            pd.DataFrame({"age": [50, "x"], "sex": [0, 0], "crp": [1, 1]}),
            "each column must have one type",
        ),
    ],
)
def test_what_is_no_table_of_people_is_refused(
    model: Henaw, table: pd.DataFrame, message: str
) -> None:
    with pytest.raises(ScoringError, match=message):
        model.predict(table)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda table: pl.from_arrow(table).lazy(), r"got LazyFrame; call \.collect\(\)"),
        (pa.dataset.dataset, r"InMemoryDataset; call \.to_table\(\)"),
        (lambda table: table["age"], "cannot read a ChunkedArray as a table: .*non-struct"),
        (lambda table: pl.from_arrow(table)["age"], "cannot read a Series as a table"),
        (lambda table: table["age"].to_pandas(), "unknown name '0': known are age"),
    ],
)
def test_a_table_that_is_not_in_memory_is_refused_with_what_to_call(
    model: Henaw, make: Callable[[pa.Table], object], message: str
) -> None:
    table = pa.table({"age": [50], "sex": ["f"], "crp": [1.0]})
    with pytest.raises(ScoringError, match=message):
        model.predict(make(table))


class Located(pd.DataFrame):
    """As other libraries extend pandas, GeoPandas for one."""

    @property
    def _constructor(self) -> type:
        return Located


def test_what_extends_pandas_is_a_table_too(model: Henaw, people: pd.DataFrame) -> None:
    answers = model.predict(Located(people.set_index("participant_id")))
    assert isinstance(answers, pd.DataFrame)
    assert list(answers.index) == list(people["participant_id"])
    pd.testing.assert_frame_equal(answers.reset_index(drop=True), model.predict(people))


def test_outputs_are_chosen_by_name(model: Henaw, people: pd.DataFrame) -> None:
    with pytest.raises(ScoringError, match="must be a list of names; got 'interval'"):
        model.predict(people, outputs="interval")
    answers = model.predict(people, outputs=["interval", "biological_age"])
    columns = ["biological_age", "interval_low", "interval_high", "withheld", "reason"]
    assert list(answers) == columns
    with pytest.raises(ScoringError, match="got 'age_gaps'"):
        model.predict(people, outputs=["age_gaps"])


def test_explanations_add_up(model: Henaw, unscorable: pd.DataFrame) -> None:
    unscorable = unscorable.assign(ast=[np.nan] + [20.0] * 5)
    parts = model.explain(unscorable)
    assert parts["row"].unique().tolist() == [0]
    gap = model.predict(unscorable)["age_gap"].iloc[0]
    assert parts["years"].sum() == pytest.approx(gap, abs=1e-4)
    by_name = parts.set_index("name")
    years, label = by_name.loc["typical_values", ["years", "label"]]
    more = "less" if years < 0 else "more"
    said = f"people with all known values at the median die {more} than the typical person"
    assert label == f"Typical values: {said}"
    assert np.isnan(by_name.loc["typical_values", "value"])
    assert by_name.loc["crp", "value"] == pytest.approx(1.2)
    assert by_name.loc["ast", "imputed"]
    assert np.isnan(by_name.loc["ast", "value"])
    reference = model.description["reference"]
    median = np.interp(50.0, reference["age"], reference["female"]["crp"])
    assert by_name.loc["crp", "reference_median"] == pytest.approx(median)


def test_the_waterfall_ends_at_the_biological_age(model: Henaw, unscorable: pd.DataFrame) -> None:
    figure = model.plot(unscorable, row=0)
    axes = figure.axes[0]
    age = model.predict(unscorable)["biological_age"].iloc[0]
    # The parts run upwards from age; the last ends where the point is.
    last = axes.patches[-1]
    assert last.get_x() + last.get_width() == pytest.approx(age, abs=1e-3)
    assert axes.patches[0].get_x() == pytest.approx(50.0)
    assert "Female of 50" in axes.get_title(loc="left")
    labels = [" ".join(label.get_text().split()) for label in axes.get_yticklabels()]
    assert any(label.startswith("Typical values: people with all known") for label in labels)
    with pytest.raises(ScoringError, match="age is missing"):
        model.plot(unscorable, row=1)
    with pytest.raises(ScoringError, match="row must be 0 to 5; got 6"):
        model.plot(unscorable, row=6)


def test_a_plot_without_matplotlib_says_what_to_install(
    model: Henaw, unscorable: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(RuntimeUnavailableError, match=r"henaw\[plot\]"):
        model.plot(unscorable)


def test_cuda_takes_people_in_large_pieces(
    model: Henaw, model_path: Path, people: pd.DataFrame, pretend_cuda: Callable[..., Any]
) -> None:
    many = pd.concat([people] * 3, ignore_index=True)
    expected = model.predict(many)
    stand_in = pretend_cuda()
    cuda = Henaw.load(model_path, device="cuda:1")
    assert (model.device, cuda.device) == ("cpu", "cuda:1")
    answers = cuda.predict(many)
    assert stand_in.people == [len(many)]
    for column in ("biological_age", "interval_low", "percentile"):
        np.testing.assert_allclose(
            answers[column].to_numpy(), expected[column].to_numpy(), atol=1e-3
        )
    with pytest.raises(ConfigurationError, match="device must be auto, cpu, cuda or cuda:N"):
        Henaw.load(model_path, device="gpu")


def test_it_needs_only_numpy_pyarrow_and_onnxruntime(model_path: Path) -> None:
    heavy = ("torch", "pandas", "polars", "matplotlib", "onnx", "scipy", "yaml", "pyspark")
    program = f"""
import sys

class Absent:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in {heavy!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import pyarrow
from henaw.scoring import Henaw
table = pyarrow.table({{"age": [50], "sex": ["male"], "crp": [1.0]}})
print(Henaw.load({str(model_path)!r}).predict(table)["biological_age"][0])
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) > 0
