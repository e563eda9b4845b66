"""Splits, held-out predictions and weights of tasks, with labels missing."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from sklearn import model_selection as sk
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmtl import MultiTaskNetClassifier
from skmtl._tasks import balanced_folds, check_task_data, validation_folds
from skmtl.model_selection import (
    TaskKFold,
    TaskWeights,
    cross_val_predict,
    task_weight_grid,
)

from .instances import (
    classification_data,
    exact,
    missing,
    regression_data,
    row_task_data,
)


def folds_of(cv, y=None, groups=None, X=None):
    X = np.zeros((len(y if y is not None else groups), 1)) if X is None else X
    return list(cv.split(X, y, groups))


def held_out(cv, y=None, groups=None, X=None):
    """The fold of each row, -1 for rows that are never held out."""
    splits = folds_of(cv, y, groups, X)
    n_rows = len(splits[0][0]) + len(splits[0][1])
    fold = np.full(n_rows, -1)
    for k, (train, test) in enumerate(splits):
        assert sorted([*train, *test]) == list(range(n_rows))
        assert (fold[test] == -1).all()
        fold[test] = k
    return fold


def counts_of(fold, rows):
    """How many of some rows each fold holds."""
    return np.bincount(fold[rows & (fold >= 0)], minlength=fold.max() + 1)


class Spy(ClassifierMixin, BaseEstimator):
    """Remember what fit is given; predict the first class."""

    def __init__(self, seen=None):
        self.seen = seen

    def __sklearn_clone__(self):
        return self

    def fit(self, X, y):
        self.seen.append(np.asarray(y))
        self.classes_ = np.unique(y[~np.isnan(y)])
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])

    def predict_proba(self, X):
        return np.eye(len(self.classes_))[np.zeros(len(X), int)]


# -- the dealing of rows ---------------------------------------------------------


@st.composite
def tables_of_kinds(draw):
    """Columns of codes, -1 where a label is missing, rare ones among them."""
    n_rows, n_columns = draw(st.integers(2, 80)), draw(st.integers(0, 6))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n_codes = rng.integers(1, 5, n_columns)
    share = rng.beta(0.5, 0.5, n_columns)
    columns = [
        np.where(rng.random(n_rows) < s, rng.integers(0, n, n_rows), -1)
        for n, s in zip(n_codes, share, strict=True)
    ]
    return columns, n_rows


@settings(max_examples=150)
@given(
    table=tables_of_kinds(),
    n_folds=st.integers(2, 8),
    shuffle=st.booleans(),
    n_groups=st.integers(0, 9),
)
def test_training_rows_never_lack_a_code_of_a_column(table, n_folds, shuffle, n_groups):
    columns, n_rows = table
    y = None
    if columns:
        y = np.stack([np.where(c < 0, np.nan, c) for c in columns], axis=1)
    group = np.arange(n_rows) % n_groups if n_groups else None
    cv = TaskKFold(
        n_folds,
        grouped=n_groups > 0,
        shuffle=shuffle,
        random_state=0 if shuffle else None,
    )
    try:
        fold = held_out(cv, y, group, np.zeros((n_rows, 1)))
    except ValueError:
        reject()  # too few rows or groups to hold out
    for k in range(n_folds):
        assert (fold == k).any()
        for column in columns:
            codes = set(column[column >= 0])
            assert codes <= set(column[fold != k])
    if n_groups:
        assert all(len(set(fold[group == g])) <= 1 for g in range(n_groups))


@settings(max_examples=100)
@given(table=tables_of_kinds(), n_folds=st.integers(2, 8), seed=st.integers(0, 9))
def test_folds_are_balanced_in_size_and_in_every_kind(table, n_folds, seed):
    columns, n_rows = table
    fold = balanced_folds(columns, n_rows, n_folds, np.random.RandomState(seed))
    dealt = fold >= 0
    sizes = np.bincount(fold[dealt], minlength=n_folds)
    last = 1 + (~dealt).sum()  # rows taken back from a fold
    assert np.ptp(sizes) <= last
    for column in columns:
        for code in np.unique(column):
            counts = np.bincount(fold[dealt & (column == code)], minlength=n_folds)
            assert np.ptp(counts) <= 4 + last


def test_a_row_is_kept_only_for_a_reason():
    """Rows with the only label of a column, or their last one outside a fold."""
    rng = np.random.default_rng(0)
    for seed in range(30):
        column = np.where(rng.random(60) < 0.05, 0, -1)
        fold = balanced_folds([column], 60, 4, np.random.RandomState(seed))
        labelled = column == 0
        assert (fold < 0).sum() == (labelled.sum() == 1)


def test_no_fold_takes_all_labels_of_a_column():
    """In tables this small and sparse, dealing alone leaves some column to one fold."""
    for seed in range(300):
        rng = np.random.default_rng(seed)
        n_rows, n_columns = int(rng.integers(4, 14)), int(rng.integers(3, 8))
        columns = [
            np.where(rng.random(n_rows) < rng.uniform(0.15, 0.5), 0, -1)
            for _ in range(n_columns)
        ]
        fold = balanced_folds(columns, n_rows, 2)
        for column in columns:
            labelled = fold[column == 0]
            assert not len(labelled) or (
                (labelled != 0).any() and (labelled != 1).any()
            )


def test_many_sparse_columns_are_spread():
    """Sorting by columns leaves ten times this imbalance in the last columns."""
    rng = np.random.default_rng(1)
    columns = [np.where(rng.random(2000) < s, -1, 0) for s in rng.uniform(0.9, 1, 20)]
    fold = balanced_folds(columns, 2000, 8, np.random.RandomState(0))
    spread = [np.ptp(np.bincount(fold[c == 0], minlength=8)) for c in columns]
    assert max(spread) <= 2


# -- TaskKFold: what it reads ----------------------------------------------------

TWELVE = 4 * ["a", None, "b"]
FORMS = {
    "list": TWELVE,
    "object": np.array(TWELVE, dtype=object),
    "string": pd.Series(TWELVE, dtype="string"),
    "category": pd.Series(pd.Categorical(TWELVE)),
    "float": np.array(4 * [0, np.nan, 1]),
    "Int64": pd.Series(4 * [0, None, 1], dtype="Int64"),
    "Float64": pd.Series(4 * [0, None, 1], dtype="Float64"),
    "boolean": pd.Series(4 * [True, None, False], dtype="boolean"),
    "column": np.array(4 * [0, np.nan, 1])[:, None],
    "frame": pd.DataFrame({"a": 4 * [0, None, 1], "b": TWELVE}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_labels_is_balanced(form):
    fold = held_out(TaskKFold(4, random_state=0), FORMS[form])
    for kind in range(3):
        assert counts_of(fold, np.arange(12) % 3 == kind).tolist() == [1, 1, 1, 1]


def test_numbers_are_balanced_by_presence_and_rank():
    rng = np.random.default_rng(0)
    y = rng.lognormal(size=(80, 1))
    y[rng.permutation(80)[:20]] = np.nan
    fold = held_out(TaskKFold(4, random_state=0), y)
    assert counts_of(fold, np.isnan(y[:, 0])).tolist() == [5, 5, 5, 5]
    rank = np.argsort(np.argsort(y[:, 0]))
    for quarter in range(0, 60, 20):  # of five rows each fold has one in four
        here = (rank >= quarter) & (rank < quarter + 20)
        assert counts_of(fold, here).tolist() == [5, 5, 5, 5]


def test_the_only_label_of_a_class_or_a_task_stays_in_training():
    y = np.array(["a", "b"] * 10 + ["c", "a"])
    shop = np.array([0, 1, 1, 0] * 5 + [0, 2])
    fold = held_out(TaskKFold(4, random_state=0), y, shop)
    np.testing.assert_array_equal(np.flatnonzero(fold < 0), [20, 21])


def test_whole_numbers_of_many_values_are_amounts():
    y = np.arange(40)
    assert (held_out(TaskKFold(4, random_state=0), y) >= 0).all()
    with pytest.raises(ValueError, match="20 of them stay in training"):
        folds_of(TaskKFold(4), np.arange(20))


def test_dates_and_decimals_are_numbers():
    dates = pd.Series(pd.date_range("2020-01-01", periods=40))
    dates[::4] = pd.NaT
    fold = held_out(TaskKFold(5, random_state=0), dates)
    assert counts_of(fold, dates.isna().to_numpy()).tolist() == [2, 2, 2, 2, 2]


def test_rows_without_labels_are_split_as_well():
    fold = held_out(TaskKFold(3, random_state=0), groups=np.repeat([0, 1], 6))
    assert counts_of(fold, np.arange(12) < 6).tolist() == [2, 2, 2]
    sizes = np.bincount(held_out(TaskKFold(3), X=np.zeros((10, 1))))
    assert sorted(sizes) == [3, 3, 4]


@pytest.mark.parametrize("column", ["shop", 1, -1])
def test_row_tasks_come_from_a_column_or_from_groups(column):
    shop = np.repeat(["x", "y"], [16, 8])
    X = pd.DataFrame({"size": np.arange(24.0), "shop": shop})
    y = np.random.default_rng(0).normal(size=24)
    by_column = held_out(TaskKFold(4, task_column=column, random_state=0), y, X=X)
    by_groups = held_out(TaskKFold(4, random_state=0), y, shop, X)
    instead = held_out(TaskKFold(4, task_column="size", random_state=0), y, shop, X)
    np.testing.assert_array_equal(by_column, by_groups)
    np.testing.assert_array_equal(instead, by_groups)
    assert counts_of(by_column, shop == "x").tolist() == [4, 4, 4, 4]
    assert counts_of(by_column, shop == "y").tolist() == [2, 2, 2, 2]


def test_the_task_column_may_be_in_a_list_or_an_array():
    X = np.c_[np.arange(24.0), np.repeat([3, 7], [16, 8])]
    cv = TaskKFold(4, task_column=-1, random_state=0)
    folds = held_out(cv, np.zeros(24), X=X), held_out(cv, np.zeros(24), X=X.tolist())
    np.testing.assert_array_equal(*folds)
    assert counts_of(folds[0], X[:, 1] == 7).tolist() == [2, 2, 2, 2]


# -- TaskKFold: grouped ----------------------------------------------------------


@given(
    sizes=st.lists(st.integers(1, 12), min_size=5, max_size=12),
    n_folds=st.integers(2, 5),
    seed=st.integers(0, 9),
)
def test_whole_tasks_are_held_out_in_folds_of_like_size(sizes, n_folds, seed):
    group = np.repeat(np.arange(len(sizes)), sizes)
    cv = TaskKFold(n_folds, grouped=True, random_state=seed)
    fold = held_out(cv, np.random.default_rng(seed).normal(size=len(group)), group)
    assert (fold >= 0).all()
    assert all(len(set(fold[group == g])) == 1 for g in range(len(sizes)))
    assert np.ptp(np.bincount(fold)) <= max(sizes)


def test_classes_decide_between_folds_of_equal_size():
    group = np.repeat(np.arange(8), 3)
    y = np.where(group < 4, "a", "b")
    for seed in range(10):
        fold = held_out(TaskKFold(4, grouped=True, random_state=seed), y, group)
        assert counts_of(fold, y == "a").tolist() == [3, 3, 3, 3]


def test_a_task_that_alone_has_a_class_stays_in_training():
    group = np.repeat(np.arange(5), 4)
    y = np.where(group == 2, "c", np.tile(["a", "b"], 10))
    fold = held_out(TaskKFold(4, grouped=True, random_state=0), y, group)
    np.testing.assert_array_equal(fold == -1, group == 2)
    with pytest.raises(ValueError, match="There are 5, and 1 of them stay in training"):
        folds_of(TaskKFold(5, grouped=True), y, group)


# -- TaskKFold: the contract of splitters ----------------------------------------


def test_seeds_and_shuffle_decide_on_the_folds():
    y = np.random.default_rng(0).integers(0, 3, 50)
    one, same, other = (held_out(TaskKFold(random_state=s), y) for s in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    plain, again = (held_out(TaskKFold(shuffle=False), y) for _ in range(2))
    np.testing.assert_array_equal(plain, again)
    assert np.ptp([counts_of(plain, y == c) for c in range(3)], axis=1).max() <= 1


def test_it_looks_like_a_splitter():
    cv = TaskKFold(3, task_column="shop", random_state=1)
    assert repr(cv).replace("\n     ", "") == (
        "TaskKFold(grouped=False, n_splits=3, random_state=1, shuffle=True,"
        "task_column='shop')"
    )
    assert cv.get_n_splits() == cv.get_n_splits(np.zeros((4, 1)), None, None) == 3
    assert sk.check_cv(cv) is cv


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: TaskKFold(1), "n_splits must be an int of at least 2; got 1"),
        (lambda: TaskKFold(2.0), "n_splits must be an int"),
        (
            lambda: TaskKFold(shuffle=False, random_state=0),
            "random_state has no effect",
        ),
        (lambda: folds_of(TaskKFold(4), np.ones(3)), "n_splits=4 needs as many rows"),
        (lambda: folds_of(TaskKFold(grouped=True), np.ones(9)), "no tasks are given"),
        (
            lambda: folds_of(TaskKFold(2), np.ones(3), ["a", None, "b"]),
            "task is missing in 1 rows",
        ),
        (
            lambda: folds_of(TaskKFold(2, task_column="shop"), np.ones(3)),
            "task_column='shop' is not a column of X",
        ),
        (
            lambda: folds_of(TaskKFold(2), np.ones(6), groups=np.ones((6, 2))),
            "task must have shape",
        ),
    ],
)
def test_what_cannot_be_split_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


# -- TaskKFold: in scikit-learn's tools ------------------------------------------


@pytest.fixture(scope="module")
def gaps():
    """X, two class tasks with NaN among the labels."""
    X, y = classification_data()
    return X, missing(y)


def quick(**changes):
    return exact("classifier", max_epochs=5, **changes)


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # theirs
def test_it_cures_the_search_over_classifiers_with_missing_labels(gaps):
    with pytest.raises(ValueError, match="contains NaN"):
        sk.GridSearchCV(quick(), {"lr": [0.1]}, cv=3).fit(gaps[0], gaps[1][:, 0])
    search = sk.GridSearchCV(
        quick(), {"lr": [0.01, 0.1]}, cv=TaskKFold(3, random_state=0)
    ).fit(*gaps)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert search.best_score_ > 0.6


def test_it_serves_the_other_tools(gaps):
    cv = TaskKFold(3, random_state=0)
    assert np.isfinite(sk.cross_validate(quick(), *gaps, cv=cv)["test_score"]).all()
    *_, scores = sk.learning_curve(quick(), *gaps, cv=cv, train_sizes=[0.5, 1.0])
    assert np.isfinite(scores).all()
    # Unless told how many rows to begin with, it counts classes in y.
    halving = sk.HalvingGridSearchCV(
        quick(), {"lr": [0.01, 0.1, 0.2]}, cv=cv, min_resources=24, random_state=0
    ).fit(*gaps)
    assert np.isfinite(halving.cv_results_["mean_test_score"]).all()


def test_strings_with_none_pass_through_a_search(gaps):
    X, _ = gaps
    y = np.where(X[:, 0] > 0, "yes", "no").astype(object)
    y[::5] = None
    search = sk.GridSearchCV(quick(), {"lr": [0.1]}, cv=TaskKFold(3, random_state=0))
    assert search.fit(X, y).best_score_ > 0.7


@pytest.mark.parametrize("request_of_split", ["groups", "task"])
def test_groups_are_routed(request_of_split):
    X, y, ids = row_task_data(60)
    model = exact("regressor", max_epochs=2)
    cv = TaskKFold(3, grouped=True, random_state=0)
    params = {"task": ids, "groups": ids}
    with sklearn.config_context(enable_metadata_routing=True):
        if request_of_split == "task":
            cv = cv.set_split_request(groups="task")
            del params["groups"]
        with pytest.warns(UserWarning, match="task"):  # unseen tasks are pooled
            results = sk.cross_validate(
                model, X, y, cv=cv, params=params, return_indices=True
            )
    assert np.isfinite(results["test_score"]).all()
    for train, test in zip(*results["indices"].values(), strict=True):
        assert not set(ids[train]) & set(ids[test])


# -- TaskKFold: as cv of our estimators ------------------------------------------


def test_it_sees_tasks_and_classes_inside_an_estimator():
    rng = np.random.default_rng(0)
    ids = np.repeat([5, 6, 7], 30)
    y = np.tile(np.arange(30.0), 3)  # too many classes to be told from numbers
    y[:2] = np.nan
    X = rng.normal(size=(90, 2))
    data = check_task_data(MultiTaskNetClassifier(), X, y, ids, None, kind="class")
    for cv in (TaskKFold(3), TaskKFold(3, grouped=True), TaskKFold(3, task_column="x")):
        splits = validation_folds(cv, data, np.random.RandomState(0))
        again = validation_folds(cv, data, np.random.RandomState(0))
        for (train, valid), (_, same) in zip(splits, again, strict=True):
            np.testing.assert_array_equal(valid, same)
            assert set(data.y[train, 0]) == set(range(30))
            if cv.grouped:
                assert len(set(data.task[valid])) == 1
                assert not set(data.task[valid]) & set(data.task[train])
            else:
                assert set(np.bincount(data.task[valid])) <= {9, 10, 11}
    fixed = TaskKFold(3, random_state=1)
    one, other = (
        validation_folds(fixed, data, np.random.RandomState(s))[0][1] for s in (0, 1)
    )
    np.testing.assert_array_equal(one, other)


def test_an_estimator_fits_with_it():
    X, y, ids = row_task_data()
    settings = {"early_stopping": True, "n_estimators": 3, "max_epochs": 3}
    model = exact("regressor", **settings, task_column=-1)
    model.set_params(cv=TaskKFold(3, task_column=-1, grouped=True))
    table = np.c_[X, ids]
    first, second = (clone(model).fit(table, y).predict(table) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    model.set_params(cv=TaskKFold(3, grouped=True), task_column=None)
    with pytest.raises(ValueError, match="no tasks are given"):
        model.fit(X, y)


# -- cross_val_predict -----------------------------------------------------------


@pytest.mark.parametrize("cv", [3, sk.KFold(4, shuffle=True, random_state=0)])
@pytest.mark.parametrize("n_tasks", [1, 3])
def test_it_equals_scikit_learn_on_complete_numbers(cv, n_tasks):
    X, y = regression_data(n_tasks=n_tasks)
    y = y[:, 0] if n_tasks == 1 else y
    splitter = TaskKFold(3, shuffle=False) if cv == 3 else cv
    np.testing.assert_array_equal(
        cross_val_predict(Ridge(), X, y, cv=cv),
        sk.cross_val_predict(Ridge(), X, y, cv=splitter),
    )


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_it_equals_scikit_learn_on_complete_classes(method):
    X, y = classification_data()
    y = np.array(["low", "mid", "top"])[y[:, 1].astype(int)]
    cv = sk.StratifiedKFold(4)
    np.testing.assert_array_equal(
        cross_val_predict(LogisticRegression(), X, y, cv=cv, method=method),
        sk.cross_val_predict(LogisticRegression(), X, y, cv=cv, method=method),
    )


def test_it_equals_scikit_learn_on_several_complete_classes():
    X, y = classification_data()
    forest = RandomForestClassifier(5, random_state=0)
    cv = TaskKFold(3, random_state=0)
    for ours, theirs in zip(
        cross_val_predict(forest, X, y, cv=cv, method="predict_proba"),
        sk.cross_val_predict(forest, X, y, cv=cv, method="predict_proba"),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_scikit_learn_turns_missing_labels_into_a_class():
    """The day this fails, the guide can stop warning of it."""
    y = np.array([0.0, 1.0, 2.0, np.nan] * 6)
    X = np.zeros((24, 1))
    spy = Spy([])
    proba = sk.cross_val_predict(spy, X, y, cv=sk.KFold(3), method="predict_proba")
    assert proba.shape == (24, 4)
    assert set(spy.seen[0]) == {0, 1, 2, 3}


def test_missing_labels_reach_the_estimator_as_they_are(gaps):
    y = np.array([0.0, 1.0, 2.0, np.nan] * 6)
    spy = Spy([])
    proba = cross_val_predict(spy, np.zeros((24, 1)), y, method="predict_proba")
    assert proba.shape == (24, 3)
    assert np.isnan(spy.seen[0]).any()
    proba = cross_val_predict(quick(), *gaps, cv=3, method="predict_proba")
    assert [p.shape for p in proba] == [(80, 2), (80, 3)]
    for p in proba:
        np.testing.assert_allclose(p.sum(axis=1), 1.0)
    predicted = cross_val_predict(quick(), *gaps, cv=3)
    np.testing.assert_array_equal(predicted[:, 1], proba[1].argmax(axis=1))


@pytest.mark.parametrize("several", [False, True])
def test_classes_that_a_fold_lacks_have_probability_zero(several):
    y = np.repeat(["a", "b", "c"], 8)
    X = np.arange(24.0)[:, None]
    labels = np.stack([y, y[::-1]], axis=1) if several else y
    proba = cross_val_predict(
        KNeighborsClassifier(1), X, labels, cv=sk.KFold(3), method="predict_proba"
    )
    expected = np.repeat([[0, 1, 0], [1, 0, 0], [0, 1, 0]], 8, axis=0)
    expected[12:16] = [0, 0, 1]  # neighbours on the other side
    if not several:
        np.testing.assert_array_equal(proba, expected)
        return
    np.testing.assert_array_equal(proba[0], expected)
    np.testing.assert_array_equal(proba[1], expected[:, ::-1])


def test_other_values_for_classes_that_a_fold_lacks():
    y = np.repeat(["a", "b", "c"], 8)
    X = np.arange(24.0)[:, None]
    ask = {"estimator": LogisticRegression(), "X": X, "y": y, "cv": sk.KFold(3)}
    log_proba = cross_val_predict(**ask, method="predict_log_proba")
    assert np.isneginf(log_proba[np.arange(24), np.repeat([0, 1, 2], 8)]).all()
    assert np.isfinite(log_proba).sum() == 48
    with pytest.raises(ValueError, match="lacks some of the classes"):
        cross_val_predict(**ask, method="decision_function")


def test_rows_that_are_never_held_out_have_no_prediction():
    X = np.arange(24.0)[:, None]
    cv = sk.TimeSeriesSplit(3)
    expected = np.arange(24) < 6
    names = np.tile(["a", "b"], 12)
    for y, method, is_missing in (
        (np.arange(24.0), "predict", np.isnan),
        (np.tile([0, 1], 12), "predict", np.isnan),
        (names, "predict", pd.isna),
        (names, "predict_proba", lambda p: np.isnan(p).all(axis=1)),
    ):
        model = Ridge() if y[1] == 1.0 and y[2] == 2.0 else KNeighborsClassifier(1)
        with pytest.warns(UserWarning, match="6 of 24 rows are in no test set"):
            predicted = cross_val_predict(model, X, y, cv=cv, method=method)
        np.testing.assert_array_equal(is_missing(predicted), expected)


def test_rows_with_the_only_label_of_a_class_have_no_prediction():
    y = np.array(["a", "b"] * 10 + ["c"])
    X = np.arange(21.0)[:, None]
    with pytest.warns(UserWarning, match="1 of 21 rows"):
        proba = cross_val_predict(KNeighborsClassifier(1), X, y, method="predict_proba")
    assert proba.shape == (21, 3)
    assert np.isnan(proba).all(axis=1).tolist() == [False] * 20 + [True]


class Mixed(BaseEstimator):
    """Predict a frame, and probabilities by name for the task of classes."""

    def __init__(self, form=list):
        self.form = form

    def fit(self, X, y):
        self.task_names_ = list(y.columns)
        self.mean_ = y["size"].mean()
        self.labels_ = np.unique(y["kind"].dropna())
        self.classes_ = (
            [None, self.labels_] if self.form is list else {"kind": self.labels_}
        )
        return self

    def predict(self, X):
        return pd.DataFrame(
            {"size": X["x"] + self.mean_, "kind": self.labels_[0]}, index=X.index
        )

    def predict_proba(self, X):
        return {"kind": np.eye(len(self.labels_))[np.zeros(len(X), int)]}


@pytest.mark.parametrize("form", [list, dict])
def test_frames_and_dicts_come_back_as_they_are(form):
    index = pd.Index([f"row {i}" for i in range(12)])
    X = pd.DataFrame({"x": np.arange(12.0)}, index=index)
    y = pd.DataFrame({"size": 1.0, "kind": 4 * ["a"] + 8 * ["b"]}, index=index)
    cv = sk.KFold(3)
    frame = cross_val_predict(Mixed(form), X, y, cv=cv)
    pd.testing.assert_index_equal(frame.index, index)
    np.testing.assert_array_equal(frame["size"], X["x"] + 1)
    assert frame["kind"].tolist() == 4 * ["b"] + 8 * ["a"]
    proba = cross_val_predict(Mixed(form), X, y, cv=cv, method="predict_proba")
    assert list(proba) == ["kind"]
    expected = np.repeat([[0, 1], [1, 0], [1, 0]], 4, axis=0)
    np.testing.assert_array_equal(proba["kind"], expected)
    with pytest.warns(UserWarning, match="in no test set"):
        partial = cross_val_predict(Mixed(form), X, y, cv=sk.TimeSeriesSplit(3))
    assert partial["size"].isna().tolist() == [True] * 3 + [False] * 9


# -- cross_val_predict: row tasks ------------------------------------------------


class Offset(RegressorMixin, BaseEstimator):
    """Predict the mean of the row's task."""

    __metadata_request__fit = {"task": True}
    __metadata_request__predict = {"task": True}

    def fit(self, X, y, task=None):
        self.mean_ = {t: y[task == t].mean() for t in np.unique(task)}
        return self

    def predict(self, X, task=None):
        return np.array([self.mean_[t] for t in task])


