"""Weights of classes."""

import copy
import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from skmtl import MixedTaskNet, MultiTaskNetClassifier
from skmtl._tasks import check_class_weight

from .instances import classification_data, exact, frozen, row_task_data, small

FAST = {"max_epochs": 2, "n_estimators": 1, "device": "cpu", "random_state": 0}


def proba_of(model, X, y, *, task=None, **kwargs):
    model = clone(model).fit(X, y, task=task, **kwargs)
    proba = model.predict_proba(X, task=task)
    return proba if isinstance(proba, list) else [proba]


def assert_same(left, right):
    for one, other in zip(left, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)


def crossed_data(n_groups=8, *, hidden=0.0):
    """Draw two tasks in which every class has the same moments of X.

    Encodings look at weights of rows and not of classes; here they agree. The first
    task is the sign of x0 x1, and its second class is twice as frequent; the second
    task is the sign of x0 x2. Groups of rows lack labels, and have weights of cells.
    """
    rng = np.random.default_rng(0)
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=3)))
    X = np.tile(signs, (n_groups, 1))
    y = np.column_stack([X[:, 0] * X[:, 1] > 0, X[:, 0] * X[:, 2] > 0]).astype(float)
    group = np.repeat(np.arange(n_groups), 8)
    absent = rng.random((n_groups, 2)) < hidden
    absent[np.arange(n_groups), np.arange(n_groups) % 2] = False
    y[absent[group]] = np.nan
    weight = rng.uniform(0.5, 2, size=(n_groups, 2))[group]
    rows = np.repeat(np.arange(len(X)), np.where(y[:, 0] == 1, 2, 1))
    return frozen(X[rows], y[rows], weight[rows], group[rows])


# -- what weights mean -----------------------------------------------------------


def test_integer_class_weights_equal_repeated_rows():
    X, y, _, _ = crossed_data()
    y = y[:, 0]
    settings = {"relevance": None}
    model = exact("classifier", class_weight={0.0: 1, 1.0: 3}, **settings).fit(X, y)
    rows = np.repeat(np.arange(len(y)), np.where(y == 1, 3, 1))
    repeated = exact("classifier", **settings).fit(X[rows], y[rows])
    np.testing.assert_allclose(
        model.predict_proba(X), repeated.predict_proba(X), rtol=0, atol=1e-9
    )
    plain = exact("classifier", **settings).fit(X, y)
    assert np.abs(model.predict_proba(X) - plain.predict_proba(X)).max() > 0.01


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_class_weights_equal_weights_of_cells(early_stopping, weighted):
    X, y, own, group = crossed_data(hidden=0.3)
    assert np.isnan(y).any()
    own = own if weighted else np.ones(y.shape)
    chosen = [{0: 1, 1: 4}, {0: 2, 1: 1}]
    cells = np.ones(y.shape)
    for j, weights in enumerate(chosen):
        known = ~np.isnan(y[:, j])
        cells[known, j] = [weights[label] for label in y[known, j]]
    model = exact("classifier", max_epochs=20, relevance=None)
    if early_stopping:
        split = np.flatnonzero(group >= 2), np.flatnonzero(group < 2)
        model.set_params(early_stopping=True, cv=[split])
    by_class = clone(model).set_params(class_weight=chosen)
    assert_same(
        proba_of(by_class, X, y, sample_weight=own),
        proba_of(model, X, y, sample_weight=own * cells),
    )


def test_a_common_factor_changes_nothing():
    X, y = classification_data()
    model = exact("classifier")
    plain = proba_of(model, X, y[:, 0])
    twice = proba_of(model.set_params(class_weight={0: 7, 1: 7}), X, y[:, 0])
    assert_same(plain, twice)


def test_a_class_of_weight_zero_is_never_learned():
    X, y = classification_data()
    model = exact("classifier", class_weight={0.0: 0, 1.0: 1, 2.0: 1}).fit(X, y[:, 1])
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.predict_proba(X)[:, 0].max() < 0.1


