"""The guard against negative transfer: networks of single tasks in the same bank."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from skmtl._net import guard_plans
from skmtl._net._transfer import share_that_pays
from skmtl.architecture import HardSharing
from skmtl.encoding import Standard
from skmtl.loss import Huber
from skmtl.model_selection import FusedGridSearchCV
from skmtl.weighting import PCGrad

from .instances import (
    classification_data,
    missing,
    regression_data,
    row_task_data,
    small,
)


def unrelated_data(n_samples=150, seed=0):
    """Draw three targets that have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 6))
    y = np.sin(2 * X[:, :3]) + 0.1 * rng.normal(size=(n_samples, 3))
    return X, y


def guarded(kind="regressor", **changes):
    few = {"guard": True, "dtype": "float64", "n_neighbors": None}
    return small(kind, **few | changes)


def narrow(**changes):
    """Have so few units that unrelated tasks fight for them; hold out every row."""
    few = {"architecture": HardSharing((5,)), "encoding": Standard(), "cv": 2}
    return guarded(**few | {"max_epochs": 60, "lr": 0.02} | changes)


def test_members_come_out_as_without_a_guard():
    X, y = regression_data()
    y = missing(y)
    plain = guarded(guard=False).fit(X, y)
    model = guarded().fit(X, y)
    np.testing.assert_array_equal(model.n_iter_, plain.n_iter_)
    assert model.loss_weights_.shape[1:] == plain.loss_weights_.shape[1:]
    shared = model.guard_shares_ == 0
    assert shared.any()
    found, expected = model.predict(X), plain.predict(X)
    np.testing.assert_allclose(found[:, shared], expected[:, shared], rtol=1e-8)
    # Epochs in which networks of single tasks go on alone have no mean over members.
    n_epochs = plain.n_epochs_
    for name in ("train_loss", "valid_loss"):
        losses = model.history_[:n_epochs, name]
        np.testing.assert_allclose(losses, plain.history_[:, name], rtol=1e-8)


def test_a_network_of_one_task_learns_that_task_alone():
    X, y = unrelated_data()
    model = narrow().fit(X, y)
    guard = model.net_.guard
    assert guard.shares == tuple(model.guard_shares_[list(guard.columns)])
    shared = narrow(guard=False).fit(X, y)
    for column, share in zip(guard.columns, guard.shares, strict=True):
        alone = narrow(guard=False, task_weights=np.eye(3)[column]).fit(X, y)
        expected = (1 - share) * shared.predict(X) + share * alone.predict(X)
        np.testing.assert_allclose(
            model.predict(X)[:, column], expected[:, column], rtol=1e-7
        )
        held_out = [m.validation_prediction_[:, column] for m in (shared, alone, model)]
        blend = (1 - share) * held_out[0] + share * held_out[1]
        np.testing.assert_allclose(held_out[2], blend, rtol=1e-7)


def test_a_plan_of_one_column_has_no_other_labels(make_data, make_plan):
    data = make_data()
    plans = guard_plans([make_plan(data, k) for k in range(2)], 3)
    assert [plan.only_column for plan in plans] == [None, None, 0, 0, 1, 1, 2, 2]
    for member, plan in zip(plans[:2] * 3, plans[2:], strict=True):
        assert plan.key == member.key
        weight, whole = plan.weight(data), member.weight(data)
        own = np.arange(3) == plan.only_column
        np.testing.assert_array_equal(weight[:, own], whole[:, own])
        assert not weight[:, ~own].any()


def test_a_share_is_a_point_between_two_outputs():
    X, y = unrelated_data()
    model = narrow().fit(X, y)
    guard = model.net_.guard
    columns = list(guard.columns)
    ends = []
    for share in (0.0, 1.0, 0.25):
        shares = (share,) * len(columns)
        model.net_.guard = replace(guard, shares=shares)
        ends.append(model.predict(X)[:, columns])
    apart, alone, between = ends
    assert np.abs(apart - alone).max() > 0.1
    np.testing.assert_allclose(between, 0.75 * apart + 0.25 * alone)


