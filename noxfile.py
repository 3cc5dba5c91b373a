"""Tests on other Pythons: ``nox -s tests-3.13 -- tests/model``. A missing Python is skipped."""

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False


@nox.session(python=["3.10", "3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Install what the tests need, in the versions of constraints.txt, and run them."""
    session.install("--constraint", "constraints.txt", ".[dev]")
    session.run("pytest", *session.posargs)


@nox.session(python=["3.10", "3.11", "3.12", "3.13"])
def smallest(session: nox.Session) -> None:
    """Check that the base installation, without torch, answers."""
    session.install("--constraint", "constraints.txt", ".")
    session.run("henaw", "--version")
    program = "import henaw; print(henaw.predict({'age': 54, 'sex': 'female', 'albumin': 45}))"
    # Outside the clone: its folders are not the installed packages.
    session.chdir(session.create_tmp())
    session.run("python", "-c", program)
