"""The documents: their code runs, their commands and files exist, their links lead somewhere."""

import pydoc
import re
import shlex
import subprocess
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any, NamedTuple

import click
import pytest
from click.testing import CliRunner
from henaw.cli.main import commands

REPOSITORY = Path(__file__).resolve().parents[2]
_NOT_RUN = re.compile(r"<!-- not run: (.*?) -->\s*$")
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A block of code in a document.

    Attributes:
        language: after the three backticks.
        text: without indentation of a list around it.
        line: of the document, at which it begins.
        not_run: why the tests do not run it, from a comment before the block.
    """

    language: str
    text: str
    line: int
    not_run: str | None


def list_files() -> list[str]:
    """Return the paths of the repository's files."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("needs a clone, where git lists the files", allow_module_level=True)
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.splitlines() if (REPOSITORY / name).exists()]


FILES = list_files()
DOCUMENTS = [name for name in FILES if name.endswith(".md") and name != "CHANGELOG.md"]


def read_document(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def list_blocks(name: str, *languages: str) -> list[Block]:
    """Return the blocks of a document that are in one of the languages."""
    text = read_document(name)
    blocks = []
    for match in _BLOCK.finditer(text):
        indent, language, code = match.groups()
        before = text[: match.start()]
        reason = _NOT_RUN.search(before)
        lines = [line.removeprefix(indent) for line in code.splitlines()]
        if language in languages:
            line = before.count("\n") + 1
            blocks.append(Block(language, "\n".join(lines), line, reason and reason[1]))
    return blocks


# Tables of the examples lack columns.
pytestmark = pytest.mark.filterwarnings("ignore::henaw.intake.preflight.InputWarning")
PYTHON = [name for name in DOCUMENTS if list_blocks(name, "python")]
SHELL = [name for name in DOCUMENTS if list_blocks(name, "sh")]
PROGRAM = re.compile(r"^(?:python|node) ([\w./-]+\.(?:py|mjs))")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the shipped model where `make export` writes it, to work in."""
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "exported").symlink_to(REPOSITORY / "model" / "weights")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", PYTHON)
def test_python_runs_from_the_first_block_to_the_last(name: str, folder: Path) -> None:
    names: dict[str, Any] = {}
    for block in list_blocks(name, "python"):
        if block.not_run is None:
            code = compile("\n" * block.line + block.text, name, "exec")
            exec(code, names)


def test_the_examples_of_embedding_answer(folder: Path) -> None:
    names: dict[str, Any] = {}
    for block in list_blocks("docs/embedding.md", "python"):
        if block.not_run is None:
            exec(block.text, names)
    assert names["answers"]["biological_age"].between(40, 80).all()
    assert (folder / "waterfall.png").stat().st_size > 10_000


def list_commands(name: str) -> list[str]:
    """Return the lines of a document's shell blocks, continued lines joined."""
    lines = []
    for block in list_blocks(name, "sh"):
        lines += re.sub(r"\\\n\s*", "", block.text).splitlines()
    # Commands in sentences too.
    lines += re.findall(r"`((?:henaw|make) [^`]+)`", (REPOSITORY / name).read_text())
    return [line.strip() for line in lines]


def check_options(words: list[str]) -> None:
    """Parse a command as click does, without running it or looking at its files."""
    command: click.Command = commands
    context = click.Context(command, info_name="henaw")
    while isinstance(command, click.Group):
        parser = command.make_parser(context)
        _, rest, _ = parser.parse_args(list(words))
        if not rest:
            return
        found = command.get_command(context, rest[0])
        assert found is not None, f"henaw has no subcommand {rest[0]}"
        command, words = found, rest[1:]
        context = click.Context(command, parent=context, info_name=rest[0])
    command.make_parser(context).parse_args(list(words))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_of_henaw_have_these_options(name: str) -> None:
    for line in list_commands(name):
        if not line.startswith("henaw ") or "..." in line:
            continue
        words = shlex.split(line, comments=True)
        try:
            check_options(words[1:])
        except click.NoSuchOption as error:
            pytest.fail(f"{name}: {line}: {error.format_message()}")
        except click.BadOptionUsage:
            pass  # A sentence may name an option without its value.


@pytest.mark.parametrize("name", DOCUMENTS)
def test_targets_of_make_exist(name: str) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w.-]+):", makefile, re.MULTILINE)) | {".venv/.dev"}
    for line in list_commands(name):
        if line.startswith("make "):
            words = shlex.split(line, comments=True)[1:]
            named = {word for word in words if "=" not in word and word != "&&"}
            end = words.index("&&") if "&&" in words else len(words)
            named &= set(words[:end])
            assert named <= targets, f"{name}: {line}"


