"""Losses of single cells."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, mean_squared_error

from skmtl._net import ColumnLosses
from skmtl.loss import CrossEntropy, SquaredError, aliases, resolve

seeds = st.integers(0, 999)


def draw(seed, n_rows, n_outputs, n_classes=None):
    rng = np.random.default_rng(seed)
    outputs = torch.tensor(rng.normal(0, 3, size=(1, n_rows, 1, n_outputs)))
    if n_classes is None:
        return outputs, rng.normal(size=n_rows)
    return outputs, rng.integers(n_classes, size=n_rows).astype(float)


def as_targets(codes):
    return torch.tensor(codes)[None, :, None]


@given(seed=seeds, n_classes=st.integers(2, 5))
def test_cross_entropy_equals_log_loss(seed, n_classes):
    loss = CrossEntropy()
    n_outputs = loss.n_outputs(n_classes)
    assert n_outputs == (1 if n_classes == 2 else n_classes)
    outputs, codes = draw(seed, 9, n_outputs, n_classes)
    cells = loss.cells(outputs, as_targets(codes))[0, :, 0]
    proba = loss.link(outputs[:, :, 0])[0].numpy()
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    for cell, code, row in zip(cells, codes, proba, strict=True):
        expected = log_loss([code], row[None], labels=np.arange(n_classes))
        np.testing.assert_allclose(cell.item(), expected, rtol=1e-9)


@given(seed=seeds)
def test_squared_error_equals_that_of_scikit_learn(seed):
    outputs, targets = draw(seed, 9, 1)
    cells = SquaredError().cells(outputs, as_targets(targets))
    assert cells.shape == (1, 9, 1)
    expected = mean_squared_error(targets, outputs[0, :, 0, 0].numpy())
    np.testing.assert_allclose(cells.mean().item(), expected)


def test_two_classes_are_log_odds_of_the_second():
    odds = torch.tensor([[[0.0], [2.0], [-2.0]]])
    proba = CrossEntropy().link(odds)[0]
    expected = [0.5, 1 / (1 + np.exp(-2)), 1 / (1 + np.exp(2))]
    np.testing.assert_allclose(proba[:, 1], expected, rtol=1e-6)


def test_numbers_pass_the_link():
    outputs = torch.randn(2, 3, 1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(SquaredError().link(outputs), outputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("size", [1.0, 1e2, 1e4])
def test_cross_entropy_of_large_outputs_is_finite(size, n_classes, dtype):
    loss = CrossEntropy()
    n_outputs = loss.n_outputs(n_classes)
    outputs = torch.full((1, 2, 1, n_outputs), -size, dtype=dtype)
    outputs[0, 0] = size
    outputs[..., 0] += size / 2
    outputs.requires_grad_()
    cells = loss.cells(outputs, as_targets([0.0, 1.0]))
    assert cells.dtype == dtype
    assert cells.isfinite().all()
    cells.sum().backward()
    assert outputs.grad.isfinite().all()
    assert loss.link(outputs.detach()[:, :, 0]).isfinite().all()


@pytest.mark.parametrize(
    ("loss", "n_classes"),
    [(SquaredError(), None), (CrossEntropy(), 2), (CrossEntropy(), 3)],
)
def test_missing_labels_give_no_nan_and_no_gradient(loss, n_classes):
    """Where a label is missing the target is 0 and the weight is 0."""
    outputs, codes = draw(0, 6, loss.n_outputs(n_classes), n_classes)
    outputs.requires_grad_()
    weight = torch.tensor([1.0, 0, 1, 0, 0, 1])
    targets = torch.where(weight > 0, torch.tensor(codes), 0.0)
    cells = loss.cells(outputs, targets[None, :, None])
    (cells[0, :, 0] * weight).sum().backward()
    assert outputs.grad.isfinite().all()
    assert (outputs.grad[0, weight == 0] == 0).all()
    assert (outputs.grad[0, weight > 0] != 0).all()


@given(seed=seeds, n_classes=st.sampled_from([None, 2, 3, 5]))
def test_the_initial_bias_is_the_best_constant(seed, n_classes):
    loss = SquaredError() if n_classes is None else CrossEntropy()
    n_outputs = loss.n_outputs(n_classes)
    _, targets = draw(seed, 40, n_outputs, n_classes)
    weight = np.random.default_rng(seed).uniform(0.5, 2, size=40)
    weight[::5] = 0
    bias = loss.initial_bias(targets, weight, n_classes)
    assert bias.shape == (n_outputs,)

    def score(constant):
        outputs = torch.tensor(constant).expand(1, 40, 1, -1)
        cells = loss.cells(outputs, as_targets(targets))[0, :, 0].numpy()
        return np.average(cells, weights=weight)

    best = score(bias)
    for direction in np.eye(n_outputs):
        assert score(bias + 0.05 * direction) > best
        assert score(bias - 0.05 * direction) > best


def test_the_initial_bias_by_hand():
    weight = np.array([1.0, 3.0, 0.0])
    bias = SquaredError().initial_bias(np.array([2.0, 6.0, 99.0]), weight, None)
    np.testing.assert_allclose(bias, [5.0])
    bias = CrossEntropy().initial_bias(np.array([0.0, 1.0, 0.0]), weight, 2)
    np.testing.assert_allclose(bias, np.log(3), rtol=1e-2)


@pytest.mark.parametrize("n_classes", [1, 2, 4])
def test_a_class_without_rows_keeps_a_finite_bias(n_classes):
    loss = CrossEntropy()
    for weight in (np.ones(3), np.zeros(3)):
        bias = loss.initial_bias(np.zeros(3), weight, n_classes)
        assert bias.shape == (loss.n_outputs(n_classes),)
        assert np.isfinite(bias).all()
    assert np.isfinite(SquaredError().initial_bias(np.zeros(3), np.zeros(3), None))


def test_a_class_not_seen_is_improbable_and_a_lone_one_is_nearly_certain():
    bias = CrossEntropy().initial_bias(np.array([0.0, 0.0, 2.0]), np.ones(3), 3)
    proba = CrossEntropy().link(torch.tensor(bias)[None, None])[0, 0]
    np.testing.assert_allclose(proba, [2 / 3, 0, 1 / 3], atol=1e-3)
    assert proba[1] > 0


@pytest.mark.parametrize("loss", [SquaredError(), CrossEntropy()])
def test_losses_work_on_banks(loss):
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(3, 5, 2, 1, generator=generator)
    targets = torch.randint(2, (3, 5, 2), generator=generator).float()
    cells = loss.cells(outputs, targets)
    assert cells.shape == (3, 5, 2)
    for k in range(3):
        one = loss.cells(outputs[[k]], targets[[k]])
        torch.testing.assert_close(cells[k], one[0])


@pytest.mark.parametrize("kind", ["number", "class"])
def test_aliases_are_the_default_objects(kind):
    for alias in aliases(kind):
        first, second = resolve(alias, ["a", "b"], [kind, kind])
        assert first is second
        assert first.kind == kind
        assert first.get_params() == type(first)().get_params()


# -- columns side by side --------------------------------------------------------


@given(
    n_classes=st.lists(st.sampled_from([2, 3, 4]), min_size=1, max_size=5), seed=seeds
)
def test_mixed_columns_equal_each_column_alone(n_classes, seed):
    loss = CrossEntropy()
    losses = ColumnLosses([loss] * len(n_classes), n_classes)
    assert losses.n_outputs == sum(loss.n_outputs(n) for n in n_classes)
    rng = np.random.default_rng(seed)
    outputs = torch.tensor(rng.normal(size=(2, 7, losses.n_outputs)))
    targets = torch.tensor(
        np.stack([rng.integers(n, size=(2, 7)) for n in n_classes], -1)
    ).double()
    cells = losses.cells(outputs, targets)
    columns = losses.split(losses.predict(outputs).numpy())
    membership = losses.membership("cpu", torch.float64)
    start = 0
    for j, n in enumerate(n_classes):
        own = slice(start, start + loss.n_outputs(n))
        start = own.stop
        alone = loss.cells(outputs[..., None, own], targets[..., [j]])
        torch.testing.assert_close(cells[..., [j]], alone)
        proba = loss.link(outputs[..., own]).mean(0)
        np.testing.assert_allclose(columns[j], proba)
        assert columns[j].shape == (7, n)
        expected = torch.zeros(losses.n_outputs).double()
        expected[own] = 1
        assert torch.equal(membership[:, j], expected)
