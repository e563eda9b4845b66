"""Measure how far the defaults are from the best peer on small tables.

Question
--------
Somebody has a table with several numeric targets and sets nothing. How far is
``MultiTaskNetRegressor()`` from the model that happens to be best on that table?

Setting
-------
Seven tables from the multi-target regression collection of Spyromitros-Xioufis et al.
(2016), 154 to 1,060 rows, 2 to 16 targets. 5-fold cross-validation (shuffled, seed 0),
the same folds for everybody. The peers are those one would reach for: ridge regression
with a penalty chosen for each target, two forests, gradient boosting, a multi-layer
perceptron and, under 100 columns, CatBoost with its joint loss. Nobody is tuned on the
tables; each peer's settings are written out once, below.

The error is aRRMSE: the RMSE of a target divided by that of predicting the mean of its
training rows, averaged over targets and then over folds. 1 is a constant, 0 is perfect.

Reading
-------
The ratio divides the error of skmtl by that of the best peer of the same table, a peer
chosen after the fact: below 1, skmtl wins the table; a geometric mean near 1 says that
one default stands beside the best of six. Part of the ratio is luck in the choice of
the best, so differences of a few percent on a single table mean little.

Results are kept row by row with ``--out FILE``, and a later run computes only what the
file lacks:

    python bench_tabular.py --out results.csv
    python bench_tabular.py --out results.csv --refit skmtl
"""

import argparse
import csv
import importlib.util
import time
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
from _report import print_setting, print_table
from sklearn.compose import (
    ColumnTransformer,
    TransformedTargetRegressor,
    make_column_selector,
)
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

TABLES = (
    "mtr_edm",
    "mtr_sf1",
    "mtr_jura",
    "mtr_wq",
    "mtr_enb",
    "mtr_atp1d",
    "mtr_oes97",
)
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FIELDS = ("table", "model", "fold", "arrmse", "fit_seconds")
FLOOR = 1.08


# The contestants: each takes the training features and returns an unfitted estimator.


def make_skmtl(X):
    from skmtl import MultiTaskNetRegressor

    return _one_hot(X, MultiTaskNetRegressor(random_state=0))


def make_ridge(X):
    ridge = RidgeCV(np.logspace(-3, 6, 37), alpha_per_target=True)
    return _one_hot(X, StandardScaler(), ridge)


def make_random_forest(X):
    return _one_hot(X, RandomForestRegressor(500, n_jobs=2, random_state=0))


def make_extra_trees(X):
    return _one_hot(X, ExtraTreesRegressor(500, n_jobs=2, random_state=0))


def make_xgboost(X):
    from xgboost import XGBRegressor

    # Several targets in y: one tree per target and round, as if each were fitted alone.
    boosting = XGBRegressor(
        n_estimators=400,
        learning_rate=0.05,
        max_depth=4,
        subsample=0.8,
        colsample_bytree=0.8,
        n_jobs=2,
        random_state=0,
    )
    return _one_hot(X, boosting)


def make_mlp(X):
    perceptron = MLPRegressor(
        hidden_layer_sizes=(128, 128),
        early_stopping=True,
        n_iter_no_change=50,  # small tables: an epoch is a step or two
        max_iter=2000,
        random_state=0,
    )
    network = _one_hot(X, StandardScaler(), perceptron)
    return TransformedTargetRegressor(network, transformer=StandardScaler())


def make_catboost(X):
    if X.shape[1] >= 100:
        return None  # minutes a fit with the joint loss
    from catboost import CatBoostRegressor

    return CatBoostRegressor(
        loss_function="MultiRMSE",
        cat_features=_categories(X),
        thread_count=2,
        random_seed=0,
        verbose=False,
        allow_writing_files=False,
    )


MODELS = {
    "skmtl": make_skmtl,
    "ridge": make_ridge,
    "random_forest": make_random_forest,
    "extra_trees": make_extra_trees,
    "xgboost": make_xgboost,
    "mlp": make_mlp,
    "catboost": make_catboost,
}
PEERS = [name for name in MODELS if name != "skmtl"]


def _categories(X):
    """Names of the columns of strings; arrays have none."""
    if not hasattr(X, "columns"):
        return []
    return make_column_selector(dtype_exclude="number")(X)


def _one_hot(X, *steps):
    categories = _categories(X)
    if not categories:
        return make_pipeline(*steps)
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer(
        [("categories", encoder, categories)], remainder="passthrough"
    )
    return make_pipeline(columns, *steps)


# The measurement.


def arrmse(y, prediction, y_train):
    """Average over targets of RMSE relative to the training mean's."""
    error = np.sqrt(np.mean((y - prediction) ** 2, axis=0))
    constant = np.sqrt(np.mean((y - y_train.mean(axis=0)) ** 2, axis=0))
    return float(np.mean(error / constant))


