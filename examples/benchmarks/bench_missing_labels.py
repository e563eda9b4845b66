"""Remove most of the training labels: does sharing make up for them?

Question
--------
Every target of a table was measured for some rows only, and hardly a row has them all.
Does one ``MultiTaskNetRegressor`` that skips the empty cells beat the ways around them:
a model a target on the rows that have it, filling in the mean, dropping rows with
holes?

Setting
-------
Water quality (mtr_wq, 1,060 rows, 14 targets). A quarter of the rows is the test set,
with all its labels; of the training cells, 60 % (20 % in a second table) are emptied at
random. Five seeds, each its own split and its own holes. With 60 % no row is complete,
so dropping runs on the second table only. Nobody is tuned; peers are at their defaults,
forests with 500 trees.

The score is the RMSE of a target over that of predicting the mean of its known training
labels, averaged over targets: 1 is a constant, lower is better.

Reading
-------
"skmtl less it" is the paired difference over seeds with its standard error: negative
where skmtl is better. "filled" models are fitted on labels filled with the mean of the
known ones, "dropped" ones on the complete rows.

Scores are kept with ``--out FILE``; a later run computes what the file lacks.
"""

from functools import cache, partial

import numpy as np
import pandas as pd
from _contest import (
    OURS,
    Contest,
    Scores,
    Split,
    parse_arguments,
    report,
    report_tasks,
    threads,
)
from _report import print_setting
from _tables import read_table
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

REMOVED = {"wq 60 % removed": 0.6, "wq 20 % removed": 0.2}
METRICS = ("rmse_ratio",)


# The contestants.


def net(seed):
    from skmtl import MultiTaskNetRegressor

    return MultiTaskNetRegressor(random_state=seed)


def extra_trees(seed):
    return ExtraTreesRegressor(500, n_jobs=threads(), random_state=seed)


def ridge(seed):
    penalties = np.logspace(-3, 6, 37)
    return make_pipeline(StandardScaler(), RidgeCV(penalties, alpha_per_target=True))


def joint(make, split, seed):
    """Fit all targets at once, holes and all."""
    model = make(seed).fit(split.X, split.y.to_numpy())
    return _by_task(split, model.predict(split.X_test))


def filled(make, split, seed):
    model = make(seed).fit(split.X, split.y.fillna(split.y.mean()).to_numpy())
    return _by_task(split, model.predict(split.X_test))


def dropped(make, split, seed):
    complete = split.y.notna().all(axis=1).to_numpy()
    if not complete.any():
        return None
    model = make(seed).fit(split.X[complete], split.y.to_numpy()[complete])
    return _by_task(split, model.predict(split.X_test))


def single(make, X, labels, X_test, kind, seed):
    return make(seed).fit(X, labels).predict(X_test)


def catboost(split, seed):
    from catboost import CatBoostRegressor

    model = CatBoostRegressor(
        loss_function="MultiRMSEWithMissingValues",
        # Without it, an empty first cell is taken for a constant target.
        allow_const_label=True,
        thread_count=threads(),
        random_seed=seed,
        verbose=False,
        allow_writing_files=False,
    )
    model.fit(split.X, split.y.to_numpy())
    return _by_task(split, model.predict(split.X_test))


def _by_task(split, prediction):
    return dict(zip(split.y, prediction.T, strict=True))


JOINT = {
    OURS: partial(joint, net),
    "catboost": catboost,
    "filled_net": partial(filled, net),
    "filled_extra_trees": partial(filled, extra_trees),
    "filled_ridge": partial(filled, ridge),
    "dropped_net": partial(dropped, net),
    "dropped_extra_trees": partial(dropped, extra_trees),
}
SINGLE = {
    "extra_trees": partial(single, extra_trees),
    "single_nets": partial(single, net),
}
DROPPED = [name for name in JOINT if name.startswith("dropped")]


# The measurement.


def make_split(data, table, seed):
    """Hold out a quarter of the rows, then empty cells of the others."""
    X, y = read_table(data, "mtr_wq")
    train, test = train_test_split(np.arange(len(X)), test_size=0.25, random_state=seed)
    holes = np.random.default_rng(seed).random((len(train), y.shape[1]))
    y = pd.DataFrame(y, columns=[f"target {j}" for j in range(y.shape[1])])
    y_train = y.iloc[train].mask(holes < REMOVED[table])
    some = y_train.notna().any(axis=1).to_numpy()  # CatBoost asks for a label a row
    kinds = dict.fromkeys(y, "number")
    return Split(X[train[some]], y_train[some], X[test], y.iloc[test], kinds)


def rmse_ratio(split, task, prediction):
    truth = split.y_test[task].to_numpy()
    error = np.mean((truth - prediction) ** 2)
    constant = np.mean((truth - split.y[task].mean()) ** 2)
    return (np.sqrt(error / constant),)


def main():
    models = [*JOINT, *SINGLE]
    arguments = parse_arguments(__doc__.split("\n")[0], models, 5, REMOVED)
    print_setting()
    split = cache(partial(make_split, arguments.data))
    contest = Contest(METRICS, JOINT, SINGLE, split, rmse_ratio)
    scores = Scores(arguments.out, METRICS, arguments.refit, arguments.tables)
    seeds = range(arguments.seeds)
    contest.run(scores, arguments.tables, arguments.models, seeds)

    missed = []
    for table in arguments.tables:
        by_model = report(scores, table, arguments.models, seeds)
        report_tasks(scores, table, arguments.models, seeds)
        # Beside dropping, the second table is there to be looked at.
        rivals = DROPPED if REMOVED[table] < 0.5 else [m for m in by_model if m != OURS]
        for rival in rivals:
            if OURS in by_model and rival in by_model:
                difference = by_model[OURS].mean() - by_model[rival].mean()
                if difference >= 0:
                    missed.append(f"{table}: {rival} is better by {difference:.4f}")
    assert not missed, "; ".join(missed)


if __name__ == "__main__":
    main()
