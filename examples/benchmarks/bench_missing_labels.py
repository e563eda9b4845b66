"""Remove most of the training labels: does sharing make up for them?

Question
--------
Every target of a table was measured for some rows only, and hardly a row has them all.
Does one ``MultiTaskNetRegressor`` that skips the empty cells lose less than the ways
around them: CatBoost's loss for missing values, a model a target on the rows that have
it, filling in labels, dropping rows with holes?

Setting
-------
Five tables of two to fourteen numeric targets, all measured. A quarter of the rows is
the test set, with all its labels; of the cells of at most 1,500 training rows, 0, 20,
40, 60 and 80 % are emptied at random. A cell that is empty with 20 % is empty with 40 %
as well. Three seeds, each its own split and its own holes. Rows without any label are
left out, as CatBoost asks for one. Nobody is tuned; peers are at their defaults,
forests with 500 trees.

"filled" models are fitted on labels filled with the mean of the known ones, "imputed"
ones on labels filled by scikit-learn's ``IterativeImputer`` from inputs and the other
labels, "dropped" ones on the complete rows where there are at least fifty.
"extra_trees" and "single_nets" are a model a target.

The score is the RMSE of a target over that of predicting the mean of its known training
labels, averaged over targets: 1 is a constant, lower is better.

Reading
-------
The last tables compare the error with labels removed to that with all of them, for each
model by itself. The difference is a part of the error of a constant, the same unit on
all tables. The ratio, 1.1 for a model that lost a tenth, favours models that are poor
to begin with and have less to lose: on mtr_enb, whose targets have no noise, the best
models have errors of a twentieth, and any loss is a multiple of that. The bar is on the
difference, mean over tables and shares of removed labels: skmtl is to lose less than
CatBoost and than each way of filling in. Who loses less by the ratio is printed.

Scores are kept with ``--out FILE``; a later run computes what the file lacks:

    python bench_missing_labels.py --out scores.csv --tables mtr_wq --removed 60
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
    threads,
)
from _report import print_setting, print_table
from _tables import read_suite_table
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

TABLES = ("mtr_edm", "mtr_jura", "mtr_enb", "mtr_wq", "student")
REMOVED = (0, 20, 40, 60, 80)  # percent of the training labels
MAX_ROWS = 1500
MIN_COMPLETE = 50  # rows without holes, for a model that drops the others
METRICS = ("rmse_ratio",)


# The contestants.


def net(seed):
    from skmtl import MultiTaskNetRegressor

    return MultiTaskNetRegressor(random_state=seed)


def numbers():
    """Scale numbers and make numbers of categories."""
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    categories = make_column_selector(dtype_exclude="number")
    return make_column_transformer((encoder, categories), remainder=StandardScaler())


def extra_trees(seed):
    forest = ExtraTreesRegressor(500, n_jobs=threads(), random_state=seed)
    return make_pipeline(numbers(), forest)


def ridge(seed):
    penalties = np.logspace(-3, 6, 37)
    return make_pipeline(numbers(), RidgeCV(penalties, alpha_per_target=True))


def joint(make, split, seed):
    """Fit all targets at once, holes and all."""
    model = make(seed).fit(split.X, split.y.to_numpy())
    return _by_task(split, model.predict(split.X_test))


def filled(make, split, seed):
    model = make(seed).fit(split.X, split.y.fillna(split.y.mean()).to_numpy())
    return _by_task(split, model.predict(split.X_test))


def imputed(make, split, seed):
    cells = np.column_stack([numbers().fit_transform(split.X), split.y])
    full = IterativeImputer(random_state=seed).fit_transform(cells)
    model = make(seed).fit(split.X, full[:, -len(split.y.columns) :])
    return _by_task(split, model.predict(split.X_test))


def dropped(make, split, seed):
    complete = split.y.notna().all(axis=1).to_numpy()
    if complete.sum() < MIN_COMPLETE:
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
        cat_features=list(split.X.select_dtypes(exclude="number").columns),
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
    "imputed_extra_trees": partial(imputed, extra_trees),
    "dropped_net": partial(dropped, net),
    "dropped_extra_trees": partial(dropped, extra_trees),
}
SINGLE = {
    "extra_trees": partial(single, extra_trees),
    "single_nets": partial(single, net),
}
# Those that skmtl has to lose less than.
RIVALS = [name for name in JOINT if name != OURS and not name.startswith("dropped")]


# The measurement.


@cache
def cached_table(data, name):
    return read_suite_table(data, name)


def name_of(table, percent):
    return f"{table} {percent} % removed"


def make_split(data, name, seed):
    """Hold out a quarter of the rows, then empty cells of the others."""
    name, percent = name.removesuffix(" % removed").rsplit(" ", 1)
    table = cached_table(data, name)
    train, test = table.split(seed)
    train = train[:MAX_ROWS]
    y = pd.DataFrame(table.y, columns=list(map(str, table.targets)))
    holes = np.random.default_rng(seed).random((len(train), y.shape[1]))
    y_train = y.iloc[train].mask(holes < int(percent) / 100)
    some = y_train.notna().any(axis=1).to_numpy()
    kinds = dict.fromkeys(y, "number")
    X = table.X
    return Split(X.iloc[train[some]], y_train[some], X.iloc[test], y.iloc[test], kinds)


def rmse_ratio(split, task, prediction):
    truth = split.y_test[task].to_numpy()
    error = np.mean((truth - prediction) ** 2)
    constant = np.mean((truth - split.y[task].mean()) ** 2)
    return (np.sqrt(error / constant),)


# The report.


def report_losses(errors, percents):
    """Print what models lose; return their mean differences and ratios.

    Parameters
    ----------
    errors : dict
        ``{(table, percent): {model: error}}``, the models that have one.
    percents : list of int
        Those to be compared with 0.

    Returns
    -------
    difference, ratio : Series of shape (n_models,)
        Mean of the error less that with all labels, and geometric mean of the error
        over it. NaN for a model that lacks one: a mean over fewer does not compare.
    """
    errors = pd.DataFrame(errors).T
    complete = errors.xs(0, level=1).reindex(errors.index.get_level_values(0))
    complete.index = errors.index
    removed = errors.index.get_level_values(1).isin(percents)
    differences = (errors - complete)[removed]
    logs = np.log(errors / complete)[removed]
    print("\nError less the error with all labels, and means")
    _print_means(differences, np.asarray)
    print("Error over the error with all labels, and geometric means")
    _print_means(logs, np.exp)
    return differences.mean(skipna=False), np.exp(logs.mean(skipna=False))


def _print_means(values, show):
    lines = [[table, f"{percent} %", *row] for (table, percent), *row in _rows(values)]
    means = values.groupby(level=1).agg(lambda column: column.mean(skipna=False))
    lines += [["mean", f"{percent} %", *row] for percent, *row in _rows(means)]
    lines.append(["mean", "all", *values.mean(skipna=False)])
    lines = [[*line[:2], *(f"{show(v):.3f}" for v in line[2:])] for line in lines]
    print_table(["table", "removed", *values], lines)


def _rows(frame):
    return frame.itertuples(name=None)


def add_removed(parser):
    parser.add_argument(
        "--removed",
        type=int,
        nargs="+",
        choices=REMOVED,
        default=list(REMOVED),
        help="percent of the training labels; 0 is always there",
    )


def main():
    models = [*JOINT, *SINGLE]
    arguments = parse_arguments(
        __doc__.split("\n")[0], models, 3, TABLES, add=add_removed
    )
    print_setting()
    percents = sorted({0, *arguments.removed})
    names = {(t, p): name_of(t, p) for t in arguments.tables for p in percents}
    split = cache(partial(make_split, arguments.data))
    contest = Contest(METRICS, JOINT, SINGLE, split, rmse_ratio)
    scores = Scores(arguments.out, METRICS, arguments.refit, names.values())
    seeds = range(arguments.seeds)
    contest.run(scores, names.values(), arguments.models, seeds)

    errors = {}
    for key, name in names.items():
        by_model = report(scores, name, arguments.models, seeds)
        errors[key] = {model: values.mean() for model, values in by_model.items()}
    if len(percents) == 1 or OURS not in arguments.models:
        return
    difference, ratio = report_losses(errors, percents[1:])
    print(f"Lose less than {OURS} by the ratio: {', '.join(better(ratio)) or 'none'}")
    missed = better(difference)
    assert not missed, f"{', '.join(missed)} lose less than {OURS}"


def better(losses):
    """List the rivals that lose less than we do."""
    return [m for m in RIVALS if m in losses and losses[m] <= losses[OURS]]


if __name__ == "__main__":
    main()
