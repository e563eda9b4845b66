"""The neighbours: frames, searches, workers, files, and what else users install."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import SequentialFeatureSelector
from sklearn.metrics import r2_score
from sklearn.model_selection import (
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    cross_val_score,
    cross_validate,
    validation_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import estimator_html_repr

from skmtl import Adapted
from skmtl.weighting import PCGrad, Uncertainty

from .instances import (
    ESTIMATORS,
    classification_data,
    missing,
    regression_data,
    row_task_data,
    small,
)

KINDS = sorted(ESTIMATORS)
CV = KFold(3, shuffle=True, random_state=0)
GRID = {"architecture__hidden_layer_sizes": [(4,), (16,)], "lr": [0.005, 0.02]}


def cheap(kind, **changes):
    return small(kind, **{"n_estimators": 1, "max_epochs": 15} | changes)


def data_of(kind, n_samples=80):
    if kind == "regressor":
        return regression_data(n_samples)
    return classification_data(n_samples)


def numbers_of(model, X):
    if hasattr(model, "predict_proba"):
        return np.hstack(model.predict_proba(X))
    return model.predict(X)


# -- tables ----------------------------------------------------------------------


@pytest.fixture
def table():
    """Give a frame with numbers and a category, two targets, and an equal array."""
    X, y = regression_data(80, n_tasks=2)
    y = pd.DataFrame(y, columns=["height", "weight"])
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame["colour"] = np.where(X[:, 0] > 0, "red", "blue")
    frame["colour"] = frame["colour"].astype("category")
    array = StandardScaler().fit_transform(X)
    array = np.column_stack([array, X[:, 0] <= 0, X[:, 0] > 0]).astype(float)
    return frame, y, array


@pytest.mark.parametrize("output", ["default", "pandas", "polars"])
def test_column_transformers_give_any_container(table, output):
    if output == "polars":
        pytest.importorskip("polars")
    frame, y, array = table
    columns = make_column_transformer(
        (StandardScaler(), list("abcd")),
        (OneHotEncoder(sparse_output=False), ["colour"]),
        verbose_feature_names_out=False,
    )
    pipe = make_pipeline(columns, cheap("regressor")).set_output(transform=output)
    pipe.fit(frame, y)
    names = [*"abcd", "colour_blue", "colour_red"]
    if output == "default":
        assert not hasattr(pipe[-1], "feature_names_in_")
    else:
        assert pipe[-1].feature_names_in_.tolist() == names
    assert pipe.feature_names_in_.tolist() == [*"abcd", "colour"]
    assert pipe[-1].task_names_.tolist() == ["height", "weight"]
    by_hand = cheap("regressor").fit(array, y.to_numpy())
    np.testing.assert_allclose(pipe.predict(frame), by_hand.predict(array), rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_columns_by_other_names_are_refused(kind):
    X, y = data_of(kind)
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = cheap(kind, max_epochs=1).fit(frame, y)
    with pytest.raises(ValueError, match=r"seen at fit time[\s\S]*- d"):
        model.predict(frame.rename(columns={"d": "e"}))
    with pytest.raises(ValueError, match="must be in the same order"):
        model.predict(frame[list("dcba")])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["Float64", "Int64", "boolean"])
def test_nullable_columns_of_x_are_numbers_with_gaps(kind, dtype):
    X, y = data_of(kind)
    whole = X[:, :1] > 0 if dtype == "boolean" else np.round(3 * X[:, :1])
    gaps = np.where(np.arange(80)[:, None] % 7 == 0, np.nan, whole)
    frame = pd.DataFrame(np.hstack([gaps, X[:, 1:]]), columns=list("abcd"))
    nullable = frame.astype({"a": dtype})
    assert nullable["a"].isna().sum() == 12
    model = cheap(kind, max_epochs=3).fit(nullable, y)
    plain = cheap(kind, max_epochs=3).fit(frame, y)
    np.testing.assert_array_equal(numbers_of(model, nullable), numbers_of(plain, frame))


@pytest.mark.parametrize("kind", KINDS)
def test_polars_frames_give_what_arrays_give(kind):
    polars = pytest.importorskip("polars")
    X, y = data_of(kind)
    y = missing(y)
    names = [f"task {j}" for j in range(y.shape[1])]
    table = polars.DataFrame(np.array(X), schema=list("abcd"))
    targets = polars.DataFrame(np.array(y), schema=names).fill_nan(None)
    assert targets.null_count().row(0)[0] > 0
    model = cheap(kind).fit(table, targets)
    assert model.feature_names_in_.tolist() == list("abcd")
    assert model.task_names_.tolist() == names
    plain = cheap(kind).fit(X, y)
    np.testing.assert_array_equal(numbers_of(model, table), numbers_of(plain, X))
    assert model.score(table, targets) == plain.score(X, y)
    one = cheap(kind).fit(table, targets[names[0]])
    assert one.predict(table).shape == (80,)


def test_polars_frames_hold_classes_and_tasks_as_text():
    polars = pytest.importorskip("polars")
    X, y, task = row_task_data()
    stores = [f"store {t}" for t in task]
    table = polars.DataFrame(np.array(X), schema=list("abc")).with_columns(
        store=polars.Series(stores)
    )
    labels = polars.Series("level", np.where(y > 0, "high", "low").tolist())
    model = cheap("classifier", task_column="store").fit(table, labels)
    assert model.task_names_.tolist() == sorted(set(stores))
    assert model.classes_.tolist() == ["high", "low"]
    frame = pd.DataFrame(X, columns=list("abc")).assign(store=stores)
    plain = cheap("classifier", task_column="store").fit(frame, labels.to_list())
    np.testing.assert_array_equal(
        model.predict_proba(table), plain.predict_proba(frame)
    )
    assert set(model.predict(table)) <= {"high", "low"}


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.coo_matrix])
@pytest.mark.parametrize("kind", KINDS)
def test_sparse_tables_are_refused_with_ways_on(kind, make):
    X, y = data_of(kind)
    says = r"Sparse X is not supported.*X\.toarray\(\).*TruncatedSVD.*sparse_output"
    with pytest.raises(TypeError, match=says):
        cheap(kind).fit(make(X), y)
    with pytest.raises(TypeError, match=says):
        cheap(kind, task_column=3).fit(make(X), y)
    model = cheap(kind, max_epochs=1).fit(X, y)
    for method in (model.predict, lambda X: model.adapt(X, y[:, 0])):
        with pytest.raises(TypeError, match=says):
            method(make(X))


def test_a_frame_of_sparse_columns_is_a_sparse_table():
    X, y = regression_data(80)
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = cheap("regressor", max_epochs=1).fit(frame, y)
    inside = frame.astype(pd.SparseDtype(float, 0))
    with pytest.raises(TypeError, match=r"Sparse X.*X\.sparse\.to_dense\(\)"):
        model.predict(inside)
    np.testing.assert_array_equal(
        model.predict(inside.sparse.to_dense()), model.predict(frame)
    )


def test_a_sparse_table_goes_through_a_decomposition(table):
    frame, y, _ = table
    columns = make_column_transformer(
        (OneHotEncoder(), ["colour"]),
        (StandardScaler(), list("abcd")),
        sparse_threshold=1,
    )
    pipe = make_pipeline(columns, TruncatedSVD(5, random_state=0), cheap("regressor"))
    assert sparse.issparse(columns.fit_transform(frame))
    assert pipe.fit(frame, y).score(frame, y) > 0.3


def test_skrub_turns_tables_of_anything_into_numbers():
    skrub = pytest.importorskip("skrub")
    X, y = regression_data(80)
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame["colour"] = np.where(X[:, 0] > 0, "red", "blue")
    frame["day"] = pd.date_range("2020-01-01", periods=80)
    pipe = make_pipeline(skrub.TableVectorizer(), cheap("regressor"))
    scores = cross_val_score(pipe, frame, missing(y), cv=CV, error_score="raise")
    assert scores.mean() > 0.1
    names = pipe.fit(frame, y)[-1].feature_names_in_.tolist()
    assert {"a", "colour_red", "day_year"} <= set(names)


# -- searches and validation -----------------------------------------------------


def test_a_halving_search_eliminates_and_refits():
    X, y = regression_data(120)
    search = HalvingGridSearchCV(
        cheap("regressor"), GRID, cv=2, min_resources=30, error_score="raise"
    ).fit(X, y)
    assert search.n_candidates_[:2] == [4, 2]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.score(X, y) > 0.5


def test_a_halving_search_spends_epochs():
    X, y = regression_data(80)
    search = HalvingGridSearchCV(
        cheap("regressor"),
        {"lr": [1e-5, 0.02, 0.03]},
        resource="max_epochs",
        max_resources=18,
        min_resources=6,
        cv=2,
    ).fit(X, y)
    assert search.n_resources_ == [6, 18]
    assert search.best_params_["lr"] > 0.01
    assert search.best_estimator_.max_epochs == 18


@pytest.mark.parametrize("kind", KINDS)
def test_a_random_search_draws_from_distributions(kind):
    X, y = data_of(kind)
    search = RandomizedSearchCV(
        cheap(kind),
        {
            "lr": loguniform(1e-3, 1e-1),
            "weighting": [None, Uncertainty(), PCGrad()],
            "architecture__dropout": [0.0, 0.1],
        },
        n_iter=4,
        cv=KFold(2),
        random_state=0,
        error_score="raise",
    ).fit(X, missing(y))
    assert len(set(search.cv_results_["param_lr"])) == 4
    assert search.best_score_ > (0.2 if kind == "regressor" else 0.5)


def test_an_optuna_study_searches():
    optuna = pytest.importorskip("optuna")
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    X, y = regression_data(80)
    model = cheap("regressor")

    def objective(trial):
        choice = clone(model).set_params(
            lr=trial.suggest_float("lr", 1e-5, 0.1, log=True),
            architecture__dropout=trial.suggest_float("dropout", 0.0, 0.5),
            task_weights=[1.0, trial.suggest_float("weight", 0.1, 10.0), 1.0],
        )
        return cross_val_score(choice, X, missing(y), cv=CV).mean()

    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=0)
    )
    try:
        study.enqueue_trial({"lr": 1e-5, "dropout": 0.5, "weight": 10.0})
        study.optimize(objective, n_trials=5)
    finally:
        optuna.logging.set_verbosity(verbosity)
    values = [trial.value for trial in study.trials]
    assert len(values) == 5
    assert np.isfinite(values).all()
    assert study.best_value == max(values) > values[0] + 0.1


def test_several_scorers_see_every_fold():
    X, y = regression_data(80)
    found = cross_validate(
        cheap("regressor"),
        X,
        y,
        cv=CV,
        scoring=["r2", "neg_mean_absolute_error", "neg_root_mean_squared_error"],
        return_train_score=True,
        return_estimator=True,
        return_indices=True,
    )
    model, test = found["estimator"][0], found["indices"]["test"][0]
    assert found["test_r2"][0] == r2_score(y[test], model.predict(X[test]))
    assert found["test_r2"][0] == pytest.approx(model.score(X[test], y[test]))
    for name in ("neg_mean_absolute_error", "neg_root_mean_squared_error"):
        assert (found[f"test_{name}"] < 0).all()
        assert np.isfinite(found[f"train_{name}"]).all()


def test_a_validation_curve_rises_with_the_learning_rate():
    X, y = regression_data(80)
    _, scores = validation_curve(
        cheap("regressor"),
        X,
        missing(y),
        param_name="lr",
        param_range=[1e-5, 0.02],
        cv=CV,
    )
    assert scores[1].mean() > scores[0].mean() + 0.2


def test_sequential_selection_finds_the_column_that_counts():
    X, y = classification_data(120)
    y = missing(y)
    found = SequentialFeatureSelector(
        cheap("classifier"), n_features_to_select=1, cv=KFold(2)
    ).fit(X, y[:, 0])
    assert found.get_support().tolist() == [True, False, False, False]
    pipe = make_pipeline(found, cheap("classifier")).fit(X, y)
    assert pipe[-1].n_features_in_ == 1


# -- workers ---------------------------------------------------------------------


def test_threads_of_joblib_predict_the_same():
    X, y, task = row_task_data()
    table = np.column_stack([X, task])
    model = cheap("regressor", task_column=-1)
    alone = cross_val_score(model, table, y, cv=2, scoring="r2")
    with joblib.parallel_config(backend="threading", n_jobs=2):
        together = cross_val_score(model, table, y, cv=2, scoring="r2")
    np.testing.assert_array_equal(together, alone)


def test_processes_of_dask_predict_the_same():
    distributed = pytest.importorskip("distributed")
    X, y = regression_data(60, n_tasks=4)
    model = cheap("regressor")
    # A prior travels fitted, the model does not.
    models = [model, Adapted(clone(model).fit(X, y[:, :3]))]
    alone = [cross_val_score(m, X, y[:, 3], cv=2) for m in models]
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            memory_limit=0,
            silence_logs="ERROR",
        ) as cluster,
        distributed.Client(cluster, timeout=60),
        joblib.parallel_config(backend="dask"),
    ):
        together = [cross_val_score(m, X, y[:, 3], cv=2) for m in models]
    np.testing.assert_array_equal(together, alone)


# -- pages and files -------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_notebook_shows_whether_it_is_fitted(kind):
    X, y = data_of(kind)
    model = cheap(kind, max_epochs=1)
    page = estimator_html_repr(model)
    assert ESTIMATORS[kind].__name__ in page
    assert "<span>Not fitted</span>" in page
    assert "HardSharing" in page
    model.fit(X, y)
    assert "<span>Fitted</span>" in estimator_html_repr(model)
    pipe = make_pipeline(StandardScaler(), model)
    assert ESTIMATORS[kind].__name__ in estimator_html_repr(pipe)


@pytest.mark.parametrize("form", ["column tasks", "row tasks", "adapted", "view"])
@pytest.mark.parametrize("kind", KINDS)
def test_skops_stores_it_with_no_types_but_ours(kind, form):
    skops = pytest.importorskip("skops.io")
    X, y = data_of(kind)
    model = cheap(kind, max_epochs=2)
    if form == "row tasks":
        names = [f"store {i % 3}" for i in range(len(X))]
        X = pd.DataFrame(X, columns=list("abcd")).assign(store=names)
        y = y[:, 0]
        model.set_params(task_column="store")
    model.fit(X, y)
    if form == "adapted":
        model = Adapted(model).fit(X, y[:, 0])
    if form == "view":
        model = model.for_task(0)
    stored = skops.dumps(model)
    types = skops.get_untrusted_types(data=stored)
    assert [name for name in types if not name.startswith("skmtl.")] == []
    back = skops.loads(stored, trusted=types)
    np.testing.assert_array_equal(back.predict(X), model.predict(X))
    assert type(back) is type(model)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_is_hardly_more_than_the_weights(kind):
    X, y = data_of(kind)
    model = small(kind, n_estimators=4, max_epochs=2, skorch_callbacks=None)
    model.set_params(architecture__hidden_layer_sizes=(128, 128)).fit(X, y)
    parameters = model.net_.module_.architecture.parameters()
    weights = 4 * sum(p.numel() for p in parameters)  # stored in float32
    size = len(pickle.dumps(model))
    assert weights < size < 1.1 * weights + 20_000
    long = clone(model).set_params(max_epochs=10, early_stopping=False).fit(X, y)
    assert len(pickle.dumps(long)) < size + 8 * 500  # an epoch adds its history
    wide = np.tile(X, (20, 1)), np.tile(y, (20, 1))
    more = clone(model).set_params(early_stopping=False).fit(*wide)
    assert len(pickle.dumps(more)) < size + 4000  # the rows are not kept
