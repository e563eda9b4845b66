r"""Search for the defaults on development tables, one change at a time.

Question
--------
Which change of a default pays on tables that nobody has chosen it for?

Setting
-------
A few of the tables of ``bench_tabular.py``, at most 1,500 rows of each, and random
splits that are not those of its report. Each candidate is the estimator as it was
before the search, or a better one on the way, with one thing changed; all see the same
splits. The error is that of ``bench_tabular.py``; classes have the log loss beside it.
Candidates that begin with "classes" are for classes alone, and those that begin with
"large" see up to 8,000 rows of a table. The lines are kept in
``results/search_defaults.csv``; candidates that were tried are in there, taken or not.

Reading
-------
The geometric mean of the ratio to ``base`` over the tables; below 0.99 a change is
worth a default. Seeds of the networks alone move a table by about one percent. On
classes a second table judges one minus the area under the curve.

    python search_defaults.py --candidates base "dropout 0.1"
    python search_defaults.py --base "neighbors None" \
        --candidates "neighbors None" "neighbors 16"
    python search_defaults.py --base "large: 200 epochs" --tables bike_sharing \
        --candidates "large: 200 epochs" "large: 50 epochs"
    python search_defaults.py --base "levels 32, 10 rows" --tables ml_emotions \
        ml_yeast mol_tox21 heart_4hospitals student_classes nhanes_classes \
        --candidates "levels 32, 10 rows" "classes: decay 3.0, columns auto"
"""

import argparse
import csv
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from _report import print_setting, print_table
from _tables import DATA, read_suite_table
from bench_tabular import class_scores, number_scores
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit

from skmtl import MultiTaskNetClassifier, MultiTaskNetRegressor
from skmtl.architecture import HardSharing
from skmtl.encoding import Auto, Standard

TABLES = (
    "mtr_enb",
    "mtr_jura",
    "mtr_edm",
    "mtr_wq",
    "mtr_atp1d",
    "mtr_oes97",
    "mtr_rf1",
    "wine_quality",
    "bike_sharing",
    "student",
    "school",
    "ml_emotions",
    "student_classes",
    "ml_yeast",
    "mol_tox21",
    "heart_4hospitals",
    "nhanes_classes",
)
MAX_ROWS, LARGE_ROWS = 1500, 8000
FIRST_SEED = 1000  # of the splits; the report has 0, 1, 2
OUT = Path(__file__).parent / "results" / "search_defaults.csv"
FIELDS = ("table", "candidate", "split", "error", "log_loss", "fit_seconds", "epochs")


def bins(n_bins, max_levels=0):
    return Auto(n_bins=n_bins, max_levels=max_levels)


def dropped(dropout, **settings):
    return {"architecture": HardSharing(dropout=dropout), **settings}


def faster(lr, **settings):
    return {"encoding": bins(8, 32), "lr": lr, **settings}


def now(architecture=(), **settings):
    """One thing changed in the defaults as they were before `relevance`."""

    def build(_, numbers):
        kind = {"lr": 0.004} if numbers else {"weight_decay": 3.0}
        return {
            "architecture": HardSharing(**dict(architecture)),
            "encoding": bins(8, 32),
            "n_neighbors": 16,
            "max_features": "auto",
            **kind,
            **settings,
        }

    return build