@pytest.fixture(scope="module")
def rows():
    X, y, ids = row_task_data(60, 4)
    splits = folds_of(TaskKFold(5, shuffle=False), y, ids, X)
    expected = np.full(60, np.nan)
    for train, test in splits:
        model = Offset().fit(X[train], y[train], ids[train])
        expected[test] = model.predict(X[test], ids[test])
    return X, y, ids, expected


@pytest.mark.parametrize("routing", [False, True])
def test_tasks_are_split_and_passed_to_fit_and_predict(rows, routing):
    X, y, ids, expected = rows
    pipeline = make_pipeline(StandardScaler(), Offset())
    name = "task" if routing else "offset__task"
    with sklearn.config_context(enable_metadata_routing=routing):
        alone = cross_val_predict(Offset(), X, y, params={"task": ids})
        piped = cross_val_predict(
            pipeline, X, y, params={name: ids}, cv=TaskKFold(shuffle=False), groups=ids
        )
    np.testing.assert_array_equal(alone, expected)
    np.testing.assert_array_equal(piped, expected)


def test_the_task_and_its_column_say_the_same():
    X, y, ids = row_task_data(60, 4)
    table = pd.DataFrame(X, columns=["a", "b", "c"]).assign(shop=ids)
    model = exact("regressor", max_epochs=5)
    by_task = cross_val_predict(model, X, y, params={"task": ids})
    by_column = cross_val_predict(clone(model).set_params(task_column="shop"), table, y)
    np.testing.assert_allclose(by_task, by_column, rtol=1e-6)
    assert np.isfinite(by_task).all()


