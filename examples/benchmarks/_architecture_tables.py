"""Every architecture on real tables, beside single tasks and one trunk for all.

At most 2,000 rows to learn from and 5,000 to test on, drawn by the seed; all layers of
64 units, two members, 60 epochs at most. Nobody is tuned.

mtr_jura, mtr_wq, nhanes, mol_tox21, beijing_columns
    3, 14, 13, 12 and 6 columns: numbers, numbers, both kinds, two classes, numbers;
    labels are missing in the last three. Stations are a category of beijing_columns.
beijing_rows, school
    One column by groups of rows: the first pollutant at 12 stations, examination
    scores at 139 schools.

guard
    HardSharing with ``guard=True``: networks of single columns in the same bank.
single tasks
    A network for each column, with epochs of its own.
a trunk each
    A trunk for each task in one fit, which choose one best epoch together.
pooled
    Groups of rows that nobody knows of.

Scores are R2 for numbers, the area under the ROC curve for two classes, and D2 of the
log loss for more, averaged over columns. Architectures that keep a network or experts
for every group sit out where groups are more than 50, HeadChain where rows have tasks.
"""

from dataclasses import replace
from functools import cache, partial

import numpy as np
import pandas as pd
from _contest import Contest, Scores, Split, report, take
from _report import print_table
from _tables import read_loader
from bench_weighting_quality import make_split as make_column_split
from bench_weighting_quality import predict, score
from sklearn.base import clone
from sklearn.model_selection import train_test_split

from skmtl import MixedTaskNet
from skmtl.architecture import (
    CGC,
    PLE,
    Attention,
    CrossStitch,
    HardSharing,
    HeadChain,
    MMoE,
    SoftSharing,
    TaskConditioned,
    TaskGroups,
)

COLUMNS = ("mtr_jura", "mtr_wq", "nhanes", "mol_tox21", "beijing_columns")
ROWS = ("beijing_rows", "school")
TABLES = COLUMNS + ROWS
MOST_ROWS = 2000
MOST_TEST_ROWS = 5000
WIDE = (64, 64)
SETTING = {
    "lr": 0.004,
    "max_epochs": 60,
    "n_iter_no_change": 12,
    "n_estimators": 2,
    "n_neighbors": None,  # networks alone are compared
    "device": "cpu",
}
ARCHITECTURES = {
    "HardSharing": HardSharing(WIDE),
    "TaskGroups": TaskGroups(hidden_layer_sizes=WIDE),
    "Attention": Attention(WIDE),
    "SoftSharing": SoftSharing(WIDE),
    "CrossStitch": CrossStitch(WIDE),
    "MMoE": MMoE(4, WIDE),
    "CGC": CGC(2, 1, WIDE),
    "PLE": PLE(2, 2, 1, WIDE[:1]),
    "TaskConditioned": TaskConditioned(WIDE),
    "HeadChain": HeadChain(hidden_layer_sizes=WIDE),
}
# With row tasks each of these keeps a network or experts for every group.
TENS_OF_TASKS = ("SoftSharing", "CrossStitch", "CGC", "PLE")


def fit(split, seed, architecture, **settings):
    """Fit one architecture."""
    kinds = {task: split.kinds[task] for task in split.y}
    model = MixedTaskNet(
        clone(architecture),
        task_types=kinds,
        task_column=split.task_column,
        random_state=seed,
        **SETTING | settings,
    )
    return predict(model.fit(split.X, split.y), split)


def shared(name, split, seed):
    """Fit one of the architectures, where it makes sense."""
    if split.task_column is not None:
        if name == "HeadChain":
            return None
        n_groups = split.X[split.task_column].nunique()
        if name in TENS_OF_TASKS and n_groups > 50:
            return None
    return fit(split, seed, ARCHITECTURES[name])


def trunk_each(split, seed):
    """Fit a trunk for each task, side by side; they stop together."""
    if split.task_column is None:
        names = list(split.y)
    else:
        names = sorted(split.X[split.task_column].unique())
    return fit(split, seed, TaskGroups([[n] for n in names], hidden_layer_sizes=WIDE))


