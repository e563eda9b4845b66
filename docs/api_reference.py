"""The API reference: which modules are public, and what each is for.

``write`` turns this page and every ``__all__`` into reStructuredText when the
documentation is built, and refuses when a public module has no entry here.
"""

import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from pathlib import Path

from sklearn.base import BaseEstimator

PACKAGE = "skmtl"


@dataclass(frozen=True)
class Section:
    """One public module, in the order in which the reference shows it."""

    title: str
    sentence: str
    module: str
    has_bases: bool = True  # whether names that are no estimators are to derive from
    home: str = ""  # where the pages of its names are, if not here

    def names(self):
        """List what the module offers, modules and dunder names apart."""
        module = importlib.import_module(self.module)
        return [
            name
            for name in module.__all__
            if not name.startswith("__") and not inspect.ismodule(getattr(module, name))
        ]

    def choices(self):
        """List what a user makes or calls; base classes and their kin are left out."""
        module = importlib.import_module(self.module)
        public = [getattr(module, name) for name in self.names()]
        if not self.has_bases:
            return self.names()
        return [
            name
            for name, item in zip(self.names(), public, strict=True)
            if not inspect.isclass(item) or _is_choice(item, public)
        ]


SECTIONS = [
    Section(
        "Estimators",
        "Fit, predict, score and adapt; everything else is an argument of these.",
        "skmtl",
    ),
    Section(
        "Meta-learning",
        "Estimators that are trained to learn new tasks from a few rows; "
        "``skmtl.meta`` has them, too.",
        "skmtl.meta",
        home=PACKAGE,
    ),
    Section(
        "Encodings",
        "Choices for ``encoding=``: from the columns of a table to the inputs of a "
        "network.",
        "skmtl.encoding",
    ),
    Section(
        "Architectures",
        "Choices for ``architecture=``: which parameters the tasks share.",
        "skmtl.architecture",
    ),
    Section(
        "Losses",
        "Choices for ``loss=``: what one cell of the labels costs.",
        "skmtl.loss",
    ),
    Section(
        "Weightings",
        "Choices for ``weighting=``: how much each task's gradient counts.",
        "skmtl.weighting",
    ),
    Section(
        "Metrics",
        "Scores of several tasks, in functions and as ``scoring=``; missing labels are "
        "skipped.",
        "skmtl.metrics",
    ),
    Section(
        "Model selection",
        "Splits, held-out predictions and searches where labels may be missing and "
        "rows have tasks.",
        "skmtl.model_selection",
        has_bases=False,
    ),
    Section(
        "Data sets",
        "Data with known answers, for experiments and tests.",
        "skmtl.datasets",
        has_bases=False,
    ),
]


def public_members(cls):
    """List the public methods and properties of a class that this package wrote.

    Methods that come from scikit-learn or torch as they are do not count: their
    documentation is theirs.
    """
    return [
        name
        for name in dir(cls)
        if not name.startswith("_") and written_here(cls, name)
    ]


def written_here(cls, name):
    """Tell whether this package wrote a method or property of a class."""
    member = inspect.getattr_static(cls, name)
    if isinstance(member, property):
        member = member.fget
    elif hasattr(member, "func"):  # functools.cached_property
        member = member.func
    else:
        member = getattr(cls, name, None)
        if not inspect.isroutine(member):
            return False
    module = getattr(inspect.unwrap(member), "__module__", None) or ""
    return module.split(".")[0] == PACKAGE


def check():
    """Raise where a public module or name is missing from the reference."""
    listed = {section.module for section in SECTIONS}
    missing = sorted(_public_modules() - listed)
    if missing:
        raise LookupError(f"Add a Section to docs/api_reference.py for {missing}.")
    for section in SECTIONS:
        module = importlib.import_module(section.module)
        absent = [name for name in module.__all__ if not hasattr(module, name)]
        if absent:
            raise LookupError(f"{section.module}.__all__ names {absent}, not defined.")


def write(docs):
    """Write ``api.rst`` and one page for each public name into a docs folder."""
    check()
    pages = Path(docs) / "api"
    pages.mkdir(exist_ok=True)
    written = {Path(docs) / "api.rst": _overview()}
    for section in _homes():
        for name in section.names():
            written[pages / f"{section.module}.{name}.rst"] = _page(section, name)
    for stale in set(pages.glob("*.rst")) - set(written):
        stale.unlink()
    for path, text in written.items():
        # An untouched file lets sphinx reuse what it has read.
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _public_modules():
    root = importlib.import_module(PACKAGE)
    children = pkgutil.iter_modules(root.__path__, f"{PACKAGE}.")
    return {PACKAGE} | {
        child.name
        for child in children
        if not child.name.rpartition(".")[2].startswith("_")
    }


def _homes():
    return [section for section in SECTIONS if not section.home]


def _is_choice(cls, public):
    derived = [c for c in public if inspect.isclass(c) and issubclass(c, cls)]
    return issubclass(cls, BaseEstimator) and derived == [cls]


def _overview():
    parts = [
        _title("API reference"),
        "Every public name of the package, by the module it is imported from.\n",
    ]
    guests = {(s.home, name) for s in SECTIONS for name in s.names()}
    for section in SECTIONS:
        choices = section.choices()
        others = [name for name in section.names() if name not in choices]
        choices = [name for name in choices if (section.module, name) not in guests]
        parts += [
            _title(section.title, "-"),
            f"{section.sentence}\n",
            f".. currentmodule:: {section.home or section.module}\n",
            _table(choices),
        ]
        if others:
            parts += ["To write one's own:\n", _table(others)]
    pages = [
        f"   api/{section.module}.{name}"
        for section in _homes()
        for name in section.names()
    ]
    parts.append("\n".join([".. toctree::", "   :hidden:", "", *pages, ""]))
    return "\n".join(parts)


def _page(section, name):
    item = getattr(importlib.import_module(section.module), name)
    lines = [_title(name), f".. currentmodule:: {section.module}", ""]
    if inspect.isclass(item):
        lines.append(f".. autoclass:: {name}")
        if members := public_members(item):
            lines.append(f"   :members: {', '.join(members)}")
    elif callable(item):
        lines.append(f".. autofunction:: {name}")
    else:
        lines.append(f".. autodata:: {name}")
    return "\n".join([*lines, ""])


def _table(names):
    rows = [f"   {name}" for name in names]
    return "\n".join([".. autosummary::", "   :nosignatures:", "", *rows, ""])


def _title(text, line="="):
    return f"{text}\n{line * len(text)}\n"
