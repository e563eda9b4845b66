"""What the multi-task networks promise, beyond what every estimator promises."""

import copy
import math
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    StratifiedKFold,
    cross_validate,
)
from skorch.callbacks import Callback

from skmtl import MultiTaskNetClassifier, MultiTaskNetRegressor
from skmtl.architecture import HardSharing
from skmtl.encoding import Auto, PiecewiseLinear, Standard
from skmtl.loss import CrossEntropy, SquaredError
from skmtl.weighting import Equal, Uncertainty

from .instances import (
    ESTIMATORS,
    classification_data,
    exact,
    frozen,
    missing,
    regression_data,
    row_task_data,
    small,
)

KINDS = sorted(ESTIMATORS)


def data_of(kind):
    return regression_data() if kind == "regressor" else classification_data()


class _Start(Callback):
    """Remember the initial weights."""

    def on_train_begin(self, net, **kwargs):
        self.weights = copy.deepcopy(net.module_.architecture.state_dict())


def numbers_of(model, X, **task):
    """Predict what is comparable as numbers: targets or probabilities side by side."""
    if isinstance(model, MultiTaskNetRegressor):
        return model.predict(X, **task)
    proba = model.predict_proba(X, **task)
    return np.concatenate(proba, axis=1) if isinstance(proba, list) else proba


def assert_same_predictions(one, other, X, **task):
    np.testing.assert_array_equal(
        numbers_of(one, X, **task), numbers_of(other, X, **task)
    )


def assert_equal_predictions(one, other, X, **task):
    np.testing.assert_allclose(
        numbers_of(one, X, **task), numbers_of(other, X, **task), rtol=1e-7, atol=1e-9
    )


# -- missing labels --------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_labels_may_be_missing_in_any_pattern(kind, share):
    X, y = data_of(kind)
    model = small(kind).fit(X, missing(y, share))
    assert np.isfinite(numbers_of(model, X)).all()
    assert model.score(X, missing(y, share)) > 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_rows_without_labels_equal_rows_left_out(kind):
    X, y = data_of(kind)
    y = y[:, 0].copy()
    y[20:35] = np.nan
    labelled = ~np.isnan(y)
    masked = exact(kind).fit(X, y)
    without = exact(kind).fit(X[labelled], y[labelled])
    assert_equal_predictions(masked, without, X)


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_in_a_missing_cell_of_x_and_y_does_not_matter(kind):
    X, y = data_of(kind)
    hidden = missing(y)
    weight = (~np.isnan(hidden)).astype(float)
    masked = exact(kind).fit(X, hidden)
    weightless = exact(kind).fit(X, y, sample_weight=weight)
    assert_equal_predictions(masked, weightless, X)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_two_labels_equals_two_rows_of_one_label(kind):
    X, y = data_of(kind)
    y = y[:, :2]
    first, second = y.copy(), y.copy()
    first[:, 1] = second[:, 0] = np.nan
    # Trees see rows, and not cells.
    model = exact(kind, relevance=None)
    whole = clone(model).fit(X, y)
    disjoint = clone(model).fit(np.tile(X, (2, 1)), np.concatenate([first, second]))
    assert_equal_predictions(whole, disjoint, X)


@pytest.mark.parametrize("kind", KINDS)
def test_disjointly_labelled_tasks_are_both_learned(kind):
    X, y = data_of(kind)
    y = y.copy()
    y[::2, 0] = np.nan
    y[1::2, 1] = np.nan
    new_X, new_y = (
        regression_data(seed=7) if kind == "regressor" else classification_data(seed=7)
    )
    assert exact(kind).fit(X, y).score(new_X, new_y) > 0.7