def read_loader(data):
    """Import the loader that stands beside the tables."""
    spec = importlib.util.spec_from_file_location("tables", data / "load.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    return tables


def read_table(data, name):
    table = read_loader(data).load(name)
    X, y = table["X"], np.asarray(table["Y"], dtype=np.float64)
    return (X if hasattr(X, "columns") else X.astype(np.float64)), y


def evaluate(make, X, y, train, test):
    """Error and fit seconds of one fold, or None where the model sits out."""
    take = X.iloc.__getitem__ if hasattr(X, "columns") else X.__getitem__
    model = make(take(train))
    if model is None:
        return None
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Found unknown categories")
        model.fit(take(train), y[train])
        fit_seconds = time.perf_counter() - start
        prediction = model.predict(take(test))
    return arrmse(y[test], prediction, y[train]), fit_seconds


def run(tables, models, data, results, out):
    """Fill ``results`` with the folds it lacks, writing each one as it comes."""
    for table in tables:
        X, y = read_table(data, table)
        folds = KFold(5, shuffle=True, random_state=0).split(y)
        for fold, (train, test) in enumerate(folds):
            for model in models:
                if (table, model, fold) in results:
                    continue
                result = evaluate(MODELS[model], X, y, train, test)
                if result is None:
                    continue
                results[table, model, fold] = result
                append_result(out, (table, model, fold, *result))
                print(f"# {table} fold {fold} {model}: {result[0]:.4f}", flush=True)


def read_results(out):
    if out is None or not out.exists():
        return {}
    with out.open(newline="") as lines:
        return {
            (row["table"], row["model"], int(row["fold"])): (
                float(row["arrmse"]),
                float(row["fit_seconds"]),
            )
            for row in csv.DictReader(lines)
        }


def write_results(out, results):
    if out is None:
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(FIELDS)
        writer.writerows((*key, *value) for key, value in results.items())


def append_result(out, row):
    if out is not None:
        with out.open("a", newline="") as lines:
            csv.writer(lines).writerow(row)


# The report.


def mean_over_folds(results, tables, models):
    """{table: {model: (aRRMSE, fit seconds)}}, chosen tables and models only."""
    means = defaultdict(dict)
    for table in tables:
        for model in models:
            folds = [results.get((table, model, fold)) for fold in range(5)]
            if None not in folds:
                means[table][model] = tuple(np.mean(folds, axis=0))
    return means


def report(means, models):
    """Print errors and fit times; return the ratio to the best peer, per table."""
    errors, seconds, ratios = [], [], {}
    for table, row in means.items():
        peers = [model for model in row if model in PEERS]
        best = min(peers, key=lambda model: row[model][0], default=None)
        if best and "skmtl" in row:
            ratios[table] = row["skmtl"][0] / row[best][0]
        ratio = f"{ratios[table]:.3f}" if table in ratios else "-"
        cells = [f"{row[m][0]:.4f}" if m in row else "-" for m in models]
        errors.append([table, *cells, best or "-", ratio])
        cells = [f"{row[m][1]:.2f}" if m in row else "-" for m in models]
        seconds.append([table, *cells])

    print("\naRRMSE, mean of 5 folds (1 = the training mean):\n")
    print_table(["table", *models, "best peer", "skmtl / best"], errors)
    print("seconds a fit, mean of 5 folds:\n")
    print_table(["table", *models], seconds)
    return ratios


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the tables")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--out", type=Path, help="CSV that keeps and resumes results")
    parser.add_argument(
        "--refit", nargs="+", choices=MODELS, default=[], help="models to compute again"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="compute every chosen model again"
    )
    arguments = parser.parse_args()
    if not (arguments.data / "load.py").exists():
        parser.error(
            f"no tables in {arguments.data}: name the folder that holds load.py and "
            "the mtr_* files with --data FOLDER"
        )
    return arguments


def main():
    arguments = parse_arguments()
    print_setting()

    again = arguments.models if arguments.fresh else arguments.refit
    results = {
        key: value
        for key, value in read_results(arguments.out).items()
        if not (key[0] in arguments.tables and key[1] in again)
    }
    write_results(arguments.out, results)
    run(arguments.tables, arguments.models, arguments.data, results, arguments.out)

    means = mean_over_folds(results, arguments.tables, arguments.models)
    ratios = report(means, arguments.models)
    if not ratios:
        print("No ratio without skmtl and at least one peer.")
        return
    geometric_mean = float(np.exp(np.mean(np.log(list(ratios.values())))))
    print(f"geometric mean of the ratio to the best peer: {geometric_mean:.4f}")
    if set(ratios) != set(TABLES) or set(arguments.models) != set(MODELS):
        print(f"The bar of {FLOOR} is for all tables and all peers; this was a part.")
        return
    assert geometric_mean <= FLOOR, f"{geometric_mean:.4f} > {FLOOR}"


if __name__ == "__main__":
    main()
