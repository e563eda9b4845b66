"""Compare all weightings with equal weights, tuned weights and single tasks.

Question
--------
Does it pay to weigh tasks or to balance their gradients? Papers compare methods at one
learning rate, under which a method that happens to change the size of the step looks
better or worse than it is.

Setting
-------
A quarter of the rows is held out, with five splits. Each method is fitted at two
learning rates, and the one with the lower validation loss, all tasks counting alike,
is kept; both have the same networks (2 x 64, two members, 40 epochs at most) and the
same seed.

outliers
    A generator: six related tasks, two that have nothing to do with them; every other
    task has noise of three standard deviations, so that losses end 100-fold apart.
scales
    The same, and the losses of half of the tasks are multiplied by 100, as where losses
    of different units are added. (Targets themselves are standardised inside.)
mtr_wq, mol_tox21, nhanes
    14 targets of numbers, 12 of two classes with labels missing, 13 of both kinds with
    labels missing; at most 4,000 rows to learn from.

tuned weights
    ``Equal`` with ``task_weights``, the best of 6 draws of :class:`TaskWeights` and of
    equal weights by the same validation loss, at both learning rates.
single tasks
    A network a task, with the same choice of the learning rate.

Scores are R2 for numbers, the area under the ROC curve for two classes, and D2 of the
log loss for more, averaged over tasks.

Reading
-------
The tables of `_contest` show the mean score, what Equal has more, with the standard
error over splits, and seconds. The last table ranks the methods: their differences to
Equal in units of 0.01, and the mean rank. Asserts: no method loses more than 0.03 to
Equal on real tables (all learn), and some method gains on ``scales``, where equal
weights are wrong by construction.
"""

from functools import cache, partial

import numpy as np
import pandas as pd
from _contest import (
    Contest,
    Probabilities,
    Scores,
    Split,
    parse_arguments,
    report,
    take,
)
from _report import print_setting, print_table
from _tables import read_loader
from bench_mixed import d2_and_auc
from bench_mixed import make_split as make_mixed_split
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import train_test_split

from skmtl import MixedTaskNet
from skmtl.architecture import HardSharing
from skmtl.datasets import make_multitask_regression
from skmtl.loss import SquaredError
from skmtl.model_selection import TaskWeights
from skmtl.weighting import (
    DBMTL,
    DWA,
    FAMO,
    MGDA,
    AlignedMTL,
    CAGrad,
    Equal,
    ExcessRisk,
    FairGrad,
    GeometricMean,
    GradDrop,
    GradNorm,
    GradVac,
    HeadRates,
    ImpartialGrad,
    MoCo,
    NashMTL,
    PCGrad,
    RandomWeighting,
    SmoothTchebycheff,
    Uncertainty,
    UPGrad,
)

TABLES = ("outliers", "scales", "mtr_wq", "mol_tox21", "nhanes")
RATES = (0.001, 0.004)
MOST_ROWS = 4000
SETTING = {
    "architecture": HardSharing((64, 64)),
    "max_epochs": 40,
    "n_iter_no_change": 10,
    "n_estimators": 2,
    "n_neighbors": None,  # networks alone are compared
    "device": "cpu",
}
METHODS = [
    Uncertainty(),
    DWA(),
    RandomWeighting(),
    GeometricMean(),
    SmoothTchebycheff(),
    FAMO(),
    HeadRates(),
    GradNorm(),
    MGDA(),
    PCGrad(),
    GradVac(),
    GradDrop(),
    CAGrad(),
    ImpartialGrad(),
    NashMTL(),
    AlignedMTL(),
    FairGrad(alpha=2.0),
    UPGrad(),
    DBMTL(),
    MoCo(),
    ExcessRisk(),
]


class Multiplied(SquaredError):
    """Squared error in another unit."""

    def __init__(self, factor=100.0):
        self.factor = factor

    def cells(self, outputs, targets):
        return self.factor * super().cells(outputs, targets)


# The contestants.


def fit(split, seed, lr, **params):
    """Fit one setting; return the model and its validation loss, tasks alike."""
    kinds = {task: split.kinds[task] for task in split.y}
    if getattr(split, "losses", None):
        params["loss"] = {t: split.losses[t] for t in split.y if t in split.losses}
    model = MixedTaskNet(
        task_types=kinds, lr=lr, random_state=seed, **SETTING, **params
    ).fit(split.X, split.y)
    losses = np.array(model.history_[:, "valid_losses"])
    # Losses of a table with units of its own are compared without them.
    units = [getattr(params.get("loss", {}).get(t), "factor", 1.0) for t in split.y]
    mean = np.nanmean(losses / units, axis=-1)
    return model, np.nanmean(mean.min(axis=0))


def predict(model, split):
    numbers = model.predict(split.X_test)
    some = "class" in [split.kinds[task] for task in split.y]
    classes = model.predict_proba(split.X_test) if some else None
    return {
        task: Probabilities(classes[task], model.classes_[task])
        if split.kinds[task] == "class"
        else numbers[task].to_numpy()
        for task in split.y
    }


def best_of(split, seed, settings):
    """Fit all settings at all rates, and predict by the best."""
    fits = [fit(split, seed, lr, **s) for s in settings for lr in RATES]
    return predict(min(fits, key=lambda pair: pair[1])[0], split)