@pytest.mark.parametrize(
    "no_label", [None, np.nan, pd.NA, pd.NaT], ids=["None", "nan", "NA", "NaT"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_all_spellings_of_missing_are_alike(kind, no_label):
    X, y = data_of(kind)
    hidden = missing(y)
    table = y.astype(object)
    table[np.isnan(hidden)] = no_label
    expected = exact(kind, max_epochs=5).fit(X, hidden)
    assert_same_predictions(exact(kind, max_epochs=5).fit(X, table), expected, X)
    frame = pd.DataFrame(table)
    assert_same_predictions(exact(kind, max_epochs=5).fit(X, frame), expected, X)


def test_nullable_pandas_columns_are_read():
    X, y = classification_data()
    frame = pd.DataFrame({"a": y[:, 0], "b": y[:, 1]}).astype("Int64")
    frame.loc[20:30, "a"] = pd.NA
    model = exact("classifier", max_epochs=5).fit(X, frame)
    assert [c.tolist() for c in model.classes_] == [[0, 1], [0, 1, 2]]
    expected = frame.astype(float).to_numpy(na_value=np.nan)
    assert_same_predictions(
        model, exact("classifier", max_epochs=5).fit(X, expected), X
    )


# -- weights ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encoding", [Standard(), PiecewiseLinear(n_bins=4)], ids=repr)
def test_integer_weights_equal_repeated_rows(kind, encoding):
    X, y = data_of(kind)
    y = missing(y)
    repeats = np.random.default_rng(0).integers(0, 4, size=len(X))
    repeats[:10] = 2
    weighted = exact(kind, encoding=encoding).fit(X, y, sample_weight=repeats)
    rows = np.repeat(np.arange(len(X)), repeats)
    repeated = exact(kind, encoding=encoding).fit(X[rows], y[rows])
    assert_equal_predictions(weighted, repeated, X)


def test_integer_weights_equal_repeated_rows_of_row_tasks():
    X, y, task = row_task_data()
    repeats = np.random.default_rng(0).integers(1, 4, size=len(X))
    weighted = exact("regressor").fit(X, y, task=task, sample_weight=repeats)
    rows = np.repeat(np.arange(len(X)), repeats)
    repeated = exact("regressor").fit(X[rows], y[rows], task=task[rows])
    assert_equal_predictions(weighted, repeated, X, task=task)


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_a_row_equals_that_weight_in_every_cell(kind):
    X, y = data_of(kind)
    weight = np.random.default_rng(0).uniform(0.5, 2, size=len(X))
    cells = np.repeat(weight[:, None], y.shape[1], axis=1)
    by_row = small(kind, max_epochs=5).fit(X, y, sample_weight=weight)
    by_cell = small(kind, max_epochs=5).fit(X, y, sample_weight=cells)
    assert_same_predictions(by_row, by_cell, X)


@pytest.mark.parametrize("kind", KINDS)
def test_the_unit_of_sample_weights_does_not_matter(kind):
    X, y = data_of(kind)
    weight = np.random.default_rng(0).uniform(0.5, 2, size=y.shape)
    here = exact(kind).fit(X, y, sample_weight=weight)
    there = exact(kind).fit(X, y, sample_weight=1000 * weight)
    assert_equal_predictions(here, there, X)


def test_cells_with_more_weight_are_fitted_better():
    X, y = regression_data(n_tasks=1)
    y = np.concatenate([y, y], axis=1)
    y[::2] += 3.0  # two halves that contradict each other
    weight = np.ones_like(y)
    weight[::2, 0] = weight[1::2, 1] = 0.01
    predicted = exact("regressor").fit(X, y, sample_weight=weight).predict(X)
    middle = y - np.where(np.arange(len(X)) % 2 == 0, 1.5, -1.5)[:, None]
    assert (
        (predicted - middle)[:, 0].mean() < -1 < 1 < (predicted - middle)[:, 1].mean()
    )


@pytest.mark.parametrize(
    "task_weights",
    [
        "balanced",
        [1, 1, 1],
        (2.0, 2.0, 2.0),
        np.array([[3, 3, 3]]),
        np.array([0.1, 0.1, 0.1]),
        {},
        {0: 1.0, 2: 1},
    ],
    ids=str,
)
def test_equal_task_weights_in_any_form_are_the_default_of_column_tasks(task_weights):
    X, y = regression_data()
    model = small("regressor", task_weights=task_weights, max_epochs=5).fit(X, y)
    assert_same_predictions(model, small("regressor", max_epochs=5).fit(X, y), X)


@pytest.mark.parametrize(
    "task_weights", [np.array([1, 1, 4]), np.array([[1, 1, 4]]), {"c": 4}], ids=str
)
def test_task_weights_by_position_and_by_name_are_alike(task_weights):
    X, y = regression_data()
    y = pd.DataFrame(y, columns=["a", "b", "c"])
    model = small("regressor", task_weights=task_weights, max_epochs=5).fit(X, y)
    listed = small("regressor", task_weights=[1, 1, 4], max_epochs=5).fit(X, y)
    assert_same_predictions(model, listed, X)
    other = small("regressor", task_weights=[4, 1, 1], max_epochs=5).fit(X, y)
    assert not np.array_equal(model.predict(X), other.predict(X))


@pytest.mark.parametrize("factor", [10, 0.1, 1e6])
def test_the_scale_of_task_weights_changes_nothing(factor):
    X, y = regression_data()
    weights = np.array([1.0, 2.0, 5.0])
    one = small("regressor", task_weights=weights, max_epochs=5).fit(X, y)
    many = small("regressor", task_weights=factor * weights, max_epochs=5).fit(X, y)
    assert_same_predictions(one, many, X)


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_of_weight_zero_does_not_move_the_others(kind):
    X, y = data_of(kind)
    weights = [0.0] + [1.0] * (y.shape[1] - 1)
    # All tasks say which columns tell something.
    settings = {"task_weights": weights, "relevance": None}
    model = exact(kind, **settings).fit(X, y)
    other = y.copy()
    other[:, 0] = np.roll(other[:, 0], 7)
    moved = exact(kind, **settings).fit(X, other)
    np.testing.assert_allclose(
        model.predict(X)[:, 1:], moved.predict(X)[:, 1:], rtol=1e-7, atol=1e-9
    )


def test_a_task_with_more_weight_is_fitted_better():
    X, y = regression_data(n_tasks=2)
    y = y + 3 * np.random.default_rng(0).normal(size=y.shape)
    errors = []
    for weights in ([10, 1], [1, 10]):
        settings = {"architecture": HardSharing((3,)), "max_epochs": 300}
        model = exact("regressor", task_weights=weights, **settings).fit(X, y)
        errors.append(((model.predict(X) - y) ** 2).mean(axis=0))
    assert errors[0][0] < errors[1][0]
    assert errors[1][1] < errors[0][1]


def test_row_tasks_count_by_their_rows_unless_balanced():
    X, y, task = row_task_data()
    keep = (task != 10) | (np.arange(len(task)) < 40)
    X, y, task = X[keep], y[keep], task[keep]
    sizes = np.unique(task, return_counts=True)[1]

    def fit(task_weights):
        model = small("regressor", task_weights=task_weights, max_epochs=5)
        return model.fit(X, y, task=task)

    assert_same_predictions(fit(None), fit(sizes.astype(float)), X, task=task)
    balanced = fit("balanced")
    assert_same_predictions(balanced, fit(np.ones(len(sizes))), X, task=task)
    assert_same_predictions(
        fit({10: 3.0}), fit([3.0] + [1.0] * (len(sizes) - 1)), X, task=task
    )
    assert not np.array_equal(
        fit(None).predict(X, task=task), balanced.predict(X, task=task)
    )


# -- members, early stopping, validation -----------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_members_average_to_the_prediction(kind):
    X, y = data_of(kind)
    model = small(kind, n_estimators=3, max_epochs=5).fit(X, y)
    members = model.estimators_
    assert len(members) == 3
    assert all(type(m) is type(model) and m.n_iter_.shape == (1,) for m in members)
    assert all(m.loss_weights_.shape[1] == 1 for m in members)
    mean = np.mean([numbers_of(m, X) for m in members], axis=0)
    np.testing.assert_allclose(mean, numbers_of(model, X), rtol=1e-12)
    assert not np.allclose(numbers_of(members[0], X), numbers_of(members[1], X))


@pytest.mark.parametrize("kind", KINDS)
def test_fitted_attributes_have_the_documented_shapes(kind):
    X, y = data_of(kind)
    model = small(kind, max_epochs=6).fit(X, y)
    assert model.n_tasks_ == y.shape[1]
    np.testing.assert_array_equal(model.task_names_, np.arange(y.shape[1]))
    assert model.n_epochs_ == len(model.history_) == 6
    assert model.n_iter_.shape == (2,)
    assert ((model.n_iter_ >= 1) & (model.n_iter_ <= 6)).all()
    assert model.loss_weights_.shape == (6, 2, y.shape[1])
    assert (model.loss_weights_ == 1).all()
    assert model.device_ == "cpu"
    assert model.weighting_ is model.net_.module_.weighting
    assert model.architecture_ is model.net_.module_.architecture


def test_learned_weights_are_recorded_for_every_epoch_and_member():
    X, y = regression_data()
    y = y.copy()
    y[:, 0] = np.random.default_rng(0).normal(size=len(y))  # nothing to learn here
    settings = {"weighting": Uncertainty(), "n_iter_no_change": None}
    model = small("regressor", **settings).fit(X, y)
    np.testing.assert_allclose(model.loss_weights_.sum(axis=-1), 3, rtol=1e-5)
    last = model.loss_weights_[-1]
    assert (last[:, 0] < last[:, 1]).all()


def test_training_ends_after_n_iter_no_change_epochs_without_a_better_one():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), rng.normal(size=(60, 2))
    model = small("regressor", n_iter_no_change=3, max_epochs=300).fit(X, y)
    assert model.n_epochs_ < 300
    assert model.n_epochs_ == model.n_iter_.max() + 3
    endless = small("regressor", n_iter_no_change=None, max_epochs=30).fit(X, y)
    assert endless.n_epochs_ == 30
    assert endless.n_iter_.min() < 30


@pytest.mark.parametrize(
    ("n_rows", "n_epochs"), [(60, 200), (1500, 200), (3000, 100), (60_000, 10)]
)
def test_tables_of_many_rows_are_visited_less_often(n_rows, n_epochs):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n_rows, 1)), rng.normal(size=(n_rows, 2))
    settings = {"architecture": HardSharing((2,)), "encoding": Standard()}
    settings |= {"early_stopping": False, "batch_size": None, "n_estimators": 1}
    model = small("regressor", max_epochs="auto", **settings).fit(X, y)
    assert model.n_epochs_ == n_epochs


