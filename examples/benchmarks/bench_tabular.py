"""Measure how far the defaults are from the best peer on real tables.

Question
--------
Somebody has a table with several targets and sets nothing. How far are
``MultiTaskNetRegressor()`` and ``MultiTaskNetClassifier()`` from the model that happens
to be best on that table?

Setting
-------
The multi-target tables of Spyromitros-Xioufis et al. (2016) and larger ones, with
categories and holes as they come; tables of binary and ordered labels; tables whose
rows are of many groups. A quarter of the rows is held out at random, once a seed; of
patients and pupils all rows are. At most 8,000 rows train. The peers are those one
would reach for, in ``_peers.py``, each at one setting for all tables: nobody is tuned.
On the multi-target tables of the paper three peers are also tuned, in ``_tuned.py``,
for a comparison of their own. A peer that is not installed is skipped.

A peer that needs more than five minutes for a fit is stopped and marked; a tuned one
that needs twice as long, since its search keeps to five minutes itself. Time is the CPU
time of the process over the number of threads. On one thread of an idle machine that is
what a clock shows, and on a busy machine it stays so; with more threads it leaves out
that some of them wait. The seconds of fits in the results are the same.

The error of a number is the RMSE over that of predicting the mean of its training
labels; that of a class is one minus the area under the ROC curve, over the mean of one
against the rest where there are several. Errors are averaged over targets and seeds.

Reading
-------
The ratio divides the error of skmtl by that of the best peer of the same table, a peer
chosen after the fact: below 1, skmtl wins the table; a geometric mean near 1 says that
one default stands beside the best of ten. Part of the ratio is luck in the choice of
the best, so differences of a few percent on a single table mean little. The ratio to
the best tuned peer is read the same way; skmtl has had no search there, either.

``skmtl_networks`` is skmtl with ``n_neighbors=None``. It is compared with skmtl alone,
and is no peer.

A table is judged on the splits that most of its models have; a model that lacks one of
them sits out on that table. The tuned comparison is on the splits that skmtl and the
tuned models of the table have in common.

Results are kept with ``--out FILE``, one line a target, and a later run computes only
what the file lacks:

    python bench_tabular.py --out results.csv
    python bench_tabular.py --out results.csv --refit skmtl --tables mtr_enb mtr_wq
    python bench_tabular.py --out results.csv --retry  # what was stopped or failed
    python bench_tabular.py --quick  # four tables, five models, one split
"""

import argparse
import csv
import importlib
import logging
import multiprocessing
import time
import warnings
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from _peers import PACKAGES, PEERS, lacking, n_threads
from _ranking import Ranking, draw_ranking, report_ranking, report_ratios
from _report import print_setting, print_table
from _tables import (
    CLASSES,
    DATA,
    MULTI_TARGET,
    NUMBERS,
    ROW_TASKS,
    TABLES,
    read_suite_table,
)
from _tuned import TUNED
from sklearn.metrics import log_loss, roc_auc_score

from skmtl import MultiTaskNetClassifier, MultiTaskNetRegressor

OURS = "skmtl"
NETWORKS = "skmtl_networks"
KEY = ("table", "model", "seed", "target")
SCORES = ("error", "log_loss", "fit_seconds", "predict_seconds")
# Candidates are counted for tuned models; a note says why there is no score.
VALUES = (*SCORES, "n_candidates", "note")
LIMIT = 300.0  # seconds a fit, of CPU time over the number of threads
TUNED_LIMIT = 2.0  # of that; a search keeps to the limit itself, but for its last fit
QUICK_TABLES = ("mtr_enb", "mtr_jura", "ml_emotions", "school")
QUICK_MODELS = (OURS, "ridge", "extra_trees", "hist_boosting", "catboost")
FLOOR = 1.0  # of the geometric mean over the tables of numbers
TUNED_FLOOR = 1.03  # over the tables where peers are tuned


def skmtl(table, train, **settings):
    """Fit the default estimator for the labels."""
    numbers = table.kind == "number"
    estimator = MultiTaskNetRegressor if numbers else MultiTaskNetClassifier
    settings = {"task_column": table.task_column, "random_state": 0} | settings
    model = estimator(**settings)
    y = table.y[train]
    model.fit(table.X.iloc[train], y if y.shape[1] > 1 else y[:, 0])
    if numbers:
        return lambda X: list(model.predict(X).reshape(len(X), -1).T)

    def predict(X):
        found, classes = model.predict_proba(X), model.classes_
        pairs = (
            zip(found, classes, strict=True) if y.shape[1] > 1 else [(found, classes)]
        )
        return list(pairs)

    return predict


