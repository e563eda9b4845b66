"""A fused search is the search of scikit-learn: the same scores, the same best."""

import copy
import pickle
import threading
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib import parallel_config
from scipy.stats import loguniform
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    PredefinedSplit,
    RandomizedSearchCV,
    cross_val_score,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch.callbacks import EpochTimer

import skmtl
from skmtl import MixedTaskNet
from skmtl.architecture import CGC, HardSharing, HeadChain, SoftSharing, TaskGroups
from skmtl.encoding import PiecewiseLinear, Standard
from skmtl.loss import CrossEntropy, Focal, Huber, SquaredError
from skmtl.model_selection import (
    FusedGridSearchCV,
    FusedRandomizedSearchCV,
    TaskKFold,
    TaskWeights,
)
from skmtl.model_selection._fused import _fits
from skmtl.weighting import DWA, FAMO, PCGrad, Uncertainty

from .instances import (
    STRATEGIES,
    classification_data,
    exact,
    meta,
    missing,
    regression_data,
    row_task_data,
    small,
)

GRID = {"lr": [0.003, 0.02], "task_weights": [None, [1.0, 2.0, 0.5]]}
WEIGHTINGS = [row for row in STRATEGIES["weighting"] if row.needs is not None]


def precise(kind="regressor", **changes):
    """Make a cheap estimator that trains as the defaults do, in double precision."""
    return small(
        kind,
        **{
            "architecture": HardSharing((8,)),
            "encoding": Standard(),
            "max_epochs": 8,
            "dtype": "float64",
        }
        | changes,
    )


def epochs(model):
    """Best epochs of the estimator inside a fitted one."""
    while not hasattr(model, "n_iter_"):
        inner = model.steps[-1][1] if isinstance(model, Pipeline) else None
        model = model.regressor_ if inner is None else inner
    return np.mean(model.n_iter_)


def score_and_epochs(model, X, y):
    return {"score": model.score(X, y), "epochs": epochs(model)}


def check_same(plain, fused):
    """Compare two fitted searches, column for column."""
    assert list(fused.cv_results_) == list(plain.cv_results_)
    own = {"max_networks", "fallback"}
    assert set(vars(fused)) - own == set(vars(plain)) - own
    for name, column in plain.cv_results_.items():
        found = fused.cv_results_[name]
        if name.startswith(("param_", "params")):
            assert str(found) == str(column)
        elif "time" in name:
            assert (found >= 0).all()
        elif not name.startswith("rank"):
            np.testing.assert_allclose(
                np.asarray(found, float), np.asarray(column, float), rtol=0, atol=1e-8
            )
    if hasattr(plain, "best_index_") and not callable(plain.refit):
        metric = plain.refit if isinstance(plain.refit, str) else "score"
        scores = np.sort(plain.cv_results_[f"mean_test_{metric}"])
        if len(scores) == 1 or scores[-1] - scores[-2] > 1e-6:
            assert fused.best_index_ == plain.best_index_


def compare(estimator, grid, X, y, fit=None, *, same_best=True, **search):
    """Fit both searches and compare them; give the fused one."""
    fit = {} if fit is None else fit
    own = {n: search.pop(n) for n in ("max_networks", "fallback") if n in search}
    search = {"cv": 3} | search
    plain = GridSearchCV(clone(estimator), grid, **copy.deepcopy(search))
    plain.fit(X, y, **copy.deepcopy(fit))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*cannot be trained in a bank")
        fused = FusedGridSearchCV(estimator, grid, **search, **own).fit(X, y, **fit)
    check_same(plain, fused)
    if plain.refit and same_best and fused.best_index_ == plain.best_index_:
        np.testing.assert_allclose(
            np.asarray(fused.predict(X), float),
            np.asarray(plain.predict(X), float),
            atol=1e-8,
        )
    return fused


# -- the same scores -------------------------------------------------------------


@given(
    n_tasks=st.integers(1, 4),
    n_samples=st.integers(31, 47),
    n_folds=st.integers(2, 4),
    share=st.sampled_from([0.0, 0.3]),
    early_stopping=st.booleans(),
    n_estimators=st.integers(1, 2),
    batch_size=st.sampled_from([None, 7, "auto"]),
    dropout=st.lists(st.sampled_from([0.0, 0.1, 0.4]), min_size=1, max_size=2),
    rates=st.lists(st.floats(1e-3, 3e-2), min_size=1, max_size=2),
    decays=st.lists(st.sampled_from([0.0, 0.1]), min_size=1, max_size=2),
    around=st.sampled_from(["nothing", "pipeline", "target"]),
    seed=st.integers(0, 5),
)
@settings(max_examples=16)
def test_every_split_scores_as_in_the_search_of_scikit_learn(
    n_tasks,
    n_samples,
    n_folds,
    share,
    early_stopping,
    n_estimators,
    batch_size,
    dropout,
    rates,
    decays,
    around,
    seed,
):
    X, y = regression_data(n_samples, n_tasks, seed=seed)
    if around != "target":
        y = missing(y, share, seed=seed)
    estimator = precise(
        early_stopping=early_stopping,
        n_estimators=n_estimators,
        batch_size=batch_size,
        max_epochs=10,
        n_iter_no_change=2,
        random_state=seed,
    )
    prefix = ""
    if around == "pipeline":
        estimator = make_pipeline(StandardScaler(), estimator)
        prefix = "multitasknetregressor__"
    if around == "target":
        estimator = TransformedTargetRegressor(estimator, transformer=StandardScaler())
        prefix = "regressor__"
    grid = {
        "architecture__dropout": dropout,
        "lr": rates,
        "weight_decay": decays,
        "task_weights": [None, list(range(1, n_tasks + 1))],
    }
    grid = {prefix + name: values for name, values in grid.items()}
    cv = KFold(n_folds, shuffle=True, random_state=seed)
    scoring = score_and_epochs
    compare(estimator, grid, X, y, cv=cv, scoring=scoring, refit="score")