def test_epochs_go_by_the_rows_that_a_member_trains_on():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4000, 1)), rng.normal(size=(4000, 2))
    settings = {"architecture": HardSharing((2,)), "n_estimators": 1, "cv": 4}
    settings |= {"n_iter_no_change": None, "batch_size": None}
    model = small("regressor", max_epochs="auto", **settings).fit(X, y)
    assert model.n_epochs_ == 100  # a quarter is held out


@pytest.mark.parametrize(("max_epochs", "patience"), [(300, 60), (101, 21), (30, 8)])
def test_patience_is_a_fifth_of_the_epochs(max_epochs, patience):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), rng.normal(size=(60, 2))
    model = small("regressor", max_epochs=max_epochs).fit(X, y)
    assert model.n_epochs_ < max_epochs
    assert model.n_epochs_ == model.n_iter_.max() + patience


@pytest.mark.parametrize("kind", KINDS)
def test_auto_stands_for_200_epochs_and_a_patience_of_40_on_small_tables(kind):
    X, y = data_of(kind)
    found = small(kind, max_epochs="auto").fit(X, y)
    expected = small(kind, max_epochs=200, n_iter_no_change=40).fit(X, y)
    np.testing.assert_array_equal(
        found.history_[:, "valid_loss"], expected.history_[:, "valid_loss"]
    )


def test_one_member_keeps_the_epoch_of_its_smallest_validation_loss():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), rng.normal(size=(60, 2))
    model = small("regressor", n_estimators=1, n_iter_no_change=5).fit(X, y)
    losses = model.history_[:, "valid_loss"]
    assert model.n_iter_.tolist() == [np.argmin(losses) + 1]
    held_out = model.validation_prediction_
    rows = ~np.isnan(held_out[:, 0])
    scaled = (held_out - y)[rows] / y.std(axis=0)
    np.testing.assert_allclose((scaled**2).mean(), min(losses), rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_predictions_come_from_the_members_that_held_the_row_out(kind):
    X, y = data_of(kind)
    splits = list(KFold(3, shuffle=True, random_state=0).split(X))
    y = missing(y)
    model = small(kind, n_estimators=3, cv=splits, n_neighbors=None).fit(X, y)
    held_out = model.validation_prediction_
    if kind == "classifier":
        assert [p.shape for p in held_out] == [p.shape for p in model.predict_proba(X)]
        held_out = np.concatenate(held_out, axis=1)
    labelled = ~np.isnan(y).all(axis=1)
    np.testing.assert_array_equal(np.isfinite(held_out).all(axis=1), labelled)
    for member, (_, rows) in zip(model.estimators_, splits, strict=True):
        rows = rows[labelled[rows]]
        np.testing.assert_allclose(
            held_out[rows], numbers_of(member, X[rows]), rtol=1e-4, atol=1e-5
        )


def test_members_that_hold_out_the_same_rows_are_averaged():
    X, y = regression_data()
    splits = list(KFold(2, shuffle=True, random_state=0).split(X))
    changes = {"n_estimators": 4, "max_epochs": 5, "n_neighbors": None}
    model = small("regressor", cv=splits, **changes).fit(X, y)
    members = model.estimators_
    for fold, (_, rows) in enumerate(splits):
        pair = [members[k].predict(X[rows]) for k in (fold, fold + 2)]
        np.testing.assert_allclose(
            model.validation_prediction_[rows], np.mean(pair, axis=0), rtol=1e-4
        )


def test_rows_that_nobody_held_out_have_no_held_out_prediction():
    X, y = regression_data()
    splits = list(KFold(3).split(X))
    model = small("regressor", n_estimators=1, cv=splits, max_epochs=5)
    held_out = model.fit(X, y[:, 0]).validation_prediction_
    assert held_out.shape == (len(X),)
    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(held_out)), splits[0][1])


def test_rows_without_labels_keep_their_place_in_held_out_predictions():
    X, y = regression_data(n_tasks=1)
    y = y[:, 0].copy()
    y[[5, 17, 40]] = np.nan
    model = small("regressor", n_estimators=8).fit(X, y)
    held_out = model.validation_prediction_
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(held_out)), [5, 17, 40])
    labelled = ~np.isnan(y)
    assert r2_score(y[labelled], held_out[labelled]) > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_without_early_stopping_nothing_is_held_out(kind):
    X, y = data_of(kind)
    model = small(kind, early_stopping=False, max_epochs=4).fit(X, y)
    assert model.n_epochs_ == 4
    assert model.n_iter_.tolist() == [4, 4]
    assert "valid_loss" not in model.history_[-1]
    with pytest.raises(AttributeError, match="early_stopping=True"):
        model.validation_prediction_  # noqa: B018


def test_a_splitter_equals_the_list_of_its_splits():
    X, y = regression_data()
    one = small("regressor", cv=KFold(4), max_epochs=5).fit(X, y)
    other = small("regressor", cv=list(KFold(4).split(X)), max_epochs=5).fit(X, y)
    iterator = small("regressor", cv=KFold(4).split(X), max_epochs=5).fit(X, y)
    assert_same_predictions(one, other, X)
    assert_same_predictions(one, iterator, X)