def test_parameters_that_are_not_one_a_row_are_left_whole():
    class Asking(Ridge):
        def fit(self, X, y, sample_weight=None, note=None, scale=None):
            assert len(sample_weight) == len(X)
            assert note == "x" * 20
            assert scale == 2.0
            return super().fit(X, y, sample_weight)

    X, y = regression_data(20, 1)
    weight = np.ones(20)
    params = {"sample_weight": weight, "note": "x" * 20, "scale": 2.0}
    np.testing.assert_allclose(
        cross_val_predict(Asking(), X, y[:, 0], params=params),
        cross_val_predict(Ridge(), X.tolist(), y[:, 0].tolist()),
    )


@pytest.mark.parametrize("routing", [False, True])
def test_splits_may_be_listed(routing):
    X, y = regression_data(20, 2)
    splits = list(sk.KFold(4).split(X))
    with sklearn.config_context(enable_metadata_routing=routing):
        listed = cross_val_predict(Ridge(), X, y, cv=splits)
        split = cross_val_predict(Ridge(), X, y, cv=sk.KFold(4), n_jobs=1)
    np.testing.assert_array_equal(listed, split)


def test_rows_held_out_twice_and_unknown_methods_are_refused():
    X, y = regression_data(20, 1)
    with pytest.raises(ValueError, match=r"Row \d+ is in 2 test sets"):
        cross_val_predict(Ridge(), X, y, cv=sk.RepeatedKFold(n_splits=2, n_repeats=2))
    with pytest.raises(ValueError, match="method must be one of"):
        cross_val_predict(Ridge(), X, y, method="transform")


