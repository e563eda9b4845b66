"""Models beside each other: a split a seed, a score a task, kept for a later run."""

import argparse
import csv
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from _report import print_table
from _tables import DATA

OURS = "skmtl"


@dataclass(frozen=True)
class Split:
    """Training and test rows; labels are frames, one column a task, NaN if missing."""

    X: object
    y: pd.DataFrame
    X_test: object
    y_test: pd.DataFrame
    kinds: dict  # task name -> "number" or "class"
    task_column: str | None = None


class Probabilities(NamedTuple):
    """What is predicted for a task of classes."""

    values: np.ndarray  # (n_samples, n_classes)
    classes: np.ndarray


@dataclass(frozen=True)
class Contest:
    """Who takes part, and how a prediction is scored.

    A joint model is called once, ``model(split, seed)``, and returns predictions by
    task; a single model once a task, ``model(X, labels, X_test, kind, seed)`` with the
    labelled rows of the task. A prediction is an array of numbers or `Probabilities`.
    A model that returns None sits out. ``score(split, task, prediction)`` returns a
    tuple, one number for each of `metrics`.
    """

    metrics: tuple
    joint: dict
    single: dict
    make_split: object  # called with the name of a table and a seed
    score: object

    @property
    def models(self):
        return [*self.joint, *self.single]

    def run(self, scores, tables, models, seeds):
        """Fill `scores` with what it lacks, writing every score as it comes."""
        for table in tables:
            for seed in seeds:
                split = self.make_split(table, seed)
                for model in models:
                    lacking = [
                        task
                        for task in split.y
                        if (table, task, model, seed) not in scores.rows
                    ]
                    results = self._results(model, split, lacking, seed)
                    for task, result in results:
                        scores.add((table, task, model, seed), result)
                    if lacking and scores.table(table, model, [seed]):
                        mean = scores.by_seed(table, model, 0, [seed]).mean()
                        print(f"# {table} seed {seed} {model}: {mean:.4f}", flush=True)

    def _results(self, model, split, tasks, seed):
        """Yield (task, scores and seconds) as they come."""
        if not tasks:
            return
        if model in self.joint:
            start = time.perf_counter()
            predictions = self.joint[model](split, seed)
            seconds = time.perf_counter() - start
            for task in tasks if predictions is not None else ():
                result = self.score(split, task, predictions[task])
                yield task, (*result, seconds / len(split.y.columns))
            return
        for task in tasks:
            labelled = split.y[task].notna().to_numpy()
            start = time.perf_counter()
            prediction = self.single[model](
                take(split.X, labelled),
                split.y[task].to_numpy()[labelled],
                split.X_test,
                split.kinds[task],
                seed,
            )
            seconds = time.perf_counter() - start
            yield task, (*self.score(split, task, prediction), seconds)


class Scores:
    """Scores by table, task, model and seed, in a CSV from which a later run goes on.

    Models named by `again` are forgotten in the given tables, to be computed anew.
    The seconds of a joint fit are shared out among its tasks, so that they add up.
    """

    KEY = ("table", "task", "model", "seed")

    def __init__(self, out, metrics, again=(), tables=()):
        self.out, self.metrics = out, metrics
        self.rows = {}
        if out is not None and out.exists():
            with out.open(newline="") as lines:
                self.rows = {
                    (row["table"], row["task"], row["model"], int(row["seed"])): tuple(
                        float(row[name]) for name in (*metrics, "seconds")
                    )
                    for row in csv.DictReader(lines)
                    if not (row["model"] in again and row["table"] in tables)
                }
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            with out.open("w", newline="") as lines:
                writer = csv.writer(lines)
                writer.writerow((*self.KEY, *metrics, "seconds"))
                writer.writerows((*key, *row) for key, row in self.rows.items())

    def add(self, key, row):
        self.rows[key] = tuple(float(value) for value in row)
        if self.out is not None:
            with self.out.open("a", newline="") as lines:
                csv.writer(lines).writerow((*key, *self.rows[key]))

    def table(self, table, model, seeds):
        """Return {seed: {task: row}} of the seeds that are there."""
        found = defaultdict(dict)
        for (of_table, task, of_model, seed), row in self.rows.items():
            if (of_table, of_model) == (table, model) and seed in seeds:
                found[seed][task] = row
        return found

    def by_seed(self, table, model, metric, seeds):
        """Average a metric over tasks, for every seed; NaN where a seed is lacking.

        Tasks without the metric (an AUC of numbers) do not count.
        """
        found = self.table(table, model, seeds)
        means = []
        for seed in seeds:
            values = [row[metric] for row in found[seed].values()]
            kept = [value for value in values if not np.isnan(value)]
            means.append(np.mean(kept) if kept else np.nan)
        return np.array(means)

    def by_task(self, table, model, metric, seeds):
        """Average a metric over seeds, {task: mean}."""
        values = defaultdict(list)
        for tasks in self.table(table, model, seeds).values():
            for task, row in tasks.items():
                values[task].append(row[metric])
        return {task: np.mean(each) for task, each in values.items()}

    def seconds(self, table, model, seeds):
        """Sum the seconds over tasks, averaged over seeds."""
        found = self.table(table, model, seeds)
        return np.mean(
            [sum(row[-1] for row in each.values()) for each in found.values()]
        )