def test_splits_hold_positions_in_the_table_given_to_fit():
    X, y = regression_data(n_tasks=1)
    y = y[:, 0].copy()
    y[::4] = np.nan
    splits = [(np.arange(30), np.arange(30, 60))]
    model = small("regressor", cv=splits, n_estimators=1, max_epochs=3).fit(X, y)
    held_out = np.flatnonzero(~np.isnan(model.validation_prediction_))
    np.testing.assert_array_equal(held_out, [i for i in range(30, 60) if i % 4])


@pytest.mark.parametrize("cv", [2, 5])
def test_an_integer_cv_is_the_number_of_folds(cv):
    X, y = regression_data()
    model = small("regressor", cv=cv, n_estimators=1, max_epochs=2).fit(X, y)
    assert np.isfinite(model.validation_prediction_[:, 0]).sum() == len(X) // cv


def test_stratified_splits_work_for_complete_class_labels():
    X, y = classification_data()
    model = small("classifier", cv=StratifiedKFold(2)).fit(X, y[:, 1])
    assert np.isfinite(model.validation_prediction_).all()


def test_groups_can_be_held_out_as_a_whole():
    X, y, groups = row_task_data()
    splits = list(GroupKFold(3).split(X, groups=groups))
    model = small("regressor", cv=splits, n_estimators=3, max_epochs=5).fit(X, y)
    for member, (_, rows) in zip(model.estimators_, splits, strict=True):
        np.testing.assert_allclose(
            model.validation_prediction_[rows], member.predict(X[rows]), rtol=1e-4
        )


@pytest.mark.parametrize("n_estimators", [1, 3, 8])
def test_default_folds_are_eighths_that_keep_classes_in_proportion(n_estimators):
    X, _ = classification_data(80)
    rare = np.zeros(80)
    rare[:16] = 1
    model = small("classifier", n_estimators=n_estimators, max_epochs=1).fit(X, rare)
    held_out = np.isfinite(model.validation_prediction_[:, 0])
    assert held_out.sum() == n_estimators * 10
    assert rare[held_out].sum() == n_estimators * 2


def test_a_class_with_a_single_row_is_never_held_out():
    X, y = classification_data()
    y = y[:, 0].copy()
    y[3] = 7
    model = small("classifier", n_estimators=8, max_epochs=2).fit(X, y)
    assert model.classes_.tolist() == [0, 1, 7]
    alone = np.flatnonzero(np.isnan(model.validation_prediction_[:, 0]))
    assert alone.tolist() == [3]


# -- parameters ------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_none_is_exactly_the_default_object(kind):
    X, y = data_of(kind)
    settings = {"n_estimators": 2, "max_epochs": 3, "random_state": 0, "device": "cpu"}
    implicit = ESTIMATORS[kind](**settings).fit(X, y)
    loss = SquaredError() if kind == "regressor" else CrossEntropy()
    explicit = ESTIMATORS[kind](HardSharing(), Equal(), Auto(), loss, **settings)
    assert_same_predictions(implicit, explicit.fit(X, y), X)
    assert implicit.architecture is implicit.weighting is implicit.encoding is None


def test_naming_a_parameter_of_none_puts_the_default_object_there():
    model = MultiTaskNetRegressor()
    model.set_params(architecture__dropout=0.1, encoding__n_bins=4, lr=0.1)
    assert model.architecture.get_params() == HardSharing(dropout=0.1).get_params()
    assert model.encoding.get_params() == Auto(n_bins=4).get_params()
    assert model.weighting is None
    assert model.lr == 0.1


def test_a_strategy_and_its_parameter_are_set_together_in_any_order():
    for model in (MultiTaskNetRegressor(), MultiTaskNetRegressor(HardSharing((5,)))):
        model.set_params(architecture__dropout=0.2, architecture=None)
        assert model.architecture.get_params() == HardSharing(dropout=0.2).get_params()


def test_an_unknown_parameter_of_none_is_an_error():
    with pytest.raises(ValueError, match="Invalid parameter 'dropuot'"):
        MultiTaskNetRegressor().set_params(architecture__dropuot=0.1)


def test_a_grid_reaches_into_none():
    X, y = regression_data()
    grid = {
        "architecture": [None, HardSharing(activation="tanh")],
        "architecture__hidden_layer_sizes": [(4,), (8, 8)],
    }
    search = GridSearchCV(
        MultiTaskNetRegressor(n_estimators=1, max_epochs=3, device="cpu"),
        grid,
        cv=KFold(2),
        error_score="raise",
    ).fit(X, y)
    assert len(search.cv_results_["params"]) == 4
    assert search.estimator.architecture is None
    best = search.best_params_["architecture__hidden_layer_sizes"]
    sizes = [
        layer.weight.shape[-1] for layer in search.best_estimator_.architecture_.layers
    ]
    assert tuple(sizes) == best


@pytest.mark.parametrize("kind", KINDS)
def test_fits_with_one_random_state_are_bit_equal(kind):
    X, y = data_of(kind)
    y = missing(y)
    for make in (lambda: 3, lambda: np.random.RandomState(3)):
        one = small(kind, random_state=make(), max_epochs=5).fit(X, y)
        assert_same_predictions(
            one, small(kind, random_state=make(), max_epochs=5).fit(X, y), X
        )
    model = small(kind, random_state=3, max_epochs=5)
    first = numbers_of(model.fit(X, y), X)
    np.testing.assert_array_equal(first, numbers_of(model.fit(X, y), X))
    other = small(kind, random_state=4, max_epochs=5).fit(X, y)
    assert not np.array_equal(first, numbers_of(other, X))


def test_fits_without_a_random_state_differ():
    X, y = regression_data()
    one, other = (
        small("regressor", random_state=None, max_epochs=2).fit(X, y) for _ in range(2)
    )
    assert not np.array_equal(one.predict(X), other.predict(X))


def test_a_fit_forgets_the_fit_before():
    X, y = regression_data()
    other_X, other_y = row_task_data()[:2]
    model = small("regressor", max_epochs=3).fit(
        other_X, other_y, task=row_task_data()[2]
    )
    assert_same_predictions(
        model.fit(X, y), small("regressor", max_epochs=3).fit(X, y), X
    )
    assert model.n_tasks_ == 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_train_in_the_dtype_asked_for(dtype):
    X, y = regression_data()
    start = _Start()
    model = small("regressor", dtype=dtype, max_epochs=2, skorch_callbacks=[start])
    assert model.fit(X, y).predict(X).dtype == np.float64
    names = [name for name, _ in model.architecture_.named_parameters()]
    assert {str(start.weights[name].dtype) for name in names} == {f"torch.{dtype}"}