@pytest.mark.parametrize("early_stopping", [False, True])
def test_classes_with_missing_labels_score_the_same(early_stopping):
    X, y = classification_data(60)
    grid = {
        "class_weight": [None, "balanced", [{0: 1, 1: 3}, "balanced"]],
        "loss": [CrossEntropy()],
        "loss__label_smoothing": [0.0, 0.2],
    }
    model = precise("classifier", early_stopping=early_stopping)
    compare(model, grid, X, missing(y), cv=TaskKFold(3, random_state=0))


def test_a_count_of_folds_goes_with_missing_class_labels():
    X, y = classification_data(60)
    model, grid = precise("classifier"), {"lr": [0.003, 0.02]}
    fused = FusedGridSearchCV(model, grid, cv=3).fit(X, missing(y))
    check_same(
        GridSearchCV(model, grid, cv=TaskKFold(3, shuffle=False)).fit(X, missing(y)),
        fused,
    )


@pytest.mark.parametrize("early_stopping", [False, True])
def test_row_tasks_score_the_same(early_stopping):
    X, y, ids = row_task_data(90)
    model = precise(task_column=3, early_stopping=early_stopping)
    weights = dict.fromkeys(range(10, 16), 1.0)
    grid = {
        "lr": [0.003, 0.02],
        "task_weights": [None, weights | {10: 4.0}],
        "architecture__task_shrinkage": [0.0, 1.0],
    }
    compare(model, grid, np.column_stack([X, ids]), y)


def test_validated_pooling_scores_the_same():
    """Each candidate chooses on its own held-out rows, whatever bank it trained in."""
    X, y, ids = row_task_data(90)
    y = y + np.random.default_rng(0).normal(scale=4.0, size=len(y))
    grid = {"lr": [0.003, 0.02], "architecture__task_shrinkage": ["auto", 1.0]}
    model = precise(task_column=3, early_stopping=True, max_epochs=15)
    compare(model, grid, np.column_stack([X, ids]), y)


@pytest.mark.filterwarnings("ignore:X has 2 tasks that fit did not see")
def test_folds_that_lack_a_task_train_in_banks_of_their_own():
    X, y, ids = row_task_data(90)
    table = np.column_stack([X, ids])
    model = precise(task_column=3, early_stopping=False)
    compare(model, {"lr": [0.003, 0.02]}, table, y, {"groups": ids}, cv=GroupKFold(3))


def test_task_ids_are_split_with_the_rows():
    X, y, ids = row_task_data(60)
    grid = {"lr": [0.003, 0.02]}
    with sklearn.config_context(enable_metadata_routing=True):
        compare(precise(), grid, X, y, {"task": ids}, same_best=False)


def test_numbers_and_classes_side_by_side_score_the_same():
    X, numbers = regression_data(60, 2)
    y = pd.DataFrame(numbers, columns=["a", "b"])
    y["c"] = np.where(X[:, 0] > 0, "yes", "no")
    y.loc[10:14, "c"] = None
    y.loc[20:24, "a"] = np.nan
    model = precise("mixed")
    grid = {"lr": [0.003, 0.02], "task_weights": [None, {"a": 1, "b": 2, "c": 3}]}
    plain = GridSearchCV(model, grid, cv=3).fit(X, y)
    fused = FusedGridSearchCV(model, grid, cv=3).fit(X, y)
    assert isinstance(fused.best_estimator_, MixedTaskNet)
    check_same(plain, fused)


@pytest.mark.parametrize("row", WEIGHTINGS, ids=lambda row: repr(row.strategy))
def test_every_weighting_scores_the_same(row):
    X, y = regression_data(41)
    model = precise(weighting=clone(row.strategy), max_epochs=4, n_estimators=1)
    compare(model, {"lr": [0.003, 0.02]}, X, missing(y), refit=False)


def test_parameters_of_weightings_share_a_bank():
    X, y = regression_data(40)
    grid = [
        {"weighting": [DWA()], "weighting__temperature": [1.0, 2.0]},
        {"weighting": [FAMO()], "weighting__lr": [0.01, 0.05]},
        {"weighting": [None, Uncertainty(), PCGrad()], "lr": [0.003, 0.02]},
    ]
    compare(precise(), grid, X, y, max_networks=1000)


@pytest.mark.parametrize(
    "row", STRATEGIES["architecture"], ids=lambda row: repr(row.strategy)
)
def test_every_architecture_scores_the_same(row):
    X, y = regression_data(41)
    model = precise(
        architecture=clone(row.strategy),
        max_epochs=4,
        n_estimators=1,
        early_stopping=False,
    )
    compare(model, {"lr": [0.003, 0.02]}, X, missing(y), refit=False)