@pytest.mark.parametrize("name", SHELL)
def test_programs_that_are_run_exist(name: str) -> None:
    for line in list_commands(name):
        for program in PROGRAM.findall(line):
            assert (REPOSITORY / program).exists() or "/" not in program, f"{name}: {line}"


def test_files_are_scored_as_the_readme_says(folder: Path) -> None:
    people = "age,sex,crp,albumin\n54,female,1.2,45\n71,male,3.1,39\n"
    (folder / "people.csv").write_text(people)
    lines = [line for line in list_commands("README.md") if line.startswith("henaw score people")]
    assert len(lines) == 2
    for line in lines:
        result = CliRunner().invoke(commands, shlex.split(line)[1:])
        assert result.exit_code == 0, result.output
    assert len((folder / "answers.csv").read_text().splitlines()) == 3


LINK = re.compile(r"(?<!\\)\]\(([^)\s]+)\)")
FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
FOLDERS = {str(parent) for name in FILES for parent in PurePosixPath(name).parents}


def make_anchor(heading: str) -> str:
    """Return a heading's anchor, as GitHub and MyST make it."""
    text = re.sub(r"[`*]|\]\([^)]*\)", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def list_anchors(name: str) -> set[str]:
    text = FENCE.sub("", read_document(name))
    return {make_anchor(h) for h in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    text = FENCE.sub("", read_document(name))
    for link in LINK.findall(text):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = normpath(PurePosixPath(name).parent / path) if path else name
        assert target in FILES or target in FOLDERS, f"{name}: {link}"
        if anchor:
            assert anchor in list_anchors(target), f"{name}: {link}"


def test_the_site_has_every_document() -> None:
    index = read_document("docs/index.md")
    listed = {line.strip() for line in index.splitlines()}
    for name in DOCUMENTS:
        page = name.removeprefix("docs/").removesuffix(".md")
        if name.startswith("docs/") and not page.startswith(("decisions/0", "index")):
            assert page in listed, f"docs/index.md does not list {page}"


FILE = re.compile(r"`([\w./-]+\.(?:py|js|mjs|yaml|yml|json|md|toml|cff|txt|sh|conf|service))`")
FOLDER = re.compile(r"`([\w./-]+)/`")
TEST = re.compile(r"`(test_\w+)`")
AUTODOC = re.compile(r"^\.\. auto\w+:: ([\w.]+)$", re.MULTILINE)


def is_in_the_repository(path: str) -> bool:
    """By its whole path, or by the end of it: a module that moves keeps its name."""
    return any(f"/{file}".endswith(f"/{path}") for file in FILES)


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_each_file_that_a_guide_names_exists(name: str) -> None:
    named = set(FILE.findall(read_document(name)))
    assert len(named) > 10
    missing = sorted(path for path in named if not is_in_the_repository(path))
    assert not missing, f"{name} names files that do not exist: {missing}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_path_and_test_that_is_named_exists(name: str) -> None:
    text = read_document(name)
    tops = {file.partition("/")[0] for file in FILES if "/" in file}
    named = {path for path in FILE.findall(text) if path.partition("/")[0] in tops}
    missing = sorted(path for path in named if path not in FILES)
    missing += [
        folder
        for folder in FOLDER.findall(text)
        if folder.partition("/")[0] in tops and folder not in FOLDERS
    ]
    tests = {
        test
        for file in FILES
        if PurePosixPath(file).name.startswith("test_") and file.endswith(".py")
        for test in re.findall(r"def (test_\w+)", read_document(file))
    }
    missing += sorted(set(TEST.findall(text)) - tests)
    assert not missing, f"{name} names what does not exist: {missing}"


@pytest.mark.parametrize(
    "name", [name for name in DOCUMENTS if AUTODOC.search(read_document(name))]
)
def test_what_the_reference_describes_exists(name: str) -> None:
    described = AUTODOC.findall(read_document(name))
    missing = [path for path in described if pydoc.locate(path) is None]
    assert not missing, f"{name} describes what does not exist: {missing}"


def test_the_table_of_folders_has_every_folder() -> None:
    text = read_document("README.md")
    table = text[text.index("## What is where") :]
    listed = re.findall(r"^\| `(\w+)/` \|", table, re.MULTILINE)
    folders = {PurePosixPath(file).parts[0] for file in FILES if "/" in file}
    assert set(listed) == {folder for folder in folders if not folder.startswith(".")}
    assert len(listed) == len(set(listed))
