"""Check the docstrings of the public API with numpydoc.

The checks are chosen in ``setup.cfg``. Run from anywhere::

    python docs/check_docstrings.py
"""

import configparser
import importlib
import inspect
import sys
from pathlib import Path

import api_reference
from numpydoc.validate import get_validation_checks, validate

SETTINGS = Path(__file__).parents[1] / "setup.cfg"


def main():
    """Print one line a finding; return 1 when there are any."""
    checks, of_choices = read_settings()
    findings = []
    for section in api_reference.SECTIONS:
        choices = section.choices()
        for name in section.names():
            item = getattr(importlib.import_module(section.module), name)
            path = f"{section.module}.{name}"
            if not inspect.isclass(item):
                findings += complaints(path, checks - of_choices)
                continue
            asked = checks if name in choices else checks - of_choices
            if not api_reference.written_here(item, "__init__"):
                asked = asked - {"PR01"}  # arguments of a class that is not ours
            findings += complaints(path, asked)
            for member in members_to_check(item):
                findings += complaints(f"{path}.{member}", checks - of_choices)
    findings = list(dict.fromkeys(findings))  # one method may serve several classes
    print(*findings, f"numpydoc: {len(findings)} findings", sep="\n")
    return int(bool(findings))


def read_settings():
    """Read which checks are asked, and which of them of choices alone."""
    config = configparser.ConfigParser()
    config.read(SETTINGS)
    settings = config["tool:numpydoc_validation"]
    checks = get_validation_checks(set(settings["checks"].split(",")))
    return checks, set(settings["checks_of_choices"].split(","))


def members_to_check(cls):
    """List the public members that do not take over the docstring of a base."""
    members = api_reference.public_members(cls)
    return [
        name
        for name in members
        if inspect.getattr_static(cls, name).__doc__
        or not inspect.getdoc(getattr(cls, name))
    ]


def complaints(path, checks):
    """Validate one docstring, and say where each finding is."""
    report = validate(path)
    where = str(report["file"]).removeprefix(f"{SETTINGS.parent}/")
    name = path.rpartition(".")[2]
    return [
        f"{where}:{report['file_line']}: {name}: {code} {message}"
        for code, message in report["errors"]
        if code in checks
    ]


if __name__ == "__main__":
    sys.exit(main())