def test_ways_of_sharing_are_one_grid():
    X, y = regression_data(50)
    grid = [
        {"architecture": [HardSharing((4,)), HardSharing((8,)), CGC(2, 1, (4,))]},
        {
            "architecture": [SoftSharing((4,))],
            "architecture__strength": [0.0, 0.1, 10.0],
        },
        {"architecture": [TaskGroups(hidden_layer_sizes=(4,))], "lr": [0.003, 0.02]},
        {"architecture": [HeadChain(hidden_layer_sizes=(4,))], "lr": [0.003, 0.02]},
    ]
    compare(precise(max_epochs=5), grid, X, y)


@pytest.mark.parametrize(
    "row", STRATEGIES["encoding"], ids=lambda row: repr(row.strategy)
)
def test_every_encoding_scores_the_same(row):
    X, y = regression_data(41)
    model = precise(encoding=clone(row.strategy), max_epochs=4)
    compare(model, {"lr": [0.003, 0.02], "random_state": [0, 1]}, X, y, refit=False)


def test_losses_and_their_parameters_score_the_same():
    X, y = regression_data(50)
    grid = [
        {"loss": [SquaredError(), "absolute_error"]},
        {"loss": [Huber()], "loss__delta": [0.5, 1.0, 2.0]},
        {"loss": [["squared_error", Huber(), "squared_error"]], "lr": [0.003, 0.02]},
    ]
    compare(precise(), grid, X, y)


def test_focal_losses_score_the_same():
    X, y = classification_data(60)
    grid = {"loss": [Focal()], "loss__gamma": [0.0, 1.0, 3.0]}
    compare(precise("classifier"), grid, X, y, cv=TaskKFold(3, random_state=0))


def test_what_sets_the_course_of_a_fit_scores_the_same():
    X, y = regression_data(60)
    grid = {
        "max_epochs": [3, 9],
        "n_iter_no_change": [1, 4],
        "clip_norm": [None, 0.5],
        "n_estimators": [1, 3],
    }
    scoring = score_and_epochs
    compare(precise(), grid, X, y, scoring=scoring, refit="score")


def test_a_course_by_the_number_of_rows_scores_the_same():
    X, y = regression_data(60)
    grid = {"max_epochs": [9, "auto"], "n_iter_no_change": [4, "auto"]}
    estimator = precise(n_estimators=1)
    compare(estimator, grid, X, y, scoring=score_and_epochs, refit="score")


def test_searched_seeds_score_the_same():
    X, y = regression_data(60)
    grid = {"random_state": [0, 1, 2], "lr": [0.003, 0.02]}
    compare(precise(early_stopping=True, n_estimators=2), grid, X, y)


def test_a_generator_as_seed_is_cloned_for_every_fit():
    X, y = regression_data(60)
    model = precise(random_state=np.random.RandomState(3))
    compare(model, GRID, X, y, same_best=False)


def test_without_a_seed_candidates_differ_by_their_parameters_alone():
    X, y = regression_data(60)
    grid = {"verbose": [0, False], "lr": [0.02]}
    search = FusedGridSearchCV(precise(random_state=None), grid, cv=3, refit=False)
    first, second = search.fit(X, y).cv_results_["mean_test_score"]
    assert first == second
    assert search.fit(X, y).cv_results_["mean_test_score"][0] != first


def test_weights_of_rows_and_cells_are_split():
    X, y = regression_data(60)
    rng = np.random.default_rng(0)
    rows = rng.uniform(0.1, 3.0, 60)
    for weight in (rows, rng.uniform(0.1, 3.0, y.shape)):
        compare(precise(), {"lr": [0.003, 0.02]}, X, y, {"sample_weight": weight})


def test_searched_calibration_scores_the_same():
    X, y = regression_data(80)
    model = precise(calibration_size=0.3, early_stopping=False)
    fused = compare(model, {"lr": [0.003, 0.02]}, X, y)
    assert fused.best_estimator_.predict_interval(X).shape == (80, 3, 2)


def test_transformed_targets_inside_score_the_same():
    X, y = regression_data(60)
    model = precise(target_transform=StandardScaler())
    compare(model, {"lr": [0.003, 0.02]}, X, missing(y))


def test_single_precision_stays_close():
    X, y = regression_data(60)
    plain = GridSearchCV(precise(dtype="float32"), GRID, cv=3).fit(X, y)
    fused = FusedGridSearchCV(precise(dtype="float32"), GRID, cv=3).fit(X, y)
    np.testing.assert_allclose(
        fused.cv_results_["mean_test_score"],
        plain.cv_results_["mean_test_score"],
        atol=1e-3,
    )


# -- steps around ----------------------------------------------------------------


class Counted(TransformerMixin, BaseEstimator):
    """Scale by a factor; count the fits of all clones."""

    fits = 0

    def __init__(self, factor=1.0):
        self.factor = factor

    def fit(self, X, y=None):
        type(self).fits += 1
        self.mean_ = np.mean(X, axis=0)
        return self

    def transform(self, X):
        return (X - self.mean_) * self.factor