@pytest.mark.parametrize("batch_size", ["auto", None, 1, 7, 1000])
def test_every_batch_size_learns(batch_size):
    X, y = regression_data()
    model = small("regressor", batch_size=batch_size, lr=0.02).fit(X, y)
    assert model.score(X, y) > 0.5


def test_clip_norm_bounds_the_first_step_of_no_network_but_its_own():
    X, y = regression_data()
    model = exact("regressor", clip_norm=1e-3).fit(X, y)
    assert np.isfinite(model.predict(X)).all()
    loose = exact("regressor", clip_norm=1e9).fit(X, y)
    assert_same_predictions(loose, exact("regressor").fit(X, y), X)


def test_verbose_prints_a_line_an_epoch_without_lists(capsys):
    X, y = regression_data()
    small("regressor", max_epochs=3, verbose=1).fit(X, y)
    printed = capsys.readouterr().out
    assert "valid_loss" in printed
    assert "losses" not in printed
    assert len(printed.strip().splitlines()) == 2 + 3
    small("regressor", max_epochs=3).fit(X, y)
    assert capsys.readouterr().out == ""


# -- copies ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "copied", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy, copy.copy]
)
def test_copies_predict_bit_equal(kind, copied):
    X, y = data_of(kind)
    model = small(kind, max_epochs=5).fit(X, missing(y))
    other = copied(model)
    assert_same_predictions(model, other, X)
    assert other.architecture_ is other.net_.module_.architecture
    assert other.weighting_ is other.net_.module_.weighting
    np.testing.assert_array_equal(other.n_iter_, model.n_iter_)
    assert [dict(row) for row in other.history_] == [dict(r) for r in model.history_]
    assert_same_predictions(model.estimators_[1], other.estimators_[1], X)


@pytest.mark.parametrize(
    "copied", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy]
)
def test_copies_share_no_weights(copied):
    X, y = regression_data()
    model = small("regressor", max_epochs=2).fit(X, y)
    before = model.predict(X)
    with torch.no_grad():
        for parameter in copied(model).architecture_.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(model.predict(X), before)


def test_row_tasks_survive_pickling():
    X, y, task = row_task_data()
    names = np.char.add("group ", task.astype(str))
    model = small("regressor", max_epochs=5).fit(X, y, task=names)
    other = pickle.loads(pickle.dumps(model))
    assert_same_predictions(model, other, X, task=names)
    np.testing.assert_array_equal(other.task_names_, np.unique(names))


@pytest.mark.parametrize("kind", KINDS)
def test_the_pickle_holds_no_tensor(kind):
    X, y = data_of(kind)
    state = pickle.dumps(small(kind, max_epochs=2).fit(X, y))
    assert b"torch" not in state


@pytest.mark.parametrize("kind", KINDS)
def test_a_clone_of_a_fitted_estimator_fits_to_the_same_bits(kind):
    X, y = data_of(kind)
    model = small(kind, max_epochs=5).fit(X, y)
    twin = clone(model)
    assert not hasattr(twin, "net_")
    assert_same_predictions(twin.fit(X, y), model, X)


def test_two_workers_score_as_one():
    X, y = regression_data()
    scores = [
        cross_validate(
            small("regressor", max_epochs=3), X, missing(y), cv=KFold(2), n_jobs=n_jobs
        )["test_score"]
        for n_jobs in (None, 2)
    ]
    np.testing.assert_array_equal(*scores)


# -- predictions -----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_do_not_depend_on_the_rows_beside(kind):
    X, y = data_of(kind)
    model = ESTIMATORS[kind](n_estimators=2, max_epochs=3, device="cpu").fit(X, y)
    many = np.random.default_rng(1).normal(size=(2100, 4))
    whole = numbers_of(model, many)
    for rows in (slice(0, 1), slice(3, 8), slice(1, 2000), slice(2099, 2100)):
        np.testing.assert_allclose(
            numbers_of(model, many[rows]), whole[rows], rtol=1e-7, atol=1e-9
        )
    np.testing.assert_allclose(
        numbers_of(model, many[::-1]), whole[::-1], rtol=1e-7, atol=1e-9
    )


def test_row_task_predictions_do_not_depend_on_the_rows_beside():
    X, y, task = row_task_data()
    model = small("regressor", max_epochs=5).fit(X, y, task=task)
    whole = model.predict(X, task=task)
    for rows in (slice(0, 1), slice(3, 8), slice(119, 120)):
        np.testing.assert_allclose(
            model.predict(X[rows], task=task[rows]), whole[rows], rtol=1e-7
        )


@pytest.fixture
def torch_warns_always():
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


@pytest.mark.usefixtures("torch_warns_always")
@pytest.mark.parametrize("kind", KINDS)
def test_read_only_tables_are_taken_without_a_warning(kind):
    X, y = data_of(kind)
    model = small(kind, max_epochs=2).fit(X, y)
    numbers_of(model, X)
    model.adapt(X, y[:, 0]).predict(X)


@pytest.mark.usefixtures("torch_warns_always")
def test_read_only_row_tasks_are_taken_without_a_warning():
    X, y, task = row_task_data()
    model = small("regressor", max_epochs=2).fit(X, y, task=task)
    model.predict(X, task=task)
    table = frozen(np.column_stack([X, task]))[0]
    small("regressor", max_epochs=2, task_column=-1).fit(table, y).predict(table)


@pytest.mark.parametrize("dtype", ["float32", "int64", "object"])
def test_regressors_predict_float64(dtype):
    X, y = regression_data()
    model = small("regressor", max_epochs=2).fit(
        X.astype(np.float32), y.round().astype(dtype)
    )
    assert model.predict(X).dtype == np.float64