def weighted(weighting, split, seed):
    return best_of(split, seed, [{"weighting": weighting}])


def tuned(split, seed):
    n_tasks = split.y.shape[1]
    draws = TaskWeights(n_tasks).rvs(6, random_state=seed)
    settings = [{"task_weights": w} for w in [np.ones(n_tasks), *draws]]
    return best_of(split, seed, settings)


def alone(split, seed):
    predictions = {}
    for task in split.y:
        labelled = split.y[task].notna().to_numpy()
        part = Split(
            take(split.X, labelled),
            split.y.loc[labelled, [task]],
            split.X_test,
            split.y_test[[task]],
            split.kinds,
        )
        predictions |= best_of(part, seed, [{}])
    return predictions


JOINT = {"Equal": partial(weighted, Equal())}
JOINT |= {type(m).__name__: partial(weighted, m) for m in METHODS}
JOINT |= {"tuned weights": tuned, "single tasks": alone}


# The measurement.


class Scaled(Split):
    """A split whose tasks have losses of their own."""

    losses = None


def make_split(data, table, seed):
    if table in ("outliers", "scales"):
        return make_drawn_split(table, seed)
    if table == "nhanes":
        split = make_mixed_split(data, table, seed)
        rows = np.random.default_rng(seed).permutation(len(split.X))[:MOST_ROWS]
        return Split(
            split.X.iloc[rows],
            split.y.iloc[rows],
            split.X_test,
            split.y_test,
            split.kinds,
        )
    loaded = read_loader(data).load(table)
    X = np.asarray(loaded["X"], float)
    y = pd.DataFrame(np.asarray(loaded["Y"], float))
    y.columns = [str(name) for name in loaded["target_names"]]
    kind = "class" if table == "mol_tox21" else "number"
    return cut(X, y, dict.fromkeys(y, kind), seed)


def cut(X, y, kinds, seed, make=Split):
    train, test = train_test_split(np.arange(len(X)), test_size=0.25, random_state=seed)
    train = train[:MOST_ROWS]
    return make(X[train], y.iloc[train], X[test], y.iloc[test], kinds)


def make_drawn_split(table, seed):
    X, y = make_multitask_regression(
        2000,
        8,
        n_tasks=8,
        relatedness=0.9,
        n_outlier_tasks=2,
        scale_ratio=100.0,
        nonlinear=True,
        noise=0.1,
        random_state=seed,
    )
    rng = np.random.default_rng(seed)
    y[:, 1::2] += 3 * y[:, 1::2].std(0) * rng.normal(size=y[:, 1::2].shape)
    y = pd.DataFrame(y).rename(columns=str)
    split = cut(X, y, dict.fromkeys(y, "number"), seed, Scaled)
    if table == "scales":
        losses = {
            t: Multiplied() if i % 4 > 1 else SquaredError() for i, t in enumerate(y)
        }
        object.__setattr__(split, "losses", losses)
    return split


def score(split, task, prediction):
    if split.kinds[task] == "number":
        truth = split.y_test[task].to_numpy()
        known = ~np.isnan(truth)
        return (r2_score(truth[known], prediction[known]),)
    if len(prediction.classes) == 2:
        truth = split.y_test[task]
        known = truth.notna().to_numpy()
        positive = truth[known] == prediction.classes[1]
        return (roc_auc_score(positive, prediction.values[known, 1]),)
    return d2_and_auc(split, task, prediction)[:1]


def main():
    models = list(JOINT)
    arguments = parse_arguments(__doc__.split("\n")[0], models, 5, TABLES)
    print_setting()
    split = cache(partial(make_split, arguments.data))
    contest = Contest(("score",), JOINT, {}, split, score)
    scores = Scores(arguments.out, ("score",), arguments.refit, arguments.tables)
    seeds = range(arguments.seeds)
    contest.run(scores, arguments.tables, arguments.models, seeds)

    found = {
        table: report(scores, table, arguments.models, seeds, "Equal")
        for table in arguments.tables
    }
    complete = [m for m in models if all(m in by_model for by_model in found.values())]
    if complete != models:
        print("The ranking is of all methods on all tables; this was a part.")
        return
    gains = {
        m: [
            100 * (by_model[m] - by_model["Equal"]).mean()
            for by_model in found.values()
        ]
        for m in models
    }
    ranks = np.mean(
        [
            np.argsort(np.argsort([-b[m].mean() for m in models])) + 1
            for b in found.values()
        ],
        axis=0,
    )
    order = np.argsort(ranks)
    print_table(
        ["less Equal, in 0.01", *found, "mean rank"],
        [
            [models[i], *(f"{g:+.2f}" for g in gains[models[i]]), f"{ranks[i]:.1f}"]
            for i in order
        ],
    )
    real = [i for i, table in enumerate(found) if table not in ("outliers", "scales")]
    joint = [m for m in models if m != "single tasks"]
    lost = {m: min(gains[m][i] for i in real) for m in joint}
    worst = min(lost, key=lost.get)
    assert lost[worst] > -3.0, f"{worst} loses {-lost[worst]:.2f} to Equal"
    if "scales" in found:
        i = list(found).index("scales")
        assert max(gains[m][i] for m in joint) > 0, "nothing heals scales"


if __name__ == "__main__":
    main()
