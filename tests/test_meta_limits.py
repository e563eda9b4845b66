"""Adaptations that must come out as something simpler, and threads that share a net."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from skmtl import MAMLRegressor, SiameseClassifier
from skmtl.architecture import HardSharing
from skmtl.encoding import Raw

from .instances import frozen

SMALL = {"max_iter": 2, "random_state": 0, "device": "cpu", "dtype": "float64"}


def sines(n_tasks=6, n_rows=12, seed=0):
    """Draw lines and waves: X (n, 2), y and ids."""
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(n_tasks), n_rows)
    X = rng.normal(size=(len(task), 2))
    y = rng.normal(size=n_tasks)[task] * np.sin(X[:, 0]) + X[:, 1]
    return frozen(X, y, task)


def maml(activation="tanh", **changes):
    settings = {"inner_lr": 0.3, "n_inner_steps": 2, "clip_norm": None} | changes
    return MAMLRegressor(
        HardSharing((5,), activation=activation), Raw(), **SMALL | settings
    )


def test_zero_steps_change_nothing():
    X, y, task = sines()
    model = maml().fit(X, y, task=task)
    adapted = model.adapt(X[:5], y[:5], n_steps=0)
    np.testing.assert_array_equal(adapted.predict(X), model.net_.predict(X))


def test_one_step_on_a_linear_model_is_the_closed_form():
    X, y, task = sines()
    model = MAMLRegressor(HardSharing(()), Raw(), inner_lr=0.2, clip_norm=None, **SMALL)
    model.fit(X, y, task=task)
    adapted = model.adapt(X[:7], y[:7], n_steps=1)
    heads = model.net_.module_.architecture.heads.shared
    start = np.append(heads.weight.detach()[0, :, 0], heads.bias.detach().ravel())
    encoder = model.net_.blueprint.targets
    target = (y[:7] - encoder.shift[0]) / encoder.scale[0]
    rows = np.column_stack([X, np.ones(len(X))])
    end = start - 0.2 * 2 / 7 * rows[:7].T @ (rows[:7] @ start - target)
    expected = encoder.shift[0] + encoder.scale[0] * rows @ end
    np.testing.assert_allclose(adapted.predict(X), expected, rtol=1e-9)


@pytest.mark.parametrize("adapted", ["all", "head", "body"])
def test_threads_that_share_a_net_do_not_see_each_others_weights(adapted):
    X, y, task = sines(n_tasks=8, n_rows=20)
    model = maml(adapted=adapted).fit(X, y, task=task)
    models = [model.adapt(X[k::8], (k - 4) * y[k::8]) for k in range(8)]
    expected = [one.predict(X) for one in models]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(5):
            found = list(threads.map(lambda one: one.predict(X), models))
            np.testing.assert_array_equal(found, expected)


def test_a_threshold_comes_from_training_rows_where_held_out_ones_make_no_pairs():
    X = np.random.default_rng(0).normal(size=(15, 3))
    model = SiameseClassifier(HardSharing((4,)), Raw(), **SMALL)
    model.fit(X, np.arange(15) % 3)
    assert np.isfinite(model.threshold_)


def test_without_pairs_of_both_kinds_nothing_is_verified():
    X = np.random.default_rng(0).normal(size=(9, 3))
    model = SiameseClassifier(HardSharing((4,)), Raw(), **SMALL).fit(X, np.arange(9))
    with pytest.raises(ValueError, match="no threshold"):
        model.verify(X[:2], X[2:4])
    assert model.pair_distance(X[:2], X[2:4]).shape == (2,)
