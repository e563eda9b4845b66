"""Row tasks on real groups: does a head for each group beat the ways around it?

Question
--------
One target over many groups of rows. Is ``MultiTaskNetRegressor(task_column=...)``, with
nothing set, ever worse than ignoring the groups, than a random intercept, than a shrunk
mean residual of each group, or than boosting with the group as a category?

Setting
-------
Pupils in schools (school, hsb82), houses in counties (radon), voice recordings of
patients (parkinsons, its first target). A quarter of the rows of each group is held out
at random, ten times; the score is R2 over all held-out rows. Nobody is tuned by hand:

- pooled: the same estimator without the task column;
- shrunk_residual: pooled, plus the mean residual of each group over its held-out
  predictions, times n / (n + k); k is chosen by leaving out one residual at a time;
- random_intercept: MixedLM of statsmodels by REML, on scaled and one-hot columns;
- catboost, hist_boosting: boosting at its defaults with the group as a category.

Reading
-------
"skmtl less it" is the mean of the paired differences over seeds with its plain standard
error. Splits of one table share rows, so the intervals below it are those of Nadeau and
Bengio (2003), 95 %: row tasks must not lie below any model by more than noise on any
table, and above each of them by more than noise on two of the four.

Scores are kept with ``--out FILE``; a later run computes what the file lacks:

    python bench_row_tasks.py --out results/row_tasks.csv
"""

import warnings
from functools import cache, partial
from importlib.util import find_spec

import numpy as np
import pandas as pd
from _contest import (
    OURS,
    Contest,
    Scores,
    Split,
    parse_arguments,
    report,
    take,
    threads,
)
from _report import print_setting, print_table
from _tables import ROW_TASKS, read_suite_table
from scipy.linalg import qr
from scipy.stats import t as student
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import r2_score

from skmtl import MultiTaskNetRegressor

METRICS = ("r2",)
SHRINKAGES = np.array([0.3, 1, 3, 10, 30, 100, 300, np.inf])
SEEDS = 10
BETTER_ON = 2  # tables, of four


# The contestants.


def row_tasks(split, seed):
    model = MultiTaskNetRegressor(task_column=split.task_column, random_state=seed)
    model.fit(split.X, _labels(split))
    return _by_target(split, model.predict(split.X_test))


def pooled(split, seed):
    model = _fit_pooled(split, seed)
    return _by_target(split, model.predict(_without_task(split, split.X_test)))


def shrunk_residual(split, seed):
    model, y = _fit_pooled(split, seed), _labels(split)
    known = model.validation_prediction_
    predicted = model.predict(_without_task(split, split.X))
    residual = pd.Series(y - np.where(np.isnan(known), predicted, known))
    group = split.X[split.task_column].reset_index(drop=True)
    total = residual.groupby(group).sum()
    size = residual.groupby(group).size()

    def left_out(k):
        others = (total[group].to_numpy() - residual) / (
            np.maximum(size[group].to_numpy() - 1, 0) + k
        )
        return ((residual - others) ** 2).mean()

    k = min(SHRINKAGES, key=left_out)
    shift = (total / (size + k)).reindex(split.X_test[split.task_column]).fillna(0)
    prediction = model.predict(_without_task(split, split.X_test))
    return _by_target(split, prediction + shift.to_numpy())