@pytest.mark.parametrize("kind", KINDS)
def test_y_of_one_column_gives_predictions_of_one_column(kind):
    X, y = data_of(kind)
    flat = small(kind, max_epochs=3).fit(X, y[:, 0])
    column = small(kind, max_epochs=3).fit(X, y[:, [0]])
    assert flat.predict(X).shape == (len(X),)
    assert column.predict(X).shape == (len(X), 1)
    np.testing.assert_array_equal(flat.predict(X), column.predict(X)[:, 0])
    assert flat.score(X, y[:, 0]) == column.score(X, y[:, [0]])
    assert column.validation_prediction_[0].shape == (
        (1,) if kind == "regressor" else (len(X), 2)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_names_gives_the_numbers_of_its_array(kind):
    X, y = data_of(kind)
    frame = pd.DataFrame(X, columns=list("abcd"))
    targets = pd.DataFrame(y, columns=[f"task {i}" for i in range(y.shape[1])])
    model = small(kind, max_epochs=3).fit(frame, targets)
    assert isinstance(model.predict(frame), np.ndarray)
    assert model.task_names_.tolist() == list(targets.columns)
    assert model.feature_names_in_.tolist() == list("abcd")
    array = small(kind, max_epochs=3).fit(X, y)
    np.testing.assert_array_equal(numbers_of(model, frame), numbers_of(array, X))


@pytest.mark.parametrize("kind", KINDS)
def test_missing_values_and_constant_columns_in_x_are_fine(kind):
    X, y = data_of(kind)
    X = np.column_stack([X, np.full(len(X), 3.0), np.full(len(X), np.nan)])
    X[::5, 0] = np.nan
    model = small(kind).fit(X, y)
    assert model.score(X, y) > 0.5
    X[:, 4] = 1e9  # constant in training: carries nothing
    X[:, 1] = np.nan  # never missing in training
    assert np.isfinite(numbers_of(model, X)).all()


def test_an_indicator_of_missing_values_is_learned_from():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    X[rng.random(200) < 0.5, 0] = np.nan
    y = np.isnan(X[:, 0]) * 3.0
    assert small("regressor").fit(X[:100], y[:100]).score(X[100:], y[100:]) > 0.9


# -- row tasks -------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_all_ways_to_name_row_tasks_are_one(kind):
    X, y, task = row_task_data()
    y = y if kind == "regressor" else y > 0
    table = np.insert(X, 1, task, axis=1)
    frame = pd.DataFrame(table, columns=["a", "store", "b", "c"])
    given = small(kind, max_epochs=5).fit(X, y, task=task)
    expected = numbers_of(given, X, task=task)
    for column, named in (("store", frame), (1, table), (-3, table), (1, frame)):
        model = small(kind, max_epochs=5, task_column=column).fit(named, y)
        np.testing.assert_array_equal(numbers_of(model, named), expected)
        np.testing.assert_array_equal(model.task_names_, np.unique(task))
        assert model.n_features_in_ == 4
        assert model.score(named, y) == given.score(X, y, task=task)
    assert given.n_features_in_ == 3


@pytest.mark.parametrize("make", [np.array, pd.Series, list, pd.Categorical])
def test_row_tasks_may_be_strings_in_any_container(make):
    X, y, task = row_task_data()
    names = [f"group {t}" for t in task]
    model = small("regressor", max_epochs=5).fit(X, y, task=make(names))
    assert model.task_names_.tolist() == sorted(set(names))
    assert model.n_tasks_ == 6
    numbered = small("regressor", max_epochs=5).fit(X, y, task=task)
    np.testing.assert_array_equal(
        model.predict(X, task=make(names)), numbered.predict(X, task=task)
    )


@pytest.mark.parametrize("dtype", [object, "str", "category"])
def test_string_ids_may_stand_in_a_column_of_a_frame(dtype):
    X, y, task = row_task_data()
    frame = pd.DataFrame(X, columns=list("abc"))
    frame["store"] = pd.Series([f"s{t}" for t in task]).astype(dtype)
    model = small("regressor", max_epochs=5, task_column="store").fit(frame, y)
    numbered = small("regressor", max_epochs=5).fit(X, y, task=task)
    np.testing.assert_array_equal(model.predict(frame), numbered.predict(X, task=task))


def test_unseen_tasks_are_the_shared_head_with_one_warning_a_call():
    X, y, task = row_task_data()
    model = small("regressor", max_epochs=5).fit(X, y, task=task)
    unseen = np.where(np.arange(len(X)) < 10, 1000 + np.arange(len(X)), task)
    for _ in range(2):
        with pytest.warns(UserWarning, match="10 tasks that fit did not see") as record:
            predicted = model.predict(X, task=unseen)
        assert len(record) == 1
        assert record[0].filename == __file__
    np.testing.assert_allclose(
        predicted[10:], model.predict(X[10:], task=task[10:]), rtol=1e-12
    )
    with pytest.warns(UserWarning, match="1 task"):
        other = model.predict(X[:10], task=np.full(10, -1))
    np.testing.assert_allclose(predicted[:10], other, rtol=1e-12)


def test_unseen_tasks_warn_once_in_score_and_predict_proba():
    X, y, task = row_task_data()
    model = small("classifier", max_epochs=3).fit(X, y > 0, task=task)
    calls = [
        lambda: model.predict_proba(X, task=task + 1),
        lambda: model.predict(X, task=task + 1),
        lambda: model.score(X, y > 0, task=task + 1),
    ]
    for call in calls:
        with pytest.warns(UserWarning, match="fit did not see: 16") as record:
            call()
        assert len(record) == 1


def test_unseen_tasks_can_be_an_error():
    X, y, task = row_task_data()
    model = small("regressor", max_epochs=3, unknown_task="error").fit(X, y, task=task)
    model.predict(X, task=task)
    with pytest.raises(ValueError, match=r"fit did not see: 99.*unknown_task='pooled'"):
        model.predict(X[:1], task=[99])


def test_row_tasks_beat_pooling_where_groups_differ():
    X, y, task = row_task_data(n_samples=240)
    new_X, new_y, new_task = row_task_data(seed=1)
    own = small("regressor", max_epochs=100).fit(X, y, task=task)
    pooled = small("regressor", max_epochs=100).fit(X, y)
    error = 1 - own.score(new_X, new_y, task=new_task)
    assert error < 0.3 * (1 - pooled.score(new_X, new_y))


def test_row_tasks_of_a_classifier_beat_pooling_where_groups_differ():
    X, y, task = row_task_data(n_samples=240)
    new_X, new_y, new_task = row_task_data(seed=1)
    own = small("classifier", max_epochs=100).fit(X, y > 0, task=task)
    pooled = small("classifier", max_epochs=100).fit(X, y > 0)
    score = own.score(new_X, new_y > 0, task=new_task)
    assert score > pooled.score(new_X, new_y > 0) + 0.05


def test_partial_pooling_beats_free_heads_on_small_groups():
    rng = np.random.default_rng(0)
    n_groups = 60
    shift = rng.normal(size=n_groups)

    def draw(n_rows):
        task = np.repeat(np.arange(n_groups), n_rows)
        X = rng.normal(size=(len(task), 3))
        return X, X[:, 0] + shift[task] + rng.normal(size=len(task)), task

    X, y, task = draw(4)
    new_X, new_y, new_task = draw(20)
    scores = {}
    default = HardSharing().task_shrinkage
    for shrinkage in (1e-6, 10.0, default, 1e6):
        architecture = HardSharing((), task_shrinkage=shrinkage)
        model = exact("regressor", architecture=architecture, max_epochs=300)
        model.fit(X, y, task=task)
        scores[shrinkage] = model.score(new_X, new_y, task=new_task)
    assert default == "auto"
    for shrinkage in (10.0, default):
        assert scores[shrinkage] > scores[1e-6] + 0.05
        assert scores[shrinkage] > scores[1e6] + 0.05


def test_endless_shrinkage_is_the_shared_head():
    X, y, task = row_task_data()
    architecture = HardSharing((16,), task_shrinkage=1e9)
    model = exact("regressor", architecture=architecture).fit(X, y, task=task)
    own = model.predict(X, task=task)
    with pytest.warns(UserWarning, match="shared head"):
        shared = model.predict(X, task=np.full(len(X), -1))
    assert np.abs(own - shared).max() < 1e-2 * y.std()


def test_row_tasks_may_have_several_columns_of_labels():
    X, y, task = row_task_data()
    two = np.column_stack([y, -2 * y + 1])
    two[::3, 0] = np.nan
    model = small("regressor").fit(X, two, task=task)
    assert model.predict(X, task=task).shape == (len(X), 2)
    assert model.score(X, two, task=task) > 0.7


# -- classes ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        np.array(["no", "yes"]),
        np.array([False, True]),
        np.array([-3, 8]),
        np.array([1, 2], dtype=np.int8),
        np.array([0.0, 2.0]),
        np.array(["no", "yes"], dtype=object),
        np.array(["a", "b", "a long name"]),
    ],
    ids=lambda names: f"{names.dtype}{len(names)}",
)
def test_classes_come_back_in_their_dtype(names):
    X, y = classification_data()
    y = names[y[:, len(names) - 2].astype(int)]
    model = small("classifier").fit(X, y)
    np.testing.assert_array_equal(model.classes_, np.unique(names))
    assert model.classes_.dtype == names.dtype
    assert model.predict(X).dtype == names.dtype
    assert set(model.predict(X)) <= set(names)
    assert model.score(X, y) == np.mean(model.predict(X) == y) > 0.8
    table = small("classifier").fit(X, np.column_stack([y, y]))
    assert table.predict(X).dtype == names.dtype
    assert isinstance(table.classes_, list)