def test_steps_before_are_fitted_once_for_each_of_their_settings_and_folds():
    X, y = regression_data(60)
    model = make_pipeline(Counted(), precise())
    grid = {
        "counted__factor": [1.0, 2.0],
        "multitasknetregressor__lr": [0.003, 0.01, 0.02],
    }
    compare(model, grid, X, y, refit=False)
    Counted.fits = 0
    FusedGridSearchCV(model, grid, cv=3, refit=False).fit(X, y)
    assert Counted.fits == 2 * 3


def test_column_transformers_and_frames_score_the_same():
    X, y = regression_data(60)
    table = pd.DataFrame(X, columns=list("abcd"))
    table["kind"] = np.where(X[:, 0] > 0, "up", "down")
    model = make_pipeline(
        make_column_transformer(
            (StandardScaler(), list("abcd")), (OneHotEncoder(), ["kind"])
        ),
        precise(),
    )
    targets = pd.DataFrame(y, columns=["x", "y", "z"])
    grid = {"multitasknetregressor__lr": [0.003, 0.02]}
    fused = compare(model, grid, table, targets)
    assert list(fused.feature_names_in_) == list(table)
    assert list(fused.best_estimator_[-1].task_names_) == ["x", "y", "z"]


def test_a_pipeline_inside_a_transformed_target_scores_the_same():
    X, y = regression_data(60)
    inner = make_pipeline(StandardScaler(), precise())
    model = TransformedTargetRegressor(inner, func=np.log, inverse_func=np.exp)
    grid = {
        "regressor__multitasknetregressor__lr": [0.003, 0.02],
        "check_inverse": [True, False],
    }
    compare(model, grid, X, np.exp(y / 10))


def test_cached_pipelines_keep_their_cache(tmp_path):
    X, y = regression_data(60)
    model = Pipeline(
        [("scale", StandardScaler()), ("net", precise())], memory=str(tmp_path)
    )
    compare(model, {"net__lr": [0.003, 0.02]}, X, y)


def test_a_whole_step_may_be_searched():
    X, y = regression_data(60)
    model = Pipeline([("scale", StandardScaler()), ("net", precise())])
    grid = {
        "scale": [StandardScaler(), "passthrough", Counted(2.0)],
        "net": [precise(), precise(encoding=PiecewiseLinear(n_bins=4))],
        "net__lr": [0.003, 0.02],
    }
    compare(model, grid, X, y)


# -- what searches can do --------------------------------------------------------


def test_several_metrics_and_training_scores():
    X, y = regression_data(60)
    fused = compare(
        precise(),
        GRID,
        X,
        y,
        scoring={"r2": "r2", "mae": "neg_mean_absolute_error"},
        refit="mae",
        return_train_score=True,
    )
    assert "std_train_r2" in fused.cv_results_


def worst_epochs(results):
    assert (results["mean_fit_time"] > 0).all()
    return int(np.argmin(results["mean_test_score"]))


def test_the_best_may_be_named_by_a_function():
    X, y = regression_data(60)
    fused = compare(precise(), GRID, X, y, refit=worst_epochs)
    assert fused.best_index_ == np.argmin(fused.cv_results_["mean_test_score"])
    assert not hasattr(fused, "best_score_")


@pytest.mark.parametrize(
    "cv",
    [
        KFold(4),
        TaskKFold(3, random_state=0),
        PredefinedSplit([0, 1, -1, 2] * 15),
        [(np.arange(40), np.arange(40, 60)), (np.arange(20, 60), np.arange(20))],
    ],
)
def test_any_cv(cv):
    X, y = regression_data(60)
    compare(precise(), {"lr": [0.003, 0.02]}, X, y, cv=cv)


def test_splits_that_are_consumed_once():
    X, y = regression_data(60)
    splits = list(KFold(3).split(X))
    fused = FusedGridSearchCV(precise(), GRID, cv=iter(splits)).fit(X, y)
    check_same(GridSearchCV(precise(), GRID, cv=splits).fit(X, y), fused)


def test_random_candidates_are_those_of_scikit_learn():
    X, y = regression_data(60)
    space = {
        "lr": loguniform(1e-3, 1e-1),
        "weight_decay": loguniform(1e-4, 1e-1),
        "task_weights": TaskWeights(3),
    }
    search = {"n_iter": 5, "cv": 3, "random_state": 0}
    plain = RandomizedSearchCV(precise(), space, **search).fit(X, y)
    fused = FusedRandomizedSearchCV(precise(), space, **search).fit(X, y)
    check_same(plain, fused)


@pytest.mark.parametrize("max_networks", [1, 2, 5, 1000])
def test_the_size_of_banks_changes_nothing(max_networks):
    X, y = regression_data(60)
    compare(precise(n_estimators=2), GRID, X, y, max_networks=max_networks)


def test_workers_of_joblib_change_nothing():
    X, y = regression_data(60)
    settings = {"cv": 3, "max_networks": 6}
    search = FusedGridSearchCV(precise(), GRID, **settings, n_jobs=2).fit(X, y)
    check_same(FusedGridSearchCV(precise(), GRID, **settings).fit(X, y), search)