def random_intercept(split, seed):
    del seed
    if find_spec("statsmodels") is None:
        return None
    import statsmodels.api as sm

    both = pd.concat([split.X, split.X_test]).drop(columns=split.task_column)
    both = pd.get_dummies(both, drop_first=True).to_numpy(float)
    train = both[: len(split.X)]
    spread = train.std(axis=0)
    both = (both - train.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    both = np.column_stack([np.ones(len(both)), both])
    # Without the columns that others determine.
    _, r, order = qr(both[: len(split.X)], mode="economic", pivoting=True)
    size = np.abs(np.diag(r))
    both = both[:, np.sort(order[size > 1e-8 * size[0]])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where the groups hardly differ
        model = sm.MixedLM(
            _labels(split), both[: len(split.X)], groups=split.X[split.task_column]
        ).fit()
    shift = {group: effect.iloc[0] for group, effect in model.random_effects.items()}
    own = split.X_test[split.task_column].map(shift).fillna(0.0).to_numpy()
    return _by_target(split, both[len(split.X) :] @ model.fe_params + own)


def catboost(split, seed):
    if find_spec("catboost") is None:
        return None
    from catboost import CatBoostRegressor

    model = CatBoostRegressor(
        cat_features=_categories(split),
        thread_count=threads(),
        random_seed=seed,
        verbose=False,
        allow_writing_files=False,
    )
    model.fit(split.X, _labels(split))
    return _by_target(split, model.predict(split.X_test))


def hist_boosting(split, seed):
    dtypes = {
        name: pd.CategoricalDtype(sorted(split.X[name].unique()))
        for name in _categories(split)
    }
    model = HistGradientBoostingRegressor(
        categorical_features="from_dtype", random_state=seed
    )
    model.fit(split.X.astype(dtypes), _labels(split))
    return _by_target(split, model.predict(split.X_test.astype(dtypes)))


def _fit_pooled(split, seed):
    key = id(split), seed  # splits are kept, so that no two have one id
    if key not in _POOLED:
        model = MultiTaskNetRegressor(random_state=seed)
        _POOLED[key] = model.fit(_without_task(split, split.X), _labels(split))
    return _POOLED[key]


_POOLED = {}


def _without_task(split, X):
    return X.drop(columns=split.task_column)


def _categories(split):
    return list(split.X.select_dtypes(exclude="number").columns)


def _labels(split):
    return split.y.iloc[:, 0].to_numpy()


def _by_target(split, prediction):
    return {split.y.columns[0]: prediction}


MODELS = {
    OURS: row_tasks,
    "pooled": pooled,
    "shrunk_residual": shrunk_residual,
    "random_intercept": random_intercept,
    "catboost": catboost,
    "hist_boosting": hist_boosting,
}


# The measurement.


def hold_out(groups, seed):
    """Mark a quarter of the rows of each group."""
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(groups), bool)
    for group in np.unique(groups):
        rows = rng.permutation(np.flatnonzero(groups == group))
        held_out[rows[: len(rows) // 4]] = True
    return held_out


def make_split(data, name, seed):
    table = read_suite_table(data, name)
    test = hold_out(table.X["task"].to_numpy(), seed)
    y = pd.DataFrame(table.y[:, :1], columns=[str(table.targets[0])])
    return Split(
        take(table.X, ~test),
        y[~test],
        take(table.X, test),
        y[test],
        dict.fromkeys(y, "number"),
        "task",
    )


def r2(split, task, prediction):
    return (r2_score(split.y_test[task], prediction),)


def interval(difference, coverage=0.95):
    """Mean and half width for splits that share rows; a third of the rest is tested."""
    n = len(difference)
    width = difference.std(ddof=1) * np.sqrt(1 / n + 1 / 3)
    return difference.mean(), width * student.ppf((1 + coverage) / 2, n - 1)


def main():
    arguments = parse_arguments(__doc__.split("\n")[0], list(MODELS), SEEDS, ROW_TASKS)
    print_setting()
    split = cache(partial(make_split, arguments.data))
    contest = Contest(METRICS, MODELS, {}, split, r2)
    scores = Scores(arguments.out, METRICS, arguments.refit, arguments.tables)
    seeds = range(arguments.seeds)
    contest.run(scores, arguments.tables, arguments.models, seeds)

    lines, below, above = [], [], dict.fromkeys(arguments.models, 0)
    for table in arguments.tables:
        by_model = report(scores, table, arguments.models, seeds)
        for model in by_model:
            if model == OURS or OURS not in by_model or len(seeds) < 2:
                continue
            mean, width = interval(by_model[OURS] - by_model[model])
            lines.append([table, model, f"{mean:+.4f}", f"± {width:.4f}"])
            above[model] += mean > width
            if mean < -width:
                below.append(f"{table}: {model} is better by {-mean:.4f}")
    print_table(["table", "model", f"{OURS} less it", "95 %"], lines)
    assert not below, "; ".join(below)
    if arguments.seeds < SEEDS or set(arguments.tables) != set(ROW_TASKS):
        print(f"The bar is for {SEEDS} seeds of all tables; this was a part.")
        return
    rivals = {model: n for model, n in above.items() if model != OURS}
    missed = {model: n for model, n in rivals.items() if n < BETTER_ON}
    assert not missed, f"better on fewer than {BETTER_ON} tables than {missed}"


if __name__ == "__main__":
    main()