def test_unrelated_tasks_are_won_back():
    X, y = unrelated_data(300)
    X_new, y_new = unrelated_data(400, seed=1)
    plain = narrow(guard=False).fit(X, y)
    model = narrow().fit(X, y)
    assert (model.transfer_ < 0).all()
    assert (model.guard_shares_ > 0).all()
    errors = [np.mean((m.predict(X_new) - y_new) ** 2) for m in (plain, model)]
    assert errors[1] < 0.8 * errors[0]


def test_tasks_that_help_each_other_go_on_sharing():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 6))
    signal = np.sin(2 * X[:, [0]]) + X[:, [1]] * X[:, [2]]
    # Every task has a quarter of the labels, and the others have the rest.
    y = missing(signal + 0.1 * rng.normal(size=(100, 8)), share=0.75)
    changes = {"n_estimators": 4, "cv": 4, "dtype": "float32"}
    plain = guarded(guard=False, **changes).fit(X, y)
    model = guarded(**changes).fit(X, y)
    assert np.mean(model.transfer_) > 0.1
    assert (model.guard_shares_ == 0).all()
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))


def test_a_share_has_to_pay_more_than_its_standard_error():
    weight = np.full(4, 0.25)
    sure = np.array([1.0, 1.0, 1.0, 1.2])
    # Mean 1 and variance 1 / 4 of the mean: half an error is the border.
    unsure = np.array([3.0, -1.0, 3.0, -1.0])
    assert share_that_pays({0.5: sure, 1.0: 0.5 * sure}, weight) == 0.5
    assert share_that_pays({0.5: sure, 1.0: -0.5 * sure}, weight) == 0
    assert share_that_pays({1.0: unsure - 0.1}, weight) == 0
    assert share_that_pays({1.0: unsure + 0.1}, weight) == 1
    assert share_that_pays({0.5: -sure, 1.0: -sure}, weight) == 0
    assert share_that_pays({1.0: sure}, weight, luck=1.1) == 0
    # Cells without weight say nothing.
    assert share_that_pays({1.0: unsure}, np.array([0.5, 0, 0.5, 0])) == 1


def test_transfer_compares_both_at_the_epochs_that_are_best_for_the_task():
    X, y = unrelated_data()
    changes = {"n_estimators": 1, "cv": 3, "n_iter_no_change": None}
    model = guarded(**changes).fit(X, y)
    shared = guarded(guard=False, **changes).fit(X, y)
    lowest = np.min(shared.history_[:, "valid_losses"], axis=0)
    alone = [
        np.min(
            guarded(guard=False, task_weights=w, **changes)
            .fit(X, y)
            .history_[:, "valid_losses"],
            axis=0,
        )
        for w in np.eye(3)
    ]
    np.testing.assert_allclose(model.transfer_, 1 - lowest / np.diag(alone), rtol=1e-6)


@pytest.mark.parametrize("kind", ["classifier", "mixed"])
def test_classes_are_guarded(kind):
    X, y = classification_data()
    types = {"task_types": ["class", "class"]} if kind == "mixed" else {}
    model = guarded(kind, **types).fit(X, missing(y))
    assert model.transfer_.shape == model.guard_shares_.shape == (2,)
    proba = model.predict_proba(X)
    for column in proba.values() if kind == "mixed" else proba:
        np.testing.assert_allclose(column.sum(axis=1), 1)


@pytest.mark.parametrize(
    "changes",
    [{"loss": Huber(0.5)}, {"weighting": PCGrad()}, {"target_transform": "quantile"}],
    ids=str,
)
def test_with_other_choices(changes):
    X, y = unrelated_data()
    model = guarded(**changes).fit(X, missing(y))
    assert np.isfinite(model.transfer_).all()
    assert np.isfinite(model.predict(X)).all()