def test_columns_of_different_kinds_come_back_as_they_were():
    X, y = classification_data()
    frame = pd.DataFrame(
        {
            "fruit": np.array(["apple", "fig", "plum"])[y[:, 1].astype(int)],
            "sick": y[:, 0] > 0,
            "grade": y[:, 1].astype(int),
        }
    )
    frame.loc[20:30, "fruit"] = None
    model = small("classifier").fit(X, frame)
    predicted = model.predict(X)
    assert predicted.dtype == object
    fruit, sick, grade = predicted.T
    assert set(fruit) == {"apple", "fig", "plum"}
    assert all(isinstance(value, str) for value in fruit)
    assert all(isinstance(value, (bool, np.bool_)) for value in sick)
    assert all(isinstance(value, (int, np.integer)) for value in grade)
    assert [c.tolist() for c in model.classes_] == [
        ["apple", "fig", "plum"],
        [False, True],
        [0, 1, 2],
    ]
    known = frame["fruit"].notna()
    by_hand = [
        np.mean(fruit[known] == frame["fruit"][known]),
        np.mean(sick == frame["sick"]),
        np.mean(grade == frame["grade"]),
    ]
    assert model.score(X, frame) == pytest.approx(np.mean(by_hand))
    assert model.score(X, frame) > 0.8


@pytest.mark.parametrize("dtype", ["category", "string", "boolean", "Int64"])
def test_pandas_dtypes_of_classes_are_read(dtype):
    X, y = classification_data()
    values = y[:, 0] > 0 if dtype == "boolean" else y[:, 0].astype(int)
    series = pd.Series(
        values.astype(str) if dtype in ("category", "string") else values
    )
    series = series.astype(dtype)
    series[25] = pd.NA
    model = small("classifier").fit(X, series)
    assert len(model.classes_) == 2
    assert model.score(X, series) > 0.8


def test_binary_and_multiclass_tasks_mix_with_missing_labels():
    X, y = classification_data()
    model = small("classifier").fit(X, missing(y))
    two, three = model.predict_proba(X)
    assert two.shape == (len(X), 2)
    assert three.shape == (len(X), 3)
    for proba in (two, three):
        np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    predicted = model.predict(X)
    np.testing.assert_array_equal(
        predicted[:, 0], model.classes_[0][two.argmax(axis=1)]
    )
    np.testing.assert_array_equal(
        predicted[:, 1], model.classes_[1][three.argmax(axis=1)]
    )
    assert (np.mean(predicted == y, axis=0) > 0.8).all()


def test_a_single_class_is_predicted_everywhere_with_a_warning():
    X, y = classification_data()
    y = np.column_stack([y[:, 0], np.full(len(X), 4.0)])
    with pytest.warns(UserWarning, match="Task 1 has a single class, .*4") as record:
        model = small("classifier", max_epochs=5).fit(X, y)
    assert len(record) == 1
    assert record[0].filename == __file__
    assert (model.predict(X)[:, 1] == 4).all()
    np.testing.assert_array_equal(model.predict_proba(X)[1], np.ones((len(X), 1)))
    assert model.validation_prediction_[1].shape == (len(X), 1)


# -- scores ----------------------------------------------------------------------


def test_score_is_the_mean_r2_over_labelled_cells():
    X, y = regression_data()
    y = missing(y)
    model = small("regressor", max_epochs=5).fit(X, y)
    weight = np.random.default_rng(0).uniform(size=y.shape)
    predicted = model.predict(X)
    for given in (None, weight[:, 0], weight):
        cells = np.ones_like(y) if given is None else given.reshape(len(y), -1)
        cells = np.broadcast_to(cells, y.shape)
        scores = [
            r2_score(y[known, t], predicted[known, t], sample_weight=cells[known, t])
            for t, known in enumerate(~np.isnan(y.T))
        ]
        assert model.score(X, y, sample_weight=given) == pytest.approx(np.mean(scores))