def report(scores, table, models, seeds, ours=OURS):
    """Print means and paired differences; return {model: means by seed} of metric 0."""
    by_model = {m: scores.by_seed(table, m, 0, seeds) for m in models}
    by_model = {m: v for m, v in by_model.items() if not np.isnan(v).any()}
    lines = []
    for model, values in by_model.items():
        line = [model, f"{values.mean():.4f}", *_difference(by_model, model, ours)]
        for metric in range(1, len(scores.metrics)):
            others = scores.by_seed(table, model, metric, seeds)
            line.append("-" if np.isnan(others).any() else f"{others.mean():.4f}")
        lines.append([*line, f"{scores.seconds(table, model, seeds):.1f}"])
    first, *more = scores.metrics
    print(f"\n{table}: mean over tasks, then over {len(seeds)} seeds")
    header = ["model", first, f"{ours} less it", "seeds below, above"]
    print_table([*header, *more, "seconds"], lines)
    return by_model


def report_tasks(scores, table, models, seeds, metric=0):
    """Print the metric of every task, mean of the seeds."""
    columns = {m: scores.by_task(table, m, metric, seeds) for m in models}
    columns = {m: column for m, column in columns.items() if column}
    tasks = next(iter(columns.values()), {})
    print(f"{table}: {scores.metrics[metric]} of every task")
    lines = [
        [task, *(f"{column.get(task, np.nan):.4f}" for column in columns.values())]
        for task in tasks
    ]
    print_table(["task", *columns], lines)


def _difference(by_model, model, ours):
    """Mean paired difference with its standard error over seeds, and who is where."""
    if ours not in by_model or model == ours:
        return "", ""
    difference = by_model[ours] - by_model[model]
    error = difference.std(ddof=min(1, len(difference) - 1)) / len(difference) ** 0.5
    below, above = (difference < 0).sum(), (difference > 0).sum()
    return f"{difference.mean():+.4f} ± {error:.4f}", f"{below}, {above}"


def take(X, rows):
    """Take rows of a frame or an array, by position or by mask."""
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def threads():
    """As many for the peers as torch has."""
    return torch.get_num_threads()


def parse_arguments(description, contest_models, seeds, tables, add=None):
    """Read the arguments that the benchmarks have in common.

    ``add(parser)`` may add some that they have not.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the tables")
    parser.add_argument("--tables", nargs="+", choices=tables, default=list(tables))
    parser.add_argument(
        "--models", nargs="+", choices=contest_models, default=list(contest_models)
    )
    parser.add_argument("--seeds", type=int, default=seeds, help="number of splits")
    parser.add_argument("--out", type=Path, help="CSV that keeps and resumes scores")
    parser.add_argument(
        "--refit",
        nargs="+",
        choices=contest_models,
        default=[],
        help="models to compute again",
    )
    if add is not None:
        add(parser)
    arguments = parser.parse_args()
    if not (arguments.data / "load.py").exists():
        print(
            f"Skipped: no tables in {arguments.data}. Name the folder that holds "
            "load.py and the tables with --data FOLDER."
        )
        sys.exit()
    return arguments