# -- weights of tasks ------------------------------------------------------------


@given(
    n_tasks=st.integers(1, 4),
    levels=st.lists(st.sampled_from([0, 0.1, 0.5, 1, 2, 3, 7]), min_size=1, max_size=3),
)
def test_a_grid_holds_every_direction_once(n_tasks, levels):
    grid = task_weight_grid(n_tasks, levels=levels)
    assert grid[0] == (1.0,) * n_tasks
    array = np.array(grid)
    np.testing.assert_allclose(array.sum(axis=1), n_tasks)
    between = np.abs(array[:, None] - array).max(axis=2)
    assert (between[~np.eye(len(grid), dtype=bool)] > 1e-9).all()
    assert len(set(grid)) == len(grid)
    wanted = np.stack(np.meshgrid(*[levels] * n_tasks), axis=-1).reshape(-1, n_tasks)
    for weights in wanted[wanted.any(axis=1)]:
        weights = weights * n_tasks / weights.sum()
        assert np.abs(array - weights).max(axis=1).min() < 1e-9


def test_few_tasks_change_when_asked():
    grid = task_weight_grid(["a", "b", "c"], levels=(1, 3), n_changed=1)
    expected = [[1, 1, 1], [0.6, 0.6, 1.8], [0.6, 1.8, 0.6], [1.8, 0.6, 0.6]]
    np.testing.assert_allclose([grid[0], *sorted(grid[1:])], expected)


