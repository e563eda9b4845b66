"""Every weighting, inside the estimators."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold

from skmtl import MixedTaskNet, MultiTaskNetRegressor
from skmtl.architecture import HardSharing, TorchModule
from skmtl.weighting import (
    DBMTL,
    CAGrad,
    Equal,
    ExcessRisk,
    GradVac,
    HeadRates,
    NashMTL,
    PCGrad,
    Uncertainty,
)

from .instances import STRATEGIES, SmallTrunk, missing, regression_data

ROWS = [
    pytest.param(row, id=str(row.strategy).replace("\n", ""))
    for row in STRATEGIES["weighting"]
]
SMALL = {
    "architecture": HardSharing((8,)),
    "max_epochs": 3,
    "n_estimators": 2,
    "batch_size": 16,
    "random_state": 0,
    "device": "cpu",
}


@pytest.mark.parametrize("row", ROWS)
def test_numbers_and_classes_side_by_side_with_labels_missing(row):
    X, y = regression_data()
    y = missing(y)
    frame = pd.DataFrame({0: y[:, 0], 1: y[:, 1]})
    classes = np.where(y[:, 2] > 5, "high", "low").astype(object)
    classes[np.isnan(y[:, 2])] = None
    frame[2] = classes
    model = MixedTaskNet(weighting=clone(row.strategy), **SMALL).fit(X, frame)
    assert np.isfinite(model.loss_weights_).all()
    assert model.predict(X).notna().all(axis=None)
    sees = row.needs != "losses"
    assert hasattr(model, "gradient_conflict_") is sees
    if sees:
        conflict = model.gradient_conflict_
        assert conflict.shape == (3, 3, 3)
        assert (np.abs(conflict) <= 1 + 1e-6).all()
        np.testing.assert_allclose(conflict, conflict.swapaxes(1, 2), atol=1e-6)
    again = pickle.loads(pickle.dumps(model))
    pd.testing.assert_frame_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize("row", ROWS)
def test_trunks_of_the_user(row):
    X, y = regression_data()
    params = SMALL | {"architecture": TorchModule(SmallTrunk, {"dropout": 0.2})}
    model = MultiTaskNetRegressor(weighting=clone(row.strategy), **params)
    first = model.fit(X, missing(y)).predict(X)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(model.fit(X, missing(y)).predict(X), first)


@pytest.mark.parametrize("row", [r for r in ROWS if r.values[0].row_tasks])
def test_three_hundred_row_tasks(row):
    rng = np.random.default_rng(0)
    X, task = rng.normal(size=(900, 4)), np.repeat(np.arange(300), 3)
    y = X[:, 0] + rng.normal(size=300)[task]
    params = SMALL | {"n_estimators": 1, "batch_size": 128, "early_stopping": False}
    model = MultiTaskNetRegressor(weighting=clone(row.strategy), **params)
    model.fit(X, y, task=task)
    assert np.isfinite(model.predict(X, task=task)).all()
    assert model.loss_weights_.shape == (3, 1, 300)
    if row.needs != "losses":
        conflict = model.gradient_conflict_
        assert conflict.shape == (3, 300, 300)
        # Most pairs of tasks never meet in a batch.
        assert np.isnan(conflict).mean() > 0.1


@pytest.mark.parametrize(
    "row", [r for r in ROWS if not isinstance(r.values[0].strategy, Equal)]
)
def test_every_weighting_changes_what_is_learned(row):
    X, y = regression_data()
    params = SMALL | {"max_epochs": 4, "n_estimators": 1, "dtype": "float64"}
    plain, weighted = (
        MultiTaskNetRegressor(weighting=w, **params).fit(X, y)
        for w in (Equal(), clone(row.strategy))
    )
    assert np.abs(plain.predict(X) - weighted.predict(X)).max() > 1e-6
    before, after = (
        [p for n, p in m.architecture_.named_parameters() if n.startswith("layers.")]
        for m in (plain, weighted)
    )
    if not isinstance(row.strategy, HeadRates):
        moved = max((a - b).abs().max() for a, b in zip(before, after, strict=True))
        assert moved > 1e-6


@pytest.mark.parametrize("weighting", [DBMTL(), ExcessRisk(), GradVac()], ids=repr)
def test_a_warm_start_goes_on_and_a_fit_begins_anew(weighting):
    X, y = regression_data()
    params = SMALL | {"early_stopping": False}
    model = MultiTaskNetRegressor(
        weighting=clone(weighting), warm_start=True, **params
    ).fit(X, y)

    def state():
        named = dict(model.weighting_.named_buffers())
        name = "cosines_" if "cosines_" in named else "count_"
        return named[name].clone()

    first = state()
    model.fit(X, y)
    second = state()
    assert (second != first).any()
    if "count_" in dict(model.weighting_.named_buffers()):
        assert (second > first).all()
    model.set_params(warm_start=False).fit(X, y)
    np.testing.assert_array_equal(state(), first)


def test_searches_over_weightings_and_through_them():
    X, y = regression_data()
    model = MultiTaskNetRegressor(**SMALL)
    grid = [
        {"weighting": [Equal(), Uncertainty(), NashMTL(update_every=2)]},
        {"weighting": [CAGrad()], "weighting__c": [0.2, 0.8]},
    ]
    search = GridSearchCV(model, grid, cv=KFold(2)).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(search.cv_results_["params"]) == 5


def test_conflict_is_asked_of_weightings_that_look():
    X, y = regression_data()
    model = MultiTaskNetRegressor(**SMALL)
    with pytest.raises(AttributeError, match="fit"):
        model.gradient_conflict_  # noqa: B018
    model.fit(X, y)
    with pytest.raises(AttributeError, match=r"skmtl\.weighting\.PCGrad"):
        model.gradient_conflict_  # noqa: B018
    assert not hasattr(model, "gradient_conflict_")


def test_held_weights_change_less_often():
    X, y = regression_data()
    params = SMALL | {"max_epochs": 6, "n_estimators": 1}
    scores = [
        MultiTaskNetRegressor(weighting=PCGrad(update_every=k), **params)
        .fit(X, y)
        .loss_weights_
        for k in (1, 1000)
    ]
    assert (np.ptp(scores[1], axis=0) < 1e-9).all()
    assert (np.ptp(scores[0], axis=0) > 1e-9).any()
