"""The tables of the benchmarks, and how their rows are split."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
MULTI_TARGET = (
    "mtr_edm",
    "mtr_sf1",
    "mtr_jura",
    "mtr_wq",
    "mtr_enb",
    "mtr_atp1d",
    "mtr_oes97",
    "mtr_rf1",
)
NUMBERS = (
    *MULTI_TARGET,
    "wine_quality",
    "bike_sharing",
    "beijing_air",
    "student",
    "nhanes",
)
# The targets of classes of a table whose numbers are above have a name of their own.
CLASSES = (
    "ml_emotions",
    "ml_yeast",
    "mol_tox21",
    "heart_4hospitals",
    "student_classes",
    "nhanes_classes",
)
ROW_TASKS = ("radon", "hsb82", "school", "parkinsons")
TABLES = (*NUMBERS, *CLASSES, *ROW_TASKS)
# Larger tables lend this many rows to a training: the machine of the suite is small.
MAX_ROWS = 8000


@dataclass(frozen=True)
class SuiteTable:
    """A table as a practitioner would hand it over.

    Labels are float, with NaN where one is missing; those of classes are codes.
    """

    X: pd.DataFrame
    y: np.ndarray  # (n_samples, n_targets)
    targets: tuple
    kind: str  # "number" or "class"
    task_column: str | None = None
    groups: np.ndarray | None = None  # rows that stay on one side of a split

    @property
    def categories(self):
        """Names of the columns of strings."""
        return list(self.X.select_dtypes(exclude="number").columns)

    def split(self, seed):
        """Draw a quarter of the rows, or of the groups, for the test."""
        splitter = ShuffleSplit if self.groups is None else GroupShuffleSplit
        splits = splitter(1, test_size=0.25, random_state=seed)
        train, test = next(splits.split(self.X, self.y, self.groups))
        rng = np.random.default_rng(seed)
        # Groups come in order, and the first rows would be the first groups.
        return rng.permutation(train)[:MAX_ROWS], rng.permutation(test)[:MAX_ROWS]


def read_loader(data):
    """Import the loader that stands beside the tables."""
    spec = importlib.util.spec_from_file_location("tables", data / "load.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    return tables


def read_table(data, name):
    """Return inputs and labels as they are stored."""
    table = read_loader(data).load(name)
    X, y = table["X"], np.asarray(table["Y"], dtype=np.float64)
    return (X if hasattr(X, "columns") else X.astype(np.float64)), y


def read_suite_table(data, name):
    """Read a table and decide what its targets, tasks and groups are."""
    table = read_loader(data).load(name.removesuffix("_classes"))
    X, labels = _inputs(table), pd.DataFrame(table["Y"])
    wanted = "class" if name in CLASSES else "number"
    kinds = np.array([_kind(t) for t in table["meta"]["target_types"]])
    y = labels.loc[:, kinds == wanted]
    groups = None
    if table["task"] is not None:
        X["task"] = np.char.add("t", np.asarray(table["task"]).astype(str))
    if name == "parkinsons":
        groups = X["task"].to_numpy()  # patients held out: their visits are a line
    if name.startswith("student"):
        # Pupils are there once a subject; these columns tell them apart.
        pupil = X.loc[:, "school":"internet"].astype(str).agg("|".join, axis=1)
        groups = pd.factorize(pupil)[0]
    targets = tuple(np.array(table["meta"]["targets"])[kinds == wanted])
    task_column = "task" if name in ROW_TASKS and groups is None else None
    y = _codes(y, wanted == "class")
    return SuiteTable(X, y, targets, wanted, task_column, groups)


def _inputs(table):
    X = table["X"]
    if not hasattr(X, "columns"):
        return pd.DataFrame(X.astype(np.float64), columns=table["feature_names"])
    text = X.select_dtypes(exclude="number").columns
    return X.astype(dict.fromkeys(text, object))


def _kind(target_type):
    regression = ("regression", "count", "ordinal/regression")
    return "number" if target_type in regression else "class"


def _codes(labels, of_classes):
    """Number classes from 0, as some peers want them; keep numbers as they are."""
    columns = []
    for name in labels:
        column = labels[name]
        if of_classes or not pd.api.types.is_numeric_dtype(column):
            codes = pd.factorize(column, sort=True)[0].astype(float)
            column = np.where(codes < 0, np.nan, codes)
        columns.append(np.asarray(column, float))
    return np.column_stack(columns)
