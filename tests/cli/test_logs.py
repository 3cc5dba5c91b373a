"""The options of the log, by commands as a person types them."""

import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from henaw.cli.logs import add_logging_options, open_log, say_once
from henaw.cli.main import SUBCOMMANDS, commands
from henaw.model.biomarkers import NAMES
from tqdm import tqdm

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture(scope="module")
def survivors(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A fit that reads its cohort and then fails, as it has no deaths."""
    folder = tmp_path_factory.mktemp("survivors")
    table = {"participant_id": ["person-1", "person-2"], "age": [50.0, 51.0], "sex": [0, 1]}
    table |= {name: [31.25, 32.25] for name in NAMES}
    table |= {"death": [0, 0], "followup_months": [120, 120], "ucod_leading": [np.nan, np.nan]}
    pd.DataFrame(table).to_parquet(folder / "cohort.parquet")
    configuration = {
        "name": "synthetic",
        "version": "0.0.1",
        "date": "2026-01-02",
        "training_data": "Synthetic people.",
        "intended_use": "Tests.",
        "seed": 3,
        "cohort": {
            "causes": {"cardiovascular": [1], "cancer": [2], "diabetes": [7], "dementia": [6]}
        },
    }
    (folder / "fit.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    return [
        *("--config", str(folder / "fit.yaml"), "--cohort", str(folder / "cohort.parquet")),
        *("--out", str(folder / "out" / "model.safetensors")),
    ]


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", "from henaw.cli.main import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_command_has_the_options() -> None:
    def check(command: click.Command, *path: str) -> None:
        if isinstance(command, click.Group):
            for name, subcommand in command.commands.items():
                check(subcommand, *path, name)
        else:
            names = [parameter.name for parameter in command.params]
            for option in ("log_level", "log_file", "log_format"):
                assert names.count(option) == 1, path

    context = click.Context(commands)
    for _ in range(2):  # A command that is looked up again has them once.
        for name in SUBCOMMANDS:
            command = commands.get_command(context, name)
            assert command is not None
            check(command, name)


def test_text_goes_to_standard_error_at_the_level_asked_for(
    survivors: list[str], tmp_path: Path
) -> None:
    quiet = run("train", *survivors, "--work", tmp_path / "quiet", "--log-level", "error")
    assert quiet.returncode == 1
    assert quiet.stderr.startswith("error: ")
    said = run("train", *survivors, "--work", tmp_path / "said", "--log-level", "info")
    assert said.returncode == 1
    told = said.stderr[: said.stderr.index("error: ")].splitlines()
    lines = [line for line in told if " henaw.training.execution.cache: " in line]
    assert len(lines) == 2
    pattern = rf"{TIME} INFO henaw\.training\.execution\.cache: cache: cohort-\w+\.cached "
    assert re.fullmatch(pattern + "is absent: making it", lines[0])
    assert re.fullmatch(pattern + r"made in \d+\.\d\d s", lines[1])
    assert said.stderr[said.stderr.index("error: ") :] == quiet.stderr


def test_a_file_of_json_says_what_was_done_and_why_it_failed(
    survivors: list[str], tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    options = ("--log-file", log, "--log-format", "json", "--log-level", "DEBUG")
    # Before the subcommand, and after it; a later run goes on in the same file.
    first = run(*options, "train", *survivors, "--work", tmp_path / "work")
    second = run("train", *survivors, "--work", tmp_path / "work", *options)
    for done in (first, second):
        assert done.returncode == 1
        assert "error: fit: " in done.stderr
        assert "Traceback" not in done.stderr
    text = log.read_text(encoding="utf-8")
    records = [json.loads(line) for line in text.splitlines()]
    records = [record for record in records if record["level"] != "WARNING"]
    assert [record["level"] for record in records] == ["INFO", "INFO", "ERROR", "INFO", "ERROR"]
    assert records[0]["logger"] == "henaw.training.execution.cache"
    assert re.fullmatch(r"cache: cohort-\w+\.cached read in \d+\.\d\d s", records[3]["message"])
    for record in records:
        assert re.fullmatch(TIME, record["time"])
        assert "exception" not in record
    head, _ = second.stderr.removeprefix("error: ").split("\n", 1)
    assert records[-1]["message"].startswith(f"{head}; ")
    # Nothing about a person.
    assert "person-" not in text
    assert "31.25" not in text


def test_an_error_that_names_a_person_is_not_in_the_file(
    survivors: list[str], tmp_path: Path
) -> None:
    table = pd.read_parquet(survivors[3])
    table["participant_id"] = "person-1"
    cohort, log = tmp_path / "twice.csv", tmp_path / "log"
    table.to_csv(cohort, index=False)
    given = [*survivors[:3], str(cohort), *survivors[4:]]
    done = run("train", *given, "--log-file", log)
    assert "person-1" in done.stderr
    text = log.read_text(encoding="utf-8")
    assert f"ERROR henaw: {cohort}: 1 problem; " in text
    assert "person-" not in text


def test_an_error_that_is_not_about_people_is_in_the_file_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = run(
        *("train", "--config", tmp_path / "no.yaml", "--cohort", __file__),
        *("--out", tmp_path / "model.safetensors", "--log-file", log),
    )
    message = done.stderr.removeprefix("error: ")
    assert log.read_text(encoding="utf-8").endswith(f" ERROR henaw: {message}")


def test_what_follows_the_subcommand_is_stronger(survivors: list[str], tmp_path: Path) -> None:
    done = run(
        *("--log-level", "DEBUG", "train", *survivors),
        *("--work", tmp_path / "work", "--log-level", "ERROR"),
    )
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--log-level", "loud"), "'loud' is not one of 'error', 'warning', 'info', 'debug'"),
        (("--log-format", "xml"), "'xml' is not one of 'text', 'json'"),
        (("--log-file", "absent/log"), "Invalid value for --log-file: the log cannot be written"),
    ],
)
def test_wrong_options_are_refused(
    options: tuple[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("stop", *options)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_fault_of_the_program_is_in_the_file_with_its_trace(tmp_path: Path) -> None:
    @click.command
    def fail() -> None:
        logging.getLogger("henaw.tests").warning("nearly there", extra={"evaluations": 7})
        raise ZeroDivisionError("nothing to divide by")

    log = tmp_path / "log"
    options = ["--log-file", str(log), "--log-format", "json"]
    with pytest.raises(ZeroDivisionError):
        CliRunner().invoke(add_logging_options(fail), options, catch_exceptions=False)
    warning, error = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    assert warning["evaluations"] == 7
    assert error["message"] == "nothing to divide by"
    assert error["exception"].startswith("Traceback")
    # Nothing is left behind for the next command.
    assert not logging.getLogger("henaw").handlers


def test_a_line_is_not_written_into_a_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        open_log("INFO", None, "text"),
        tqdm(total=3, file=sys.stderr, mininterval=0, ascii=True, ncols=40) as bar,
    ):
        bar.update()
        logging.getLogger("henaw.tests").info("between")
        bar.update()
    # What a terminal shows of each line is what follows the last carriage return.
    shown = [line.rpartition("\r")[2] for line in capsys.readouterr().err.split("\n")]
    assert re.fullmatch(rf"{TIME} INFO henaw\.tests: between", shown[0])
    assert "2/3" in shown[1]


def test_a_repeated_warning_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("henaw.tests")
    with say_once("henaw.tests"):
        for age in (85, 84, 85):
            logger.warning("few people at %d", age)
    logger.warning("few people at %d", 85)
    assert [record.message[-2:] for record in caplog.records] == ["85", "84", "85"]
