"""Networks whose derivatives are written out: the numbers of autograd."""

from functools import partial

import numpy as np
import pytest
import torch

from skmtl import MAMLClassifier, MAMLRegressor
from skmtl.architecture import HardSharing
from skmtl.architecture._hard_sharing import HardSharingModule
from skmtl.encoding import Standard
from skmtl.loss import Huber, SquaredError
from skmtl.meta._chain import ChainPasses, forward_pass
from skmtl.meta._chain_loop import ChainLoop
from skmtl.meta._slopes import WrittenSlope


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 2))
    task = np.repeat(np.arange(6), 15)
    return X, np.sin(X[:, 0] + task) + X[:, 1], task


def regressor(**params):
    fixed = {"n_support": (2, 6), "n_query": 5, "meta_batch_size": 4, "max_iter": 5}
    fixed |= {"dtype": "float64", "device": "cpu", "random_state": 0}
    architecture = params.pop("architecture", HardSharing((7, 5)))
    return MAMLRegressor(architecture, Standard(), **(fixed | params))


def history(model, X, y, task):
    model.fit(X, y, task=task)
    return [row["train_loss"] for row in model.history_], model.predict(X, task=task)


SETTINGS = {
    "one step": {"n_inner_steps": 1},
    "three steps": {},
    "first order": {"first_order": True},
    "body": {"adapted": "body"},
    "head": {"adapted": "head"},
    "a rate a tensor": {"learn_inner_lr": "tensor"},
    "a rate a weight": {"learn_inner_lr": "weight", "clip_norm": 0.2},
    "a loss a step": {"multi_step_loss": True, "max_iter": 60},
    "clipped": {"clip_norm": 0.05},
    "members": {"n_estimators": 3},
    "chunks": {"task_chunk_size": 3},
    "another loss": {"loss": "huber"},
    "a loss without curvature": {"loss": "absolute_error"},
    "no hidden layer": {"architecture": HardSharing(())},
}


@pytest.mark.parametrize("params", SETTINGS.values(), ids=SETTINGS)
def test_the_numbers_are_those_of_autograd(params, data, monkeypatch):
    ours = history(regressor(**params), *data)
    monkeypatch.setattr(HardSharingModule, "chain", lambda self: None)
    autograd = history(regressor(**params), *data)
    for found, expected in zip(ours, autograd, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_classes_and_columns_have_chains_too(data, monkeypatch):
    X, y, task = data
    params = {"n_query": 5, "max_iter": 5, "dtype": "float64", "random_state": 0}
    labels = np.column_stack([y > 0, y > 1])
    fits = []
    for _ in range(2):
        model = MAMLClassifier(HardSharing((6,)), Standard(), **params)
        model.fit(X, labels, task=task)
        fits.append(model.predict_proba(X, task=task))
        monkeypatch.setattr(HardSharingModule, "chain", lambda self: None)
    for found, expected in zip(*fits, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(
    "architecture",
    [
        HardSharing((4,), activation="tanh"),
        HardSharing((4,), dropout=0.2),
        HardSharing((4,), linear_skip=True),
    ],
)
def test_what_is_more_than_a_chain_has_none(architecture, data):
    X, y, task = data
    model = regressor(architecture=architecture).fit(X, y, task=task)
    assert model.architecture_.train().chain() is None


def test_dropout_rests_in_evaluation(data):
    X, y, task = data
    architecture = HardSharing((4,), dropout=0.2)
    model = regressor(architecture=architecture).fit(X, y, task=task)
    assert len(model.architecture_.eval().chain()) == 2


@pytest.mark.parametrize("seed", range(3))
def test_the_curve_is_the_hessian_times_a_vector(seed):
    generator = torch.Generator().manual_seed(seed)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    tensors = [draw(2, 3, 4), draw(2, 1, 4), draw(2, 4, 1), draw(2, 1, 1)]
    inputs, targets, mean = draw(2, 5, 3), draw(2, 5, 1), draw(2, 5, 1).square()

    def loss(*tensors):
        _, outputs = forward_pass(inputs, tensors)
        return (mean * (outputs - targets).square()).sum()

    def slope(outputs):
        return WrittenSlope(mean, *SquaredError().derivatives(outputs, targets))

    directions = [draw(tensor.shape) for tensor in tensors]
    passes = ChainPasses(slope, inputs, tensors)
    expected = torch.autograd.functional.jacobian(loss, tuple(tensors))
    torch.testing.assert_close(passes.gradients(), list(expected))
    _, curve = torch.autograd.functional.hvp(loss, tuple(tensors), tuple(directions))
    torch.testing.assert_close(passes.curve(directions), list(curve))


class Cubed(SquaredError):
    def cells(self, outputs, targets):
        return (outputs.squeeze(-1) - targets).abs() ** 3


def test_derivatives_are_not_taken_from_another_loss():
    assert SquaredError().has_derivatives
    assert not Huber().has_derivatives
    assert not Cubed().has_derivatives


def test_a_loss_of_ones_own_is_differentiated(data, monkeypatch):
    ours = history(regressor(loss=Cubed()), *data)
    monkeypatch.setattr(HardSharingModule, "chain", lambda self: None)
    np.testing.assert_allclose(ours[1], history(regressor(loss=Cubed()), *data)[1])


def test_a_chain_is_used(data, monkeypatch):
    calls = []
    own = ChainLoop.gradients
    monkeypatch.setattr(
        ChainLoop, "gradients", lambda *args: calls.append(1) or own(*args)
    )
    history(regressor(), *data)
    assert len(calls) == 5