def guarded(split, seed):
    """Fit one trunk, and a network for each column that is better off alone."""
    if split.task_column is not None:
        return None
    return fit(split, seed, ARCHITECTURES["HardSharing"], guard=True)


def single(split, seed):
    """Fit a network to each column by itself, with rows and epochs of its own."""
    if split.task_column is not None:
        return None
    found = {}
    for task in split.y:
        labelled = split.y[task].notna().to_numpy()
        part = replace(
            split,
            X=take(split.X, labelled),
            y=split.y.loc[labelled, [task]],
            y_test=split.y_test[[task]],
        )
        found |= fit(part, seed, HardSharing(WIDE))
    return found


def pooled(split, seed):
    """Fit one network that does not see the groups."""
    if split.task_column is None:
        return None
    part = replace(
        split,
        X=split.X.drop(columns=split.task_column),
        X_test=split.X_test.drop(columns=split.task_column),
        task_column=None,
    )
    return fit(part, seed, HardSharing(WIDE))


MODELS = {name: partial(shared, name) for name in ARCHITECTURES}
MODELS |= {
    "guard": guarded,
    "single tasks": single,
    "a trunk each": trunk_each,
    "pooled": pooled,
}


def make_split(data, table, seed):
    """Draw training and test rows of a table."""
    if table in ("school", "beijing_rows", "beijing_columns"):
        whole = make_grouped_split(data, table, seed)
    else:
        whole = make_column_split(data, table, seed)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(whole.X))[:MOST_ROWS]
    test = rng.permutation(len(whole.X_test))[:MOST_TEST_ROWS]
    return replace(
        whole,
        X=take(whole.X, rows),
        y=whole.y.iloc[rows],
        X_test=take(whole.X_test, test),
        y_test=whole.y_test.iloc[test],
    )


def make_grouped_split(data, table, seed):
    """Draw rows of pupils by school, or of days by station."""
    loaded = read_loader(data).load("school" if table == "school" else "beijing_air")
    X, y = (
        pd.DataFrame(loaded[part].astype(float), columns=map(str, loaded[names]))
        for part, names in (("X", "feature_names"), ("Y", "target_names"))
    )
    X["group"] = loaded["task"]
    if table == "beijing_columns":
        X["group"] = X["group"].astype(str).astype("category")
        task_column = None
    else:
        # One target; of the pollutants the first.
        labelled = y.iloc[:, 0].notna().to_numpy()
        X, y, task_column = X[labelled], y[labelled].iloc[:, :1], "group"
    train, test = train_test_split(np.arange(len(X)), test_size=0.25, random_state=seed)
    kinds = dict.fromkeys(y, "number")
    return Split(
        X.iloc[train], y.iloc[train], X.iloc[test], y.iloc[test], kinds, task_column
    )


def compare(data, tables, n_seeds, out=None):
    """Score all of them; print each table, then all tables beside each other."""
    contest = Contest(("score",), MODELS, {}, cache(partial(make_split, data)), score)
    scores = Scores(out, ("score",))
    seeds, names = range(n_seeds), list(MODELS)
    contest.run(scores, tables, names, seeds)
    found = {t: report(scores, t, names, seeds, "HardSharing") for t in tables}
    print("HardSharing, and what the others have more, in hundredths\n")
    rows = [[n, *(_beside(found[t], n) for t in tables)] for n in names]
    print_table(["", *tables], rows)
    for table in tables:
        means = {name: scores.mean() for name, scores in found[table].items()}
        if table in COLUMNS:
            # All of them learn.
            assert min(means.values()) > means["HardSharing"] - 0.05
        else:
            # Groups of a dozen rows cannot do alone.
            assert means["HardSharing"] > means["a trunk each"]


def _beside(found, name):
    if name not in found:
        return "-"
    if name == "HardSharing":
        return f"{found[name].mean():.3f}"
    more = 100 * (found[name] - found["HardSharing"])
    error = more.std(ddof=min(1, len(more) - 1)) / len(more) ** 0.5
    return f"{more.mean():+.1f} ± {error:.1f}"