def test_banks_train_in_the_workers(monkeypatch):
    X, y = regression_data(60)
    seen = []

    def fit_shares(*args, **kwargs):
        seen.append(threading.get_ident())
        return skmtl._net.fit_shares(*args, **kwargs)

    monkeypatch.setattr(_fits, "fit_shares", fit_shares)
    search = FusedGridSearchCV(precise(), GRID, cv=3, max_networks=6, n_jobs=2)
    with parallel_config(backend="threading"):
        search.fit(X, y)
    assert len(seen) == 4
    assert threading.get_ident() not in seen


def test_hundreds_of_networks_are_shared_among_workers(monkeypatch):
    X, y = regression_data(60)
    seen = []

    def fit_shares(shares, *args, **kwargs):
        seen.append(len(shares))
        return skmtl._net.fit_shares(shares, *args, **kwargs)

    monkeypatch.setattr(_fits, "fit_shares", fit_shares)
    model = precise(max_epochs=2, n_estimators=1)
    for n_candidates, banks in [(50, [100]), (100, [100, 100])]:
        seen.clear()
        grid = {"lr": np.geomspace(1e-3, 1e-2, n_candidates)}
        search = FusedGridSearchCV(model, grid, cv=2, refit=False, n_jobs=2)
        with parallel_config(backend="threading"):
            search.fit(X, y)
        assert seen == banks


def test_large_networks_share_small_banks(monkeypatch):
    X, y = regression_data(60)
    seen = []

    def fit_shares(shares, *args, **kwargs):
        seen.append(len(shares))
        return skmtl._net.fit_shares(shares, *args, **kwargs)

    monkeypatch.setattr(_fits, "fit_shares", fit_shares)
    # 4 x 512 + 512 x 512 weights and moments take 8.5 MB: one fit, of two members.
    model = precise(architecture=HardSharing((512, 512)), max_epochs=1)
    grid = {"lr": [0.003, 0.01]}
    FusedGridSearchCV(model, grid, cv=2, refit=False).fit(X, y)
    assert seen == [1, 1, 1, 1]


def test_workers_of_dask_change_nothing():
    distributed = pytest.importorskip("distributed")
    X, y = regression_data(60)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        parallel_config(backend="dask"),
    ):
        search = FusedGridSearchCV(precise(), GRID, cv=3, max_networks=6).fit(X, y)
    check_same(FusedGridSearchCV(precise(), GRID, cv=3).fit(X, y), search)