def skmtl_networks(table, train):
    """Fit its networks, and let no near rows correct them."""
    return skmtl(table, train, n_neighbors=None)


MODELS = {OURS: skmtl, **PEERS, **TUNED, NETWORKS: skmtl_networks}


# The measurement.


def number_scores(truth, prediction, known):
    """RMSE relative to that of the mean of the training labels."""
    constant = np.sqrt(np.mean((truth - np.nanmean(known)) ** 2))
    return np.sqrt(np.mean((truth - prediction) ** 2)) / constant, np.nan


def class_scores(truth, prediction, known):
    """One minus the area under the curve, and the log loss."""
    del known
    found, own = prediction
    every = np.unique(np.concatenate([truth, own]))
    probability = np.zeros((len(truth), len(every)))
    probability[:, np.searchsorted(every, own)] = found
    areas = [
        roc_auc_score(truth == c, probability[:, i])
        for i, c in enumerate(every)
        if len(set(truth == c)) == 2
    ]
    if len(every) == 2:
        areas = areas[1:]
    return 1 - np.mean(areas), log_loss(truth, probability, labels=every)


@cache
def cached_table(data, name):
    return read_suite_table(data, name)


def evaluate(data, name, model, seed):
    """Scores of every target, and seconds to fit and to predict; or None."""
    warnings.simplefilter("ignore")  # unseen categories, networks of peers cut short
    logging.disable()  # pytabkit's trainers talk
    table = cached_table(data, name)
    train, test = table.split(seed)
    if model in PACKAGES:
        importlib.import_module(PACKAGES[model])  # not a part of the fit
    start = time.process_time()
    predict = MODELS[model](table, train)
    if predict is None:
        return None
    fitted = time.process_time()
    predictions = predict(table.X.iloc[test])
    seconds = fitted - start, time.process_time() - fitted
    seconds = [each / n_threads() for each in seconds]
    n_candidates = getattr(predict, "n_candidates", "")
    score = number_scores if table.kind == "number" else class_scores
    lines = []
    for j, target in enumerate(table.targets):
        truth = table.y[test, j]
        there = ~np.isnan(truth)
        prediction = predictions[j]
        if table.kind == "number":
            prediction = prediction[there]
        else:
            prediction = prediction[0][there], prediction[1]
        scores = score(truth[there], prediction, table.y[train, j])
        lines.append((str(target), *scores, *seconds, n_candidates, ""))
    return lines


def nothing(note):
    """Say why there are no scores."""
    return [("", *[np.nan] * len(SCORES), "", note)]


def serve(connection):
    """Measure whatever the other end of the connection asks for."""
    connection.send("ready")  # what comes before is imports
    while True:
        arguments = connection.recv()
        try:
            found = evaluate(*arguments) or nothing("no such model")
        except Exception as error:  # whatever a peer raises is its result
            found = nothing(f"{type(error).__name__}: {error}"[:200])
        connection.send(found)


class Worker:
    """A process that measures, and that can be stopped.

    The limit is one of CPU time, which other work on the machine does not use up.
    """

    def __init__(self):
        self.process = None

    def evaluate(self, limit, *arguments):
        """Measure, or give a line that says why there is nothing."""
        if self.process is None:
            self._start()
        self.connection.send(arguments)
        start = self._seconds()
        while not self.connection.poll(0.2):
            if self._seconds() - start > limit:
                self.close()
                return nothing(f"more than {limit:g} s")
        try:
            return self.connection.recv()
        except EOFError:
            self.process.join()
            note = f"the process ended with code {self.process.exitcode}"
            self.close()
            return nothing(note)

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other,), daemon=True)
        self.process.start()
        other.close()  # so that a process that ends is heard of
        self.connection.recv()

    def _seconds(self):
        try:
            used = psutil.Process(self.process.pid).cpu_times()
        except psutil.NoSuchProcess:
            return 0.0  # it has just ended, which the next look will find
        return (used.user + used.system) / n_threads()

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.connection.close()
        self.process = None


