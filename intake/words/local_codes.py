"""A laboratory's own codes of tests, from a small YAML file."""

from __future__ import annotations

from pathlib import Path

import yaml
from henaw.model.biomarkers import INDEX, explain_unknown
from henaw.model.errors import ConfigurationError


def read_local_codes(path: Path) -> dict[str, str]:
    """Read biomarkers by local code or name of a test, from lines such as ``CRPH: crp``.

    Raises:
        ConfigurationError: the file cannot be read, or a name is not a biomarker; every problem is
            listed.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(
            str(path), [f"the file cannot be read as YAML: {error}"]
        ) from error
    if not isinstance(content, dict) or not content:
        raise ConfigurationError(
            str(path), ["the file must have lines such as CRPH: crp; got none"]
        )
    problems = [
        f"{code}: {explain_unknown(str(name))}"
        for code, name in content.items()
        if name not in INDEX
    ]
    if problems:
        raise ConfigurationError(str(path), problems)
    return {str(code): name for code, name in content.items()}