def _by_rows(n_rows):
    return int(np.clip(n_rows // 32, 8, 32))


CANDIDATES = {
    "base": {},
    # Encoding.
    "bins 4": {"encoding": bins(4)},
    "bins 16": {"encoding": bins(16)},
    "bins 32": {"encoding": bins(32)},
    "standard": {"encoding": Standard()},
    # In a first form, which did not ask for ten rows a level.
    "levels 32": {"encoding": bins(8, 32)},
    "levels 64": {"encoding": bins(8, 64)},
    "bins 16, levels 32": {"encoding": bins(16, 32)},
    # As it became the default.
    "levels 32, 10 rows": {"encoding": bins(8, 32)},
    # Architecture.
    "dropout 0.1": dropped(0.1),
    "dropout 0.3": dropped(0.3),
    "256 x 256": {"architecture": HardSharing((256, 256))},
    "layer norm": {"architecture": HardSharing(layer_norm=True)},
    "silu": {"architecture": HardSharing(activation="silu")},
    # Training.
    "decay 1": {"weight_decay": 1.0},
    "decay 3": {"weight_decay": 3.0},
    "decay 10": {"weight_decay": 10.0},
    "lr 0.001": {"lr": 0.001},
    "batch 16": {"batch_size": 16},
    "epochs 400, patience 100": {"max_epochs": 400, "n_iter_no_change": 100},
    # Beside "levels 32, 10 rows", which was the default by then.
    "lr 0.004": faster(0.004),
    "lr 0.006": faster(0.006),
    "lr 0.008": faster(0.008),
    "lr 0.004, 100 epochs": faster(0.004, max_epochs=100),
    "lr 0.004, 60 epochs": faster(0.004, max_epochs=60),
    "lr 0.008, 60 epochs": faster(0.008, max_epochs=60),
    "100 epochs": faster(0.002, max_epochs=100),
    # Beside "lr 0.004" for numbers, and decay 3 and "auto" columns for classes.
    **{
        f"neighbors {n}": lambda _, numbers, n=n: {
            "encoding": bins(8, 32),
            "n_neighbors": n,
            **(
                {"lr": 0.004}
                if numbers
                else {"weight_decay": 3, "max_features": "auto"}
            ),
        }
        for n in (None, 4, 8, 16, 32)
    },
    # Beside "neighbors 16", for numbers.
    **{
        f"columns {share}": {
            "encoding": bins(8, 32),
            "lr": 0.004,
            "n_neighbors": 16,
            "max_features": share,
        }
        for share in (0.6, 0.7, 0.85, "auto")
    },
    # Members.
    "16 members": {"n_estimators": 16},
    "16 members, 16 folds": {"n_estimators": 16, "cv": 16},
    # Several at once.
    "bins 16, dropout 0.1": dropped(0.1, encoding=bins(16)),
    "bins 16, dropout 0.2": dropped(0.2, encoding=bins(16)),
    "bins 32, dropout 0.1": dropped(0.1, encoding=bins(32)),
    "bins 32, dropout 0.2": dropped(0.2, encoding=bins(32)),
    "bins 64, dropout 0.2": dropped(0.2, encoding=bins(64)),
    # Of classes: weights that decay, and members that see a share of the columns.
    **{
        f"classes: decay {decay}, columns {share}": {
            "encoding": bins(8, 32),
            "weight_decay": decay,
            "max_features": share,
        }
        for decay in (0.01, 1.0, 2.0, 3.0, 5.0)
        for share in (0.5, 0.7, 1.0, "auto")
    },
    # Beside the defaults as they were then.
    "now": now(),
    "now, 16 members, 16 folds": now(n_estimators=16, cv=16),
    "now, 12 members, 12 folds": now(n_estimators=12, cv=12),
    "now, silu": now({"activation": "silu"}),
    "now, layer norm": now({"layer_norm": True}),
    "now, dropout 0.2": now({"dropout": 0.2}),
    "now, decay 1.0": now(weight_decay=1.0),
    "now, decay 10.0": now(weight_decay=10.0),
    "now, lr 0.001": now(lr=0.001),
    "now, batch 128": now(batch_size=128),
    "now, 64 x 64": now({"hidden_layer_sizes": (64, 64)}),
    "now, 128": now({"hidden_layer_sizes": (128,)}),
    "now, cv 4": now(cv=4),
    # Beside "now", which came before it.
    "now, relevance": now(relevance="auto"),
    # Beside the defaults with relevance, on thousands of rows.
    **{
        f"large: {epochs} epochs": now(
            relevance="auto", max_epochs=epochs, n_iter_no_change=patience
        )
        for epochs, patience in (
            (200, 40),
            (100, 20),
            (50, 10),
            (30, 8),
            (20, 6),
            (12, 5),
        )
    },
    "large: 30 epochs, batch 128": now(
        relevance="auto", max_epochs=30, n_iter_no_change=8, batch_size=128
    ),
    "large: 40 epochs, batch 128": now(
        relevance="auto", max_epochs=40, n_iter_no_change=10, batch_size=128
    ),
    "large: 40 epochs, batch 64": now(
        relevance="auto", max_epochs=40, n_iter_no_change=10, batch_size=64
    ),
    "large: 4 members": now(relevance="auto", n_estimators=4),
    # Bins by the number of rows.
    "rule": lambda n, _: dropped(0.1, encoding=bins(_by_rows(n)), weight_decay=1.0),
    "rule, no dropout": lambda n, _: {
        "encoding": bins(_by_rows(n)),
        "weight_decay": 1.0,
    },
}


def split_rows(table, split, most=MAX_ROWS):
    """Draw rows to train on and to test on; groups stay on one side."""
    splitter = ShuffleSplit if table.groups is None else GroupShuffleSplit
    splits = splitter(1, test_size=0.25, random_state=FIRST_SEED + split)
    train, test = next(splits.split(table.X, table.y, table.groups))
    rng = np.random.default_rng(split)
    return rng.permutation(train)[:most], rng.permutation(test)[:most]


def evaluate(table, candidate, split):
    """Error, log loss, seconds and epochs of one fit."""
    large = candidate.startswith("large")
    train, test = split_rows(table, split, LARGE_ROWS if large else MAX_ROWS)
    numbers = table.kind == "number"
    estimator = MultiTaskNetRegressor if numbers else MultiTaskNetClassifier
    y = table.y[train]
    settings = CANDIDATES[candidate]
    if callable(settings):
        settings = settings(len(train), numbers)
    # What the defaults were before the search.
    before = {"encoding": bins(8), "n_neighbors": None, "random_state": 0}
    before["task_column"] = table.task_column
    before["max_features"] = 1.0
    before["relevance"] = None
    before["max_epochs"], before["n_iter_no_change"] = 200, 40
    if not numbers:
        before["weight_decay"] = 0.01
    settings = before | settings
    if table.task_column is not None:
        settings["n_neighbors"] = None  # is for columns of y
    model, start = estimator(**settings), time.process_time()
    model.fit(table.X.iloc[train], y if y.shape[1] > 1 else y[:, 0])
    seconds = time.process_time() - start
    X = table.X.iloc[test]
    if numbers:
        found = model.predict(X).reshape(len(X), -1).T
    else:
        found, classes = model.predict_proba(X), model.classes_
        found = (
            zip(found, classes, strict=True) if y.shape[1] > 1 else [(found, classes)]
        )
    score = number_scores if numbers else class_scores
    scores = []
    for j, prediction in enumerate(found):
        there = ~np.isnan(table.y[test, j])
        truth = table.y[test, j][there]
        if numbers:
            prediction = prediction[there]
        else:
            prediction = prediction[0][there], prediction[1]
        scores.append(score(truth, prediction, table.y[train, j]))
    return *np.mean(scores, axis=0), seconds, model.n_epochs_


def read(out):
    if not out.exists():
        return pd.DataFrame(columns=list(FIELDS))
    return pd.read_csv(out)


def report(frame, base, tables, areas=False):
    """Print ratios of errors to those of the base, by table."""
    frame = frame[frame["table"].isin(tables)]
    error = frame["error"]
    if areas:
        frame = frame[frame["log_loss"].notna()]
        if frame.empty:
            return
        print("\nOne minus the area under the curve")
    else:
        # Classes are judged by their log loss, which a change moves more surely.
        error = frame["log_loss"].fillna(error)
    errors = frame.assign(error=error).pivot(
        index=["table", "split"], columns="candidate", values="error"
    )
    if base not in errors:
        return
    seconds = frame.groupby("candidate")["fit_seconds"].mean()
    lines = []
    for name in errors:
        ratios = np.log((errors[name] / errors[base]).dropna()).groupby("table").mean()
        lines.append(
            [
                name,
                f"{np.exp(ratios.mean()):.4f}",
                len(ratios),
                f"{seconds[name]:.1f}",
                *(f"{np.exp(ratios[t]):.3f}" if t in ratios else "-" for t in tables),
            ]
        )
    short = [t.removeprefix("mtr_")[:8] for t in tables]
    header = ["candidate", f"/ {base}", "tables", "seconds", *short]
    print_table(header, sorted(lines, key=lambda line: line[1]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--candidates", nargs="*", default=[])
    parser.add_argument("--base", default="base")
    parser.add_argument("--splits", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    print_setting()
    warnings.simplefilter("ignore")
    frame = read(arguments.out)
    done = set(zip(frame["table"], frame["candidate"], frame["split"], strict=True))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    new = not arguments.out.exists()
    with arguments.out.open("a", newline="") as lines:
        writer = csv.writer(lines)
        if new:
            writer.writerow(FIELDS)
        for name in arguments.tables:
            table = read_suite_table(arguments.data, name)
            for candidate in arguments.candidates:
                for split in range(arguments.splits):
                    key = (name, candidate, split)
                    if key in done:
                        continue
                    found = evaluate(table, candidate, split)
                    error, loss, seconds, epochs = found
                    writer.writerow(
                        [*key, f"{error:.5f}", f"{loss:.5f}", f"{seconds:.2f}", epochs]
                    )
                    lines.flush()
    for areas in (False, True):
        report(read(arguments.out), arguments.base, list(arguments.tables), areas)


if __name__ == "__main__":
    main()