def test_a_search_is_copied_stored_and_nested():
    X, y = regression_data(60)
    search = FusedGridSearchCV(precise(), GRID, cv=3, max_networks=7)
    again = clone(search)
    assert again.get_params()["max_networks"] == 7
    fitted = search.fit(X, y)
    for copied in (copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(copied.predict(X), fitted.predict(X))
    assert type(fitted.best_estimator_) is type(precise())
    assert type(fitted.estimator) is type(precise())
    plain = cross_val_score(GridSearchCV(precise(), GRID, cv=2), X, y, cv=2)
    nested = cross_val_score(again.set_params(cv=2), X, y, cv=2)
    np.testing.assert_allclose(nested, plain, atol=1e-8)


def test_a_search_adapts():
    X, y = regression_data(80, 4)
    fused = compare(precise(), {"lr": [0.003, 0.02]}, X, y[:, :3])
    adapted = skmtl.adapt(fused, X[:20], y[:20, 3])
    assert adapted.predict(X).shape[0] == 80


def test_weights_are_routed_when_requested():
    X, y = regression_data(60)
    weight = np.random.default_rng(0).uniform(0.1, 3.0, 60)
    with sklearn.config_context(enable_metadata_routing=True):
        model = precise().set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        compare(model, {"lr": [0.003, 0.02]}, X, y, {"sample_weight": weight})


def test_groups_are_routed_to_the_splitter():
    X, y = regression_data(60)
    groups = np.arange(60) % 4
    with sklearn.config_context(enable_metadata_routing=True):
        cv = GroupKFold(4)
        compare(precise(), {"lr": [0.003, 0.02]}, X, y, {"groups": groups}, cv=cv)


def test_refit_may_be_left_out():
    X, y = regression_data(60)
    fused = compare(precise(), GRID, X, y, refit=False)
    with pytest.raises((AttributeError, NotFittedError)):
        fused.predict(X)


def test_times_are_shared_evenly(capsys):
    X, y = regression_data(60)
    fused = FusedGridSearchCV(precise(), GRID, cv=3, verbose=1).fit(X, y)
    assert np.ptp(fused.cv_results_["mean_fit_time"]) == pytest.approx(0, abs=1e-6)
    np.testing.assert_array_less(fused.cv_results_["std_fit_time"], 1e-6)
    printed = capsys.readouterr().out
    assert "Fitting 3 folds for each of 4 candidates, totalling 12 fits" in printed
    assert "[bank 1/1]" in printed


def test_estimators_of_a_search_know_what_they_know_alone():
    X, y = regression_data(60)
    seen = []

    def scoring(model, X, y):
        seen.append(model)
        return model.score(X, y)

    grid = {"max_epochs": [3, 9], "n_iter_no_change": [1, 20], "lr": [0.003, 0.02]}
    model = precise(weighting=DWA())
    for search in (GridSearchCV, FusedGridSearchCV):
        search(model, grid, cv=3, scoring=scoring, refit=False).fit(X, y)
    assert len({one.n_epochs_ for one in seen}) > 1
    for alone, one in zip(seen[:24], seen[24:], strict=True):
        assert one.n_epochs_ == alone.n_epochs_
        np.testing.assert_array_equal(one.n_iter_, alone.n_iter_)
        for name in ("loss_weights_", "validation_prediction_"):
            np.testing.assert_allclose(
                getattr(one, name), getattr(alone, name), atol=1e-8
            )
    pickle.loads(pickle.dumps(one)).predict(X)
    assert one.adapt(X, y[:, 0]).predict(X).shape == (60,)


# -- failures --------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
@pytest.mark.parametrize("n_estimators", [1, 2])
def test_a_candidate_that_diverges_does_not_touch_the_others(n_estimators):
    X, y = regression_data(60)
    grid = {"lr": [0.003, 1e200, 0.02]}
    model = precise(n_estimators=n_estimators)
    with pytest.warns(FitFailedWarning, match=r"'lr': 1e\+200"):
        fused = FusedGridSearchCV(model, grid, cv=3).fit(X, y)
    scores = fused.cv_results_["mean_test_score"]
    assert np.isnan(scores).tolist() == [False, True, False]
    alone = FusedGridSearchCV(model, {"lr": [0.003, 0.02]}, cv=3).fit(X, y)
    np.testing.assert_allclose(
        scores[[0, 2]], alone.cv_results_["mean_test_score"], atol=1e-8
    )
    assert fused.best_params_ == alone.best_params_


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_a_number_takes_the_place_of_a_failed_score():
    X, y = regression_data(60)
    search = FusedGridSearchCV(
        precise(n_estimators=1), {"lr": [0.02, 1e200]}, cv=3, error_score=-9
    )
    with pytest.warns(FitFailedWarning):
        search.fit(X, y)
    assert search.cv_results_["mean_test_score"][1] == -9


def test_errors_are_raised_when_asked_for():
    X, y = regression_data(60)
    grid = {"lr": [0.02, 1e200]}
    search = FusedGridSearchCV(precise(n_estimators=1), grid, cv=3, error_score="raise")
    with pytest.raises(FloatingPointError, match="1e\\+200"):
        search.fit(X, y)
    assert not hasattr(search, "cv_results_")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.parametrize("lr", [-1.0, 1e200])
def test_searches_where_every_fit_fails_raise_as_in_scikit_learn(lr):
    X, y = regression_data(60)
    grid = {"lr": [lr], "weight_decay": [0.0, 0.1]}
    for search in (GridSearchCV, FusedGridSearchCV):
        with pytest.raises(ValueError, match="All the 6 fits failed"):
            search(precise(), grid, cv=3).fit(X, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_a_setting_that_is_not_valid_fails_alone():
    X, y = regression_data(60)
    compare(precise(), {"lr": [0.02, -1.0]}, X, y)
    compare(precise(), {"task_weights": [None, [1.0, 2.0]]}, X, y)
    model = make_pipeline(StandardScaler(), precise())
    compare(model, {"standardscaler__with_mean": [True, "no"]}, X, y)


@pytest.mark.filterwarnings("ignore:Scoring failed")
@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_searches_without_any_score_raise_and_do_not_refit():
    X, y = regression_data(60)

    def broken(model, X, y):
        raise RuntimeError("no score")

    search = FusedGridSearchCV(precise(), GRID, cv=3, scoring=broken)
    with pytest.raises(ValueError, match="All 4 candidates have a mean test score"):
        search.fit(X, y)
    assert not hasattr(search, "best_estimator_")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
@pytest.mark.filterwarnings("ignore:Scoring failed")
def test_candidates_that_all_fail_on_one_split_raise_what_was_raised_there():
    X, y = regression_data(60)
    X = X.astype(object)
    X[0, 0] = {"a": 1}
    search = FusedGridSearchCV(precise(), GRID, cv=3)
    with pytest.raises(
        ValueError, match=r"All 4 candidates failed on some of the 3 splits.*TypeError"
    ) as raised:
        search.fit(X, y)
    assert isinstance(raised.value.__cause__, TypeError)
    assert not hasattr(search, "cv_results_")


def test_a_failed_call_leaves_what_was_fitted():
    X, y = regression_data(60)
    search = FusedGridSearchCV(precise(n_estimators=1), GRID, cv=3).fit(X, y)
    best = search.best_estimator_
    search.set_params(error_score="raise", param_grid={"lr": [1e200]})
    with pytest.raises(FloatingPointError):
        search.fit(X, y)
    assert search.best_estimator_ is best


BAD_WEIGHTS = [[1.0, 2.0], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0], {"nothing": 2.0}]


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("weights", BAD_WEIGHTS)
def test_weights_that_are_not_valid_fail_alone_wherever_they_stand(weights, first):
    X, y = regression_data(60)
    good = [1.0, 2.0, 0.5]
    grid = {"task_weights": [weights, good] if first else [good, weights]}
    with pytest.warns(FitFailedWarning, match="The parameters were {'task_weights'"):
        fused = FusedGridSearchCV(precise(), grid, cv=3).fit(X, y)
    assert fused.best_params_ == {"task_weights": good}
    with pytest.warns(FitFailedWarning):
        check_same(GridSearchCV(precise(), grid, cv=3).fit(X, y), fused)


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
@pytest.mark.filterwarnings("ignore:X has 2 tasks that fit did not see")
def test_weights_of_a_group_that_is_held_out_fail_on_that_split():
    X, y, ids = row_task_data(90)
    table = np.column_stack([X, ids])
    model = precise(task_column=3, early_stopping=False)
    grid = {"task_weights": [{10: 2.0}, None]}
    with pytest.warns(FitFailedWarning):
        plain = GridSearchCV(model, grid, cv=GroupKFold(3)).fit(table, y, groups=ids)
    fused = FusedGridSearchCV(model, grid, cv=GroupKFold(3))
    with pytest.warns(FitFailedWarning):
        fused.fit(table, y, groups=ids)
    check_same(plain, fused)
    assert fused.best_params_ == {"task_weights": None}


BROKEN = [
    {"architecture__hidden_layer_sizes": [(8,), (0,)]},
    {
        "weighting": [PCGrad()],
        "architecture": [TaskGroups(hidden_layer_sizes=(8,)), HardSharing((8,))],
    },
    {
        "architecture": [
            TaskGroups([["nothing"], [0, 1, 2]], hidden_layer_sizes=(8,)),
            HardSharing((8,)),
        ]
    },
]


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("grid", BROKEN)
def test_candidates_that_cannot_be_built_or_trained_fail_alone(grid, n_jobs):
    X, y = regression_data(60)
    with pytest.warns(FitFailedWarning):
        plain = GridSearchCV(precise(), grid, cv=3).fit(X, y)
    search = FusedGridSearchCV(precise(), grid, cv=3, n_jobs=n_jobs)
    with (
        parallel_config(backend="threading"),
        pytest.warns(FitFailedWarning, match="The parameters were"),
    ):
        search.fit(X, y)
    check_same(plain, search)
    search.set_params(error_score="raise")
    with pytest.raises(ValueError, match="The parameters were"):
        search.fit(X, y)


def test_fits_that_break_a_bank_are_found(monkeypatch):
    X, y = regression_data(60)
    grid = {"lr": [0.003, 0.005, 0.01, 0.02, 0.03]}
    expected = FusedGridSearchCV(precise(), grid, cv=3).fit(X, y)

    def fit_shares(shares, *args, **kwargs):
        if any(plan.hyperparameters.lr == 0.01 for own, _ in shares for plan in own):
            raise RuntimeError("broken")
        return skmtl._net.fit_shares(shares, *args, **kwargs)

    monkeypatch.setattr(_fits, "fit_shares", fit_shares)
    search = FusedGridSearchCV(precise(), grid, cv=3, error_score=-1.0)
    with pytest.warns(FitFailedWarning, match=r"The parameters were {'lr': 0.01}"):
        search.fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    others = [0, 1, 3, 4]
    assert scores[2] == -1
    np.testing.assert_allclose(
        scores[others], expected.cv_results_["mean_test_score"][others], atol=1e-8
    )


def test_labels_that_are_not_given_and_arguments_that_do_not_exist_are_named():
    X, y = regression_data(60)
    search = FusedGridSearchCV(precise(), GRID, cv=3, error_score="raise")
    with pytest.raises(TypeError, match=r"Regressor.fit\(\) missing .* argument: 'y'"):
        search.fit(X)
    with pytest.raises(TypeError, match=r"Regressor.fit\(\) got .* 'samples'"):
        search.fit(X, y, samples=y[:, 0])


def test_names_that_do_not_exist_are_refused():
    X, y = regression_data(60)
    with pytest.raises(ValueError, match="Invalid parameter 'nothing'"):
        FusedGridSearchCV(precise(), {"nothing": [1]}, cv=3).fit(X, y)


def test_tables_of_other_lengths_are_refused():
    X, y = regression_data(60)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        FusedGridSearchCV(precise(), GRID, cv=3).fit(X[:50], y)


@pytest.mark.parametrize(
    ("name", "value"), [("max_networks", 0), ("fallback", "quiet")]
)
def test_arguments_are_checked(name, value):
    X, y = regression_data(60)
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        FusedGridSearchCV(precise(), GRID, cv=3, **{name: value}).fit(X, y)


# -- what does not fuse ----------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "grid"),
    [
        (Ridge(), {"alpha": [0.1, 10.0]}),
        (make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [0.1, 10.0]}),
    ],
)
def test_other_estimators_are_fitted_one_by_one(estimator, grid):
    X, y = regression_data(60)
    with pytest.warns(UserWarning, match=r"Ridge is none of .* one by one") as record:
        fused = FusedGridSearchCV(estimator, grid, cv=3).fit(X, y)
    assert record[0].filename == __file__
    check_same(GridSearchCV(estimator, grid, cv=3).fit(X, y), fused)