class Results:
    """Lines by table, model, seed and target, in a file from which a run goes on."""

    def __init__(self, out, again=(), tables=(), retry=False):
        self.out, self.lines = out, defaultdict(list)
        if out is not None and out.exists():
            with out.open(newline="") as lines:
                for line in csv.DictReader(lines, restval=""):
                    refit = line["model"] in again or (retry and line["note"])
                    if not (refit and line["table"] in tables):
                        self._keep(line)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            with out.open("w", newline="") as lines:
                writer = csv.DictWriter(lines, [*KEY, *VALUES])
                writer.writeheader()
                for each in self.lines.values():
                    writer.writerows(each)

    def _keep(self, line):
        self.lines[line["table"], line["model"], int(line["seed"])].append(line)

    def add(self, key, found):
        new = [
            dict(zip((*KEY, *VALUES), map(_rounded, (*key, *line)), strict=True))
            for line in found
        ]
        for line in new:
            self._keep(line)
        if self.out is not None:
            with self.out.open("a", newline="") as lines:
                csv.DictWriter(lines, [*KEY, *VALUES]).writerows(new)

    def stopped(self, table, model):
        """Tell whether an earlier seed took too long or failed."""
        return any(
            lines[0]["note"]
            for (of_table, of_model, _), lines in self.lines.items()
            if (of_table, of_model) == (table, model)
        )

    def frame(self, seeds):
        """Give the lines with scores as a frame."""
        lines = [line for each in self.lines.values() for line in each]
        frame = pd.DataFrame(lines, columns=[*KEY, *VALUES])
        numbers = ["seed", *SCORES]
        frame[numbers] = frame[numbers].astype(float)
        return frame[(frame["note"] == "") & frame["seed"].isin(seeds)]


def _rounded(value):
    return f"{value:.6g}" if isinstance(value, float) else value


def run(arguments, models, results):
    """Fill the results with what they lack, writing every fit as it comes."""
    worker = Worker()
    for seed in range(arguments.seeds):
        for table in arguments.tables:
            for model in models:
                key = (table, model, seed)
                if key in results.lines or results.stopped(table, model):
                    continue
                if model in TUNED and table not in MULTI_TARGET:
                    continue
                if model == NETWORKS and table in ROW_TASKS:
                    continue  # as they are
                limit = np.inf if model in (OURS, NETWORKS) else arguments.limit
                if model in TUNED:
                    limit *= TUNED_LIMIT
                found = worker.evaluate(limit, arguments.data, *key)
                results.add(key, found)
                error = np.mean([line[1] for line in found])
                seconds, note = found[0][3], found[0][-1]
                print(f"# {table} seed {seed} {model}: {error:.4f}, ", end="")
                print(f"{seconds:.1f} s {note}", flush=True)
    worker.close()


# The report.


def report(title, frame, tables, metric, picture=None):
    """Rank the models on some tables; return the ranking, or None."""
    others = frame["model"].isin([*TUNED, NETWORKS])
    frame = frame[frame["table"].isin(tables) & ~others]
    frame = _of_most_splits(frame)
    if not _comparable(frame):
        return None
    print(f"\n{title}\n")
    ranking = Ranking(_mean(frame, ["table"], metric), OURS)
    targets = _mean(frame, ["table", "target"], metric)
    report_ranking(ranking, targets, _mean(frame, ["table"], "fit_seconds"))
    if picture is not None:
        draw_ranking(ranking, picture)
    return ranking


def report_tuned(frame):
    """Compare with the tuned models; return the ranking, or None."""
    frame = frame[frame["table"].isin(MULTI_TARGET)]
    frame = frame[frame["model"].isin([OURS, *TUNED])]
    n_models = frame.groupby("table")["model"].transform("nunique")
    here = frame.groupby(["table", "seed"])["model"].transform("nunique")
    frame = frame[here == n_models]
    if not _comparable(frame):
        return None
    print("\nTuned peers: RMSE over that of the mean\n")
    n_splits = frame.groupby("table", sort=False)["seed"].nunique()
    print(f"splits: {', '.join(f'{t} {n}' for t, n in n_splits.items())}")
    ranking = Ranking(_mean(frame, ["table"], "error"), OURS)
    report_ratios(ranking, _mean(frame, ["table"], "fit_seconds"), "best tuned peer")
    return ranking