def test_survives_what_a_fitted_estimator_goes_through():
    X, y = unrelated_data()
    model = narrow().fit(X, y)
    assert model.net_.guard is not None
    prediction = model.predict(X)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), prediction)
    np.testing.assert_array_equal(again.transfer_, model.transfer_)
    members = np.mean([member.predict(X) for member in model.estimators_], axis=0)
    np.testing.assert_allclose(members, prediction)
    _, std = model.predict(X, return_std=True)
    assert (std > 0).all()
    np.testing.assert_allclose(model.for_task(1).predict(X), prediction[:, 1])
    # A new head reads the shared networks.
    adapted = model.adapt(X, y[:, 0])
    assert adapted.net_.guard is None
    with pytest.raises(AttributeError, match="not when it is adapted"):
        adapted.transfer_  # noqa: B018
    model.set_params(guard=False).fit(X, y)
    assert not hasattr(model, "transfer_")
    assert model.net_.guard is None


def test_one_task_has_nothing_to_guard():
    X, y = regression_data(n_tasks=1)
    plain, model = guarded(guard=False).fit(X, y), guarded().fit(X, y)
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    np.testing.assert_array_equal(model.transfer_, [np.nan])
    np.testing.assert_array_equal(model.guard_shares_, [0])


@pytest.mark.filterwarnings("ignore:.*single class")
def test_a_single_class_says_nothing_of_sharing():
    X, y = classification_data()
    one = np.column_stack([np.ones(len(y)), y[:, 0]])
    model = guarded("classifier").fit(X, one)
    np.testing.assert_array_equal(np.isnan(model.transfer_), [True, False])
    assert model.guard_shares_[0] == 0


def test_a_task_without_held_out_labels_goes_on_sharing():
    X, y = unrelated_data()
    y[8:, 2] = np.nan
    folds = [(np.arange(75), np.arange(75, 150)), (np.arange(120), np.arange(120, 150))]
    model = guarded(cv=folds).fit(X, y)
    assert np.isnan(model.transfer_[2])
    assert model.guard_shares_[2] == 0


def test_a_member_of_which_one_network_diverges_is_left_out():
    X, y = unrelated_data()
    # Only labels of task 2 are huge, and only in rows that member 1 trains on.
    held_out = np.arange(100, 150)
    folds = [(np.arange(60), held_out), (np.arange(40, 100), held_out)]
    weight = np.ones_like(y)
    weight[80, 2] = 1e39  # beyond float32: losses of member 1 are not finite
    with pytest.warns(ConvergenceWarning, match="Member 1"):
        model = guarded(cv=folds, dtype="float32").fit(X, y, sample_weight=weight)
    assert len(model.estimators_) == len(model.n_iter_) == 1
    assert np.isfinite(model.predict(X)).all()


def test_what_it_cannot_do_is_refused():
    X, y = unrelated_data()
    with pytest.raises(ValueError, match="guard=True compares networks on held-out"):
        guarded(early_stopping=False).fit(X, y)
    rows, target, ids = row_task_data()
    with pytest.raises(ValueError, match="these are row tasks"):
        guarded().fit(rows, target, task=ids)
    with pytest.raises(ValueError, match="a guard cannot be trained on"):
        narrow(warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="partial_fit holds no rows out"):
        narrow().partial_fit(X, y)
    model = narrow().fit(X, y)
    before = model.predict(X)
    with pytest.raises(ValueError, match="warm_start=True does not train the networks"):
        model.set_params(guard=False, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="partial_fit does not train the networks of"):
        model.partial_fit(X, y)
    np.testing.assert_array_equal(model.predict(X), before)
    with pytest.raises(AttributeError, match="only after a fit with guard=True"):
        guarded(guard=False).fit(X, y).transfer_  # noqa: B018


def test_fuses():
    X, y = unrelated_data(90)
    grid = {"lr": [0.005, 0.02]}
    searches = [
        search(guarded(max_epochs=15), grid, cv=2).fit(X, y)
        for search in (FusedGridSearchCV, GridSearchCV)
    ]
    ours, theirs = (search.cv_results_["mean_test_score"] for search in searches)
    np.testing.assert_allclose(ours, theirs, atol=1e-8)
    best = [search.best_estimator_ for search in searches]
    np.testing.assert_allclose(best[0].transfer_, best[1].transfer_, atol=1e-8)