def test_meta_learners_are_fitted_one_by_one():
    X, y, ids = row_task_data(80)
    table = np.column_stack([X, ids])
    model = meta("maml_regressor", task_column=3, max_iter=3, dtype="float64")
    with pytest.warns(UserWarning, match="MAMLRegressor is none of"):
        fused = FusedGridSearchCV(model, {"lr": [0.01, 0.1]}, cv=3).fit(table, y)
    check_same(GridSearchCV(model, {"lr": [0.01, 0.1]}, cv=3).fit(table, y), fused)


def test_callbacks_of_skorch_see_one_candidate_at_a_time():
    X, y = regression_data(60)
    model = precise(skorch_callbacks=[EpochTimer()])
    with pytest.warns(UserWarning, match="skorch_callbacks would see"):
        fused = FusedGridSearchCV(model, {"lr": [0.003, 0.02]}, cv=3).fit(X, y)
    check_same(GridSearchCV(model, {"lr": [0.003, 0.02]}, cv=3).fit(X, y), fused)


def test_callbacks_of_scikit_learn_watch_one_candidate_at_a_time():
    X, y = regression_data(60)
    monitor = ScoringMonitor(scoring="r2")
    model = precise(max_epochs=3, n_estimators=1).set_callbacks(monitor)
    with pytest.warns(UserWarning, match="its callbacks watch fits one by one"):
        FusedGridSearchCV(model, {"lr": [0.003, 0.02]}, cv=2).fit(X, y)
    logs = monitor.get_logs(select="all")
    epochs = [r for log in logs for r in log.data if r["task_name"] == "epoch"]
    assert len(epochs) == (2 * 2 + 1) * 3