def report_neighbors(frame):
    """Print what near rows change, on the splits that both have."""
    frame = frame[frame["model"].isin([OURS, NETWORKS])]
    both = frame.groupby(["table", "seed"])["model"].transform("nunique") == 2
    frame = frame[both]
    if not len(frame):
        return
    means = frame.groupby(["table", "model"])[list(SCORES)].mean().unstack("model")
    n_splits = frame.groupby("table")["seed"].nunique()
    print("\nCorrected by near rows: ratios to the networks alone\n")
    ratios = {name: means[name][OURS] / means[name][NETWORKS] for name in SCORES}
    lines = [
        [t, n_splits[t], *(f"{ratios[name][t]:.3f}" for name in SCORES)]
        for t in means.index
    ]
    print_table(["table", "splits", *SCORES], lines)
    for name in SCORES[:2]:
        logs = np.log(ratios[name].dropna())
        print(f"{name}: geometric mean {np.exp(logs.mean()):.3f}, {len(logs)} tables")


def _of_most_splits(frame):
    """Keep the splits that most models of a table have, and the models that have all.

    Errors of different splits do not compare. Who sits out is printed: it may have been
    the best.
    """
    n_models = frame.groupby("table")["model"].transform("nunique")
    of_split = frame.groupby(["table", "seed"])["model"].transform("nunique")
    frame = frame[2 * of_split > n_models]
    n_splits = frame.groupby("table")["seed"].transform("nunique")
    of_model = frame.groupby(["table", "model"])["seed"].transform("nunique")
    lacking = frame[of_model < n_splits].drop_duplicates(["table", "model"])
    if len(lacking):
        names = lacking["table"] + " " + lacking["model"]
        print(f"\nWithout a split of the others: {', '.join(names)}")
    return frame[of_model == n_splits]


def _comparable(frame):
    models = set(frame["model"])
    return OURS in models and len(models) > 1


def _mean(frame, index, value):
    # Of seeds first: a target that a small test set lacks counts where it is there.
    found = frame.groupby(["table", "target", "model"], sort=False)[value].mean()
    found = found.groupby([*index, "model"], sort=False).mean().unstack("model")
    return found.reindex(columns=[m for m in MODELS if m in found])


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the tables")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=3, help="number of splits")
    parser.add_argument("--out", type=Path, help="CSV that keeps and resumes results")
    parser.add_argument(
        "--refit", nargs="+", choices=MODELS, default=[], help="models to compute again"
    )
    parser.add_argument(
        "--retry", action="store_true", help="compute again what was stopped or failed"
    )
    parser.add_argument(
        "--limit", type=float, default=LIMIT, help="seconds of CPU time a fit"
    )
    parser.add_argument("--picture", type=Path, help="picture of ranks on numbers")
    parser.add_argument("--report", action="store_true", help="compute nothing more")
    parser.add_argument(
        "--quick", action="store_true", help="four tables, five models, one split"
    )
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.tables, arguments.models = QUICK_TABLES, QUICK_MODELS
        arguments.seeds = 1
    if not arguments.report and not (arguments.data / "load.py").exists():
        parser.error(
            f"no tables in {arguments.data}: name the folder that holds load.py and "
            "the tables with --data FOLDER"
        )
    return arguments


def main():
    arguments = parse_arguments()
    print_setting()
    models = []
    for model in arguments.models:
        package = lacking(model)
        if package:
            print(f"Skipped: {model}. To have it, pip install {package}")
        else:
            models.append(model)
    results = Results(arguments.out, arguments.refit, arguments.tables, arguments.retry)
    if not arguments.report:
        run(arguments, models, results)

    frame = results.frame(range(arguments.seeds))
    frame = frame[frame["table"].isin(arguments.tables)]
    numbers = report(
        "Numbers: RMSE over that of the mean",
        frame,
        NUMBERS,
        "error",
        arguments.picture,
    )
    report("Classes: one minus the area under the curve", frame, CLASSES, "error")
    report("Classes: log loss", frame, CLASSES, "log_loss")
    report("Row tasks: RMSE over that of the mean", frame, ROW_TASKS, "error")
    tuned = report_tuned(frame)
    report_neighbors(frame)
    missed = [
        *check(numbers, NUMBERS, FLOOR, "the best peer"),
        *check(tuned, MULTI_TARGET, TUNED_FLOOR, "the best tuned peer"),
    ]
    assert not missed, "; ".join(missed)


def check(ranking, tables, floor, rival):
    """Return what the geometric mean misses, if all tables are there."""
    if ranking is None or set(ranking.ratios().index) != set(tables):
        print(f"The bar of {floor} to {rival} is for all its tables; this was a part.")
        return []
    mean = ranking.geometric_mean()[0]
    return [f"{mean:.4f} > {floor} to {rival}"] if mean > floor else []


if __name__ == "__main__":
    main()
