"""Where features meet: what held for each alone holds for them together."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import KFold
from torch import nn

from skmtl import MultiTaskNetRegressor
from skmtl.architecture import TorchModule
from skmtl.encoding import Periodic, Standard
from skmtl.loss import Quantile
from skmtl.metrics import gain_over_single_task
from skmtl.model_selection import TaskKFold, cross_val_predict

from .instances import regression_data, row_task_data, small


def cheap(**changes):
    """Make a regressor of two members in float64."""
    return small("regressor", **{"max_epochs": 6, "dtype": "float64"} | changes)


def positive(n_samples=140):
    X, y = regression_data(n_samples)
    return X, np.abs(y) + 0.1


def constant_in_a_fold(X):
    """Let column 0 vary in the last rows alone, so that one fold drops it."""
    X = X.copy()
    X[:-10, 0] = 0
    return X


class LooksAcross(nn.Module):
    """A trunk that feels how many inputs there are."""

    def __init__(self):
        super().__init__()
        self.layer = nn.LazyLinear(6)

    def forward(self, inputs):
        return self.layer(nn.functional.layer_norm(inputs, inputs.shape[-1:]))


# -- warm starts -----------------------------------------------------------------


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_transform": "log1p"}, "'log1p' needs labels above -1"),
        ({"loss": "poisson"}, "Task 0 has labels below zero"),
        ({"loss": "gamma"}, "Task 0 has labels that are not positive"),
    ],
)
def test_warm_starts_check_the_range_of_labels(settings, message, more):
    X, y = positive()
    model = cheap(warm_start=True, **settings).fit(X, y)
    before = model.predict(X)
    model.set_params(n_estimators=2 + more)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y - 20)
    np.testing.assert_array_equal(model.predict(X), before)


@pytest.mark.parametrize("loss", ["poisson", "gamma"])
def test_partial_fit_checks_the_range_of_labels(loss):
    X, y = positive()
    model = cheap(loss=loss).fit(X, y)
    with pytest.raises(ValueError, match="Task 0 has labels"):
        model.partial_fit(X, y - 20)


@pytest.mark.parametrize(
    "settings",
    [
        {"encoding": Periodic(n_frequencies=3, n_units=2)},
        {"encoding": Standard(), "architecture": TorchModule(LooksAcross)},
    ],
    ids=["periodic", "own module"],
)
def test_members_of_other_widths_are_added(settings):
    X, y = positive()
    X = constant_in_a_fold(X)
    settings = settings | {"cv": KFold(7), "warm_start": True}
    model = cheap(n_estimators=6, **settings).fit(X, y)
    first = model.estimators_[0].predict(X)
    model.set_params(n_estimators=7).fit(X, y)
    np.testing.assert_allclose(model.estimators_[0].predict(X), first, rtol=1e-12)
    whole = cheap(n_estimators=7, **settings).fit(X, y)
    np.testing.assert_allclose(model.predict(X), whole.predict(X), rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "value"), [("encoding", Standard()), ("target_transform", "quantile")]
)
def test_a_warm_start_refuses_other_inputs_and_targets(name, value):
    X, y = positive()
    model = cheap(warm_start=True).fit(X, y).set_params(**{name: value})
    with pytest.raises(ValueError, match=f"keeps the {name} of the fit before"):
        model.fit(X, y)


def test_rows_set_aside_are_never_trained_on():
    X, y = positive()
    model = cheap(calibration_size=0.25, warm_start=True).fit(X, y)
    for train_on in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match="would train on the rows that calib"):
            train_on(X, y)


# -- errors ----------------------------------------------------------------------


def test_a_fit_that_fails_leaves_the_fit_before():
    X, y = positive()
    model = cheap().fit(X, y)
    before = model.predict(X)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X[:, 1:], y[:-1])
    np.testing.assert_array_equal(model.predict(X), before)
    unfitted = cheap()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        unfitted.fit(X, y[:-1])
    assert vars(unfitted).keys() == unfitted.get_params(deep=False).keys()


def test_a_bare_module_is_named_its_wrapper():
    X, y = positive()
    model = cheap(architecture=LooksAcross())
    with pytest.raises(ValueError, match=r"architecture=TorchModule\(LooksAcross"):
        model.fit(X, y)


# -- other forms of data ---------------------------------------------------------


def test_tensors_are_tables():
    X, y = positive()
    model = cheap().fit(torch.tensor(X), y)
    expected = cheap().fit(X, y).predict(X)
    np.testing.assert_array_equal(model.predict(torch.tensor(X)), expected)


def test_an_adapted_estimator_needs_no_task_column():
    X, y, ids = row_task_data()
    table = pd.DataFrame(X, columns=list("abc")).assign(group=ids)
    model = cheap(task_column="group").fit(table, y)
    adapted = model.adapt(table[:20].assign(group=99), y[:20])
    expected = adapted.predict(table.assign(group=99))
    np.testing.assert_array_equal(adapted.predict(table[["a", "b", "c"]]), expected)
    assert adapted.fit(table, y).task_names_.tolist() == model.task_names_.tolist()


def test_a_parameter_reaches_through_the_name_of_a_loss():
    model = MultiTaskNetRegressor(loss="huber").set_params(loss__delta=0.5)
    assert model.loss.delta == 0.5


def test_sharing_is_measured_with_a_loss_a_task():
    X, y = positive()
    frame = pd.DataFrame(y, columns=list("uvw"))
    for loss in (["huber", "squared_error", "gamma"], {"v": Quantile(0.4)}):
        if isinstance(loss, dict):
            loss = {"u": "gamma"} | loss | {"w": "huber"}
        gain = gain_over_single_task(cheap(loss=loss), X, frame, cv=2, random_state=0)
        assert np.isfinite(gain.loc[list("uvw"), "gain"]).all()


def test_folds_know_labelled_rows_of_row_tasks():
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(20), 3)
    X = np.c_[rng.normal(size=(60, 2)), ids]
    # The one labelled row of a group has to train, whatever else the group has.
    y = np.where(np.arange(60) % 3 == 0, X[:, 0], np.nan)
    for train, _ in TaskKFold(2, task_column=2, random_state=0).split(X, y):
        assert set(ids[train][~np.isnan(y[train])]) == set(range(20))
    model = cheap(task_column=2, max_epochs=2, n_estimators=1, early_stopping=False)
    with pytest.warns(UserWarning, match="20 of 60 rows are in no test set"):
        predicted = cross_val_predict(model, X, y, cv=TaskKFold(2, task_column=2))
    assert np.isfinite(predicted[np.isnan(y)]).all()