def test_callbacks_of_the_search_see_what_they_see_in_scikit_learn(capsys):
    pytest.importorskip("rich")
    X, y = regression_data(60)
    search = FusedGridSearchCV(precise(), {"lr": [0.003, 0.02]}, cv=2)
    search.set_callbacks(ProgressBar()).fit(X, y)
    assert np.isfinite(search.best_score_)
    printed = capsys.readouterr().out
    assert "FusedGridSearchCV - fit" in printed
    assert "MultiTaskNetRegressor - fit" in printed
    monitor = ScoringMonitor(scoring="r2")
    search = clone(search).set_callbacks(monitor)
    assert np.isfinite(search.fit(X, y).best_score_)


def test_one_by_one_beside_a_bank():
    X, y = regression_data(60)
    model = Pipeline([("net", precise())])
    grid = [
        {"net": [precise()], "net__lr": [0.003, 0.02]},
        {"net": [Ridge()], "net__alpha": [0.1, 1.0]},
    ]
    plain = GridSearchCV(model, grid, cv=3).fit(X, y)
    with pytest.warns(UserWarning, match="2 of 4 candidates cannot"):
        fused = FusedGridSearchCV(model, grid, cv=3, n_jobs=2).fit(X, y)
    check_same(plain, fused)


def test_falling_back_can_be_an_error():
    X, y = regression_data(60)
    search = FusedGridSearchCV(Ridge(), {"alpha": [0.1]}, fallback="error")
    with pytest.raises(ValueError, match="Ridge is none of"):
        search.fit(X, y)
    FusedGridSearchCV(precise(), GRID, cv=3, fallback="error").fit(X, y)


class Doubled(RegressorMixin, BaseEstimator):
    """A user's own wrapper, which the search cannot look into."""

    def __init__(self, inner=None):
        self.inner = inner

    def fit(self, X, y):
        self.inner_ = clone(self.inner).fit(X, y)
        return self

    def predict(self, X):
        return self.inner_.predict(X)


def test_wrappers_of_users_are_fitted_one_by_one():
    X, y = regression_data(60)
    model = Doubled(exact("regressor", max_epochs=5))
    grid = {"inner__lr": [0.003, 0.02]}
    with pytest.warns(UserWarning, match="Doubled is none of"):
        fused = FusedGridSearchCV(model, grid, cv=3).fit(X, y)
    check_same(GridSearchCV(model, grid, cv=3).fit(X, y), fused)


def test_no_global_state_is_changed():
    X, y = regression_data(60)
    before = (
        np.random.mtrand._rand.get_state()[1].tobytes(),
        torch.get_rng_state().numpy().tobytes(),
        torch.get_num_threads(),
        list(warnings.filters),
    )
    FusedGridSearchCV(precise(), GRID, cv=3).fit(X, y)
    assert before == (
        np.random.mtrand._rand.get_state()[1].tobytes(),
        torch.get_rng_state().numpy().tobytes(),
        torch.get_num_threads(),
        list(warnings.filters),
    )


def test_two_searches_give_equal_bits():
    X, y = regression_data(60)
    first, second = (
        FusedGridSearchCV(precise(dtype="float32"), GRID, cv=3).fit(X, y)
        for _ in range(2)
    )
    np.testing.assert_array_equal(
        first.cv_results_["mean_test_score"], second.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(first.predict(X), second.predict(X))
    assert joblib.hash(first.best_params_) == joblib.hash(second.best_params_)


SAME_AS_SCIKIT_LEARN = {
    "check_estimators_nan_inf": "missing values are fine, as in a GridSearchCV",
    "check_supervised_y_2d": "y of one column is a task, as in a GridSearchCV",
    "check_dtype_object": "all scores are NaN, which raises with the cause",
}


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # theirs
@parametrize_with_checks(
    [
        FusedGridSearchCV(
            small(kind, n_estimators=1, max_epochs=5), {"lr": [0.01, 0.02]}, cv=2
        )
        for kind in ("regressor", "classifier")
    ],
    expected_failed_checks=lambda _: SAME_AS_SCIKIT_LEARN,
)
def test_the_checks_of_scikit_learn(estimator, check):
    check(estimator)