def test_score_is_the_mean_accuracy_over_labelled_cells():
    X, y = classification_data()
    hidden = missing(y)
    model = small("classifier", max_epochs=5).fit(X, hidden)
    predicted = model.predict(X)
    scores = [
        accuracy_score(y[known, t], predicted[known, t])
        for t, known in enumerate(~np.isnan(hidden.T))
    ]
    assert model.score(X, hidden) == pytest.approx(np.mean(scores))
    subset = np.mean((predicted == y).all(axis=1))
    assert model.score(X, y) > subset


def test_row_tasks_enter_one_score():
    X, y, task = row_task_data()
    model = small("regressor", max_epochs=5).fit(X, y, task=task)
    expected = r2_score(y, model.predict(X, task=task))
    assert model.score(X, y, task=task) == pytest.approx(expected)


def test_columns_without_enough_labels_are_left_out_of_the_score():
    X, y = regression_data()
    model = small("regressor", max_epochs=5).fit(X, y)
    sparse = y.copy()
    sparse[1:, 1] = np.nan
    sparse[:, 2] = np.nan
    with pytest.warns(UndefinedMetricWarning, match="2 task.*first is 1") as record:
        score = model.score(X, sparse)
    assert len(record) == 1
    assert score == pytest.approx(r2_score(y[:, 0], model.predict(X)[:, 0]))
    with pytest.warns(UndefinedMetricWarning, match="3 task"):
        assert math.isnan(model.score(X, np.full_like(y, np.nan)))


def test_one_label_is_enough_for_an_accuracy():
    X, y = classification_data()
    model = small("classifier").fit(X, y)
    sparse = y.copy()
    sparse[1:, 1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.score(X, sparse) > 0.4


def test_a_longer_label_is_not_mistaken_for_its_beginning():
    X, y = classification_data()
    names = np.array(["a", "b"])[y[:, 0].astype(int)]
    model = small("classifier").fit(X, names)
    assert model.score(X, np.char.add(names, "bc")) == 0


def test_a_label_that_fit_did_not_see_counts_as_wrong():
    X, y = classification_data()
    model = small("classifier").fit(X, y[:, 0] > 0)
    assert model.score(X, np.where(y[:, 0] > 0, 2, 3)) == 0


# -- learning --------------------------------------------------------------------


def test_one_task_equals_a_plain_network():
    X, y = regression_data(n_tasks=1)
    start = _Start()
    settings = {"weight_decay": 0.1, "relevance": None}
    model = exact("regressor", skorch_callbacks=[start], **settings)
    model.fit(X, y[:, 0])

    inputs = torch.from_numpy((X - X.mean(axis=0)) / X.std(axis=0))
    target = torch.from_numpy((y - y.mean()) / y.std())
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1)
    ).double()
    with torch.no_grad():
        for layer, name in ((net[0], "layers.0"), (net[2], "heads.shared")):
            layer.weight.copy_(start.weights[f"{name}.weight"][0].T)
            layer.bias.copy_(start.weights[f"{name}.bias"][0, 0])
    groups = [
        {"params": [net[0].weight, net[2].weight], "weight_decay": 0.1},
        {"params": [net[0].bias, net[2].bias], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda epoch: 0.5 * (1 + math.cos(math.pi * epoch / 60))
    )
    for _ in range(60):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(net(inputs), target)
        loss.backward()
        optimizer.step()
        schedule.step()
    expected = net(inputs).detach().numpy() * y.std() + y.mean()
    np.testing.assert_allclose(model.predict(X), expected[:, 0], rtol=1e-7)


def test_several_tasks_minimise_the_mean_of_their_losses():
    X, y = regression_data()
    start = _Start()
    settings = {"max_epochs": 1, "relevance": None}
    model = exact("regressor", skorch_callbacks=[start], **settings)
    model.fit(X, y)
    scaled = (y - y.mean(axis=0)) / y.std(axis=0)
    weights = {name: w.numpy() for name, w in start.weights.items()}
    inputs = (X - X.mean(axis=0)) / X.std(axis=0)
    hidden = inputs @ weights["layers.0.weight"][0] + weights["layers.0.bias"][0]
    hidden = np.maximum(hidden, 0)
    outputs = (
        hidden @ weights["heads.shared.weight"][0] + weights["heads.shared.bias"][0]
    )
    losses = ((outputs - scaled) ** 2).mean(axis=0)
    np.testing.assert_allclose(model.history_[0, "train_losses"], losses, rtol=1e-9)
    np.testing.assert_allclose(
        model.history_[0, "train_loss"], losses.mean(), rtol=1e-9
    )


@pytest.mark.parametrize("encoding", [None, Standard(), PiecewiseLinear()], ids=repr)
def test_learning_beats_a_constant(encoding):
    X, y = regression_data(200)
    new_X, new_y = regression_data(100, seed=1)
    model = small("regressor", encoding=encoding).fit(X, missing(y))
    assert model.score(new_X, new_y) > 0.9


def test_learning_beats_the_most_frequent_class():
    X, y = classification_data(200)
    new_X, new_y = classification_data(200, seed=1)
    model = small("classifier").fit(X, missing(y))
    assert model.score(new_X, new_y) > 0.85


def test_a_constant_target_is_predicted_exactly():
    X, y = regression_data()
    y = np.column_stack([y[:, 0], np.full(len(X), 7.5)])
    model = small("regressor", max_epochs=5).fit(X, y)
    np.testing.assert_allclose(model.predict(X)[:, 1], 7.5, atol=0.5)


def test_targets_of_any_unit_are_learned_alike():
    X, y = regression_data()
    unit, zero = np.array([1e-6, 1.0, 1e6]), np.array([1.0, -50.0, 0.0])
    here = exact("regressor").fit(X, y).predict(X)
    there = exact("regressor").fit(X, y * unit + zero).predict(X)
    np.testing.assert_allclose(there, here * unit + zero, rtol=1e-6)


def test_both_estimators_say_what_they_are():
    assert not isinstance(MultiTaskNetClassifier(), MultiTaskNetRegressor)
    for kind in KINDS:
        tags = ESTIMATORS[kind]().__sklearn_tags__()
        assert tags.estimator_type == kind
        assert tags.target_tags.required
        assert tags.target_tags.multi_output
        assert tags.input_tags.allow_nan