def test_extreme_weights_win_as_scikit_learn_wants_it():
    """As check_class_weight_classifiers, with several tasks and row tasks."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 2))
    y = rng.integers(2, size=(100, 2))
    weights = {0: 1000, 1: 0.0001}
    model = small("classifier", class_weight=[weights, {0: 0.0001, 1: 1000}])
    predicted = model.fit(X, y).predict(X)
    assert (predicted[:, 0] == 0).mean() > 0.87
    assert (predicted[:, 1] == 1).mean() > 0.87
    task = np.arange(100) % 4
    model = small("classifier", class_weight=weights).fit(X, y[:, 0], task=task)
    assert (model.predict(X, task=task) == 0).mean() > 0.87


def test_balanced_lifts_a_rare_class():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = (X[:, 0] + 0.7 * rng.normal(size=300) > 1.6).astype(int)
    assert 0.05 < y.mean() < 0.15
    plain = exact("classifier").fit(X, y).predict(X)
    balanced = exact("classifier", class_weight="balanced").fit(X, y).predict(X)
    assert balanced[y == 1].mean() > plain[y == 1].mean() + 0.1
    assert balanced[y == 1].mean() > 0.75


# -- balanced --------------------------------------------------------------------


@given(seed=st.integers(0, 999), weighted=st.booleans(), share=st.floats(0, 0.7))
def test_balanced_equals_scikit_learn_on_labelled_cells(seed, weighted, share):
    rng = np.random.default_rng(seed)
    codes = rng.integers(3, size=(40, 2)).astype(float)
    codes[:3] = np.arange(3)[:, None]
    hidden = rng.random(codes.shape) < share
    hidden[:3] = False
    codes[hidden] = np.nan
    weight = rng.uniform(0.5, 2, size=codes.shape) if weighted else np.ones(codes.shape)
    classes = [np.array(["a", "b", "c"])] * 2
    found = check_class_weight("balanced", ["s", "t"], classes, codes, weight)
    for factors, column, own in zip(found, codes.T, weight.T, strict=True):
        known = ~np.isnan(column)
        expected = compute_class_weight(
            "balanced",
            classes=np.arange(3.0),
            y=column[known],
            sample_weight=own[known],
        )
        np.testing.assert_allclose(factors, expected)


def test_balanced_equals_sample_weights_of_scikit_learn():
    X, y, _, _ = crossed_data()
    model = exact("classifier", relevance=None)  # for which classes count alike
    balanced = clone(model).set_params(class_weight="balanced")
    weight = np.column_stack([compute_sample_weight("balanced", c) for c in y.T])
    assert len(np.unique(weight[:, 0])) == 2
    assert_same(
        proba_of(balanced, X, y),
        proba_of(model, X, y, sample_weight=weight),
    )


def test_balanced_leaves_numbers_alone():
    classes = [None, np.array([0, 1])]
    y = np.array([[0.5, 0], [1.5, 0], [2.5, 1]])
    found = check_class_weight("balanced", ["a", "b"], classes, y, np.ones((3, 2)))
    assert found[0] is None
    np.testing.assert_allclose(found[1], [0.75, 1.5])
    assert check_class_weight(None, ["a", "b"], classes, y, np.ones((3, 2))) is None


# -- forms -----------------------------------------------------------------------


def test_a_list_and_a_dict_by_name_are_the_same():
    X, y = classification_data()
    y = pd.DataFrame(y, columns=["two", "three"]).astype(int).astype(str)
    three = {"0": 1, "1": 2}  # a class that is left out counts 1
    model = exact("classifier", max_epochs=10)
    proba = [
        proba_of(clone(model).set_params(class_weight=form), X, y)
        for form in (
            ["balanced", three],
            {"three": three, "two": "balanced"},
            ["balanced", three | {"2": 1.0}],
        )
    ]
    assert_same(proba[0], proba[1])
    assert_same(proba[0], proba[2])
    only = proba_of(clone(model).set_params(class_weight={"three": three}), X, y)
    none = proba_of(clone(model).set_params(class_weight=[None, three]), X, y)
    assert_same(only, none)
    for empty in ({}, [None, None]):
        same = proba_of(clone(model).set_params(class_weight=empty), X, y)
        assert_same(same, proba_of(model, X, y))


def test_class_weights_of_row_tasks_serve_all_tasks():
    X, y, task = row_task_data()
    y = (y > 1).astype(int)
    model = exact("classifier", max_epochs=20)
    weights = {0: 1.0, 1: 5.0}
    by_class = proba_of(clone(model).set_params(class_weight=weights), X, y, task=task)
    plain = proba_of(model, X, y, task=task)
    assert (by_class[0][:, 1] > plain[0][:, 1]).mean() > 0.9


def test_mixed_tasks_weigh_classes():
    X, y = classification_data()
    frame = pd.DataFrame({"a": X[:, 0], "b": np.where(y[:, 0] > 0, "yes", "no")})
    model = exact("mixed", class_weight={"b": {"yes": 1000, "no": 0.001}})
    assert (model.fit(X, frame).predict(X)["b"] == "yes").all()
    for balanced in ("balanced", {"b": "balanced"}, [None, "balanced"]):
        model.set_params(class_weight=balanced, max_epochs=2).fit(X, frame)
    with pytest.raises(ValueError, match="task 'a', whose labels are numbers"):
        model.set_params(class_weight=["balanced"] * 2).fit(X, frame)


def test_a_fold_may_lack_a_class_that_the_dict_names():
    X, y = classification_data()
    rows = y[:, 1] != 2
    model = exact("classifier", class_weight={0: 1, 1: 2, 2: 3}, max_epochs=2)
    model.fit(X[rows], y[rows, 1])
    assert model.classes_.tolist() == [0, 1]
    balanced = exact("classifier", class_weight="balanced", max_epochs=2)
    # A member whose training rows lack a class of the whole table.
    split = [(np.flatnonzero(rows), np.flatnonzero(~rows))]
    balanced.set_params(cv=split, early_stopping=True).fit(X, y[:, 1])
    assert np.isfinite(balanced.predict_proba(X)).all()


def test_fits_clone_pickle_and_leave_the_argument_alone():
    X, y = classification_data()
    weights = [{0: 1, 1: 2}, "balanced"]
    model = small("classifier", class_weight=weights, max_epochs=2).fit(X, y)
    assert model.class_weight is weights
    assert weights == [{0: 1, 1: 2}, "balanced"]
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert clone(model).class_weight == weights
    assert copy.deepcopy(model).class_weight == weights


# -- errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ("even", "The 'class_weight' parameter of MultiTaskNetClassifier must be"),
        ({0: 1, 1: 2}, "one dict of weights by class, but there are 2 tasks"),
        (["balanced"], "class_weight has 1 entries, but there are 2 tasks"),
        ({"a": "balanced"}, "class_weight names 'a', which is not a task"),
        (
            ["even", None],
            "class_weight='even' for task 0 is not known; pass 'balanced'",
        ),
        ([None, 3], "class_weight of task 1 is 3; pass 'balanced'"),
        ([{0: -1, 1: 2}, None], "class_weight of task 0 must hold finite weights"),
        ([{0: np.inf, 1: 2}, None], "class_weight of task 0 must hold finite weights"),
        ([{0: np.nan, 1: 2}, None], "class_weight of task 0 must hold finite weights"),
        ([{0: 0, 1: 0}, None], "of zero or more, not all zero"),
        ([None, {0: 1, 1: 1, "2": 1}], "task 1 names the class '2', .* leaves out 2"),
    ],
    ids=str,
)
def test_errors_say_what_is_wrong(class_weight, message):
    X, y = classification_data()
    with pytest.raises(ValueError, match=message):
        MultiTaskNetClassifier(class_weight=class_weight, **FAST).fit(X, y.astype(int))


def test_a_mixed_table_refuses_one_dict_of_classes():
    X, y = classification_data()
    frame = pd.DataFrame({"a": X[:, 0], "b": np.where(y[:, 0] > 0, "yes", "no")})
    model = MixedTaskNet(class_weight={"yes": 2.0, "no": 1.0}, **FAST)
    with pytest.raises(ValueError, match="Pass a list, one dict a task, or a dict by"):
        model.fit(X, frame)