def test_tasks_may_have_their_own_levels():
    assert task_weight_grid({"a": (1, 3), "b": [1]}) == [(1.0, 1.0), (1.5, 0.5)]


def test_a_grid_without_tasks_or_with_bad_levels_is_refused():
    with pytest.raises(ValueError, match="no tasks"):
        task_weight_grid([])
    with pytest.raises(ValueError, match="levels must be finite and zero or more"):
        task_weight_grid(2, levels=(1, -1))


def test_drawn_weights_sum_to_the_number_of_tasks():
    draws = TaskWeights(3).rvs(2000, random_state=0)
    assert draws.shape == (2000, 3)
    np.testing.assert_allclose(draws.sum(axis=1), 3.0)
    np.testing.assert_allclose(draws.mean(axis=0), 1.0, atol=0.05)
    closer = TaskWeights(3, alpha=50.0).rvs(2000, random_state=0)
    # The variance of a share of a Dirichlet distribution, times n_tasks squared.
    assert closer[:, 0].var() == pytest.approx(9 * (1 / 3) * (2 / 3) / 151, rel=0.1)
    assert TaskWeights(3).rvs(random_state=0).shape == (3,)


@pytest.mark.parametrize("arguments", [(0,), (2, 0.0), (2, np.inf)])
def test_distributions_that_are_none_are_refused(arguments):
    with pytest.raises(ValueError, match=r"n_tasks must|alpha must"):
        TaskWeights(*arguments)


def test_weights_are_searched():
    X, y = regression_data(30, 2)
    model = exact("regressor", max_epochs=2)
    cv = TaskKFold(2, random_state=0)
    search = sk.GridSearchCV(
        model, {"task_weights": task_weight_grid(2, levels=(1, 4))}, cv=cv
    ).fit(X, y)
    assert pd.DataFrame(search.cv_results_).groupby("param_task_weights").ngroups == 3
    search = sk.RandomizedSearchCV(
        model, {"task_weights": TaskWeights(2)}, n_iter=2, cv=cv, random_state=0
    ).fit(X, y)
    assert search.best_params_["task_weights"].shape == (2,)
