"""Losses of single cells."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import huber, log_softmax, softmax
from sklearn.metrics import (
    log_loss,
    mean_absolute_error,
    mean_gamma_deviance,
    mean_pinball_loss,
    mean_poisson_deviance,
    mean_squared_error,
)

from skmtl import MixedTaskNet, MultiTaskNetClassifier, MultiTaskNetRegressor
from skmtl._net import ColumnLosses
from skmtl._strategy import Strategy
from skmtl.loss import (
    AbsoluteError,
    CrossEntropy,
    Focal,
    Gamma,
    Huber,
    Poisson,
    Quantile,
    SquaredError,
    aliases,
    resolve,
)

seeds = st.integers(0, 999)

NUMBERS = [
    SquaredError(),
    AbsoluteError(),
    Huber(0.7),
    Poisson(),
    Gamma(),
    Quantile(0.3),
    Quantile([0.9, 0.1, 0.5]),
]
CLASSES = [CrossEntropy(), CrossEntropy(0.2), Focal(), Focal(0.5)]
# (loss, n_classes) of every loss; a bank of one value a network is a case of its own.
CASES = [(loss, None) for loss in NUMBERS] + [(c, n) for c in CLASSES for n in (2, 4)]


def draw(seed, n_rows, n_outputs, n_classes=None):
    rng = np.random.default_rng(seed)
    outputs = torch.tensor(rng.normal(0, 3, size=(1, n_rows, 1, n_outputs)))
    if n_classes is None:
        return outputs, rng.normal(size=n_rows)
    return outputs, rng.integers(n_classes, size=n_rows).astype(float)


def draw_for(loss, seed, n_rows, n_classes=None):
    """Draw outputs, and labels in the range of the loss."""
    n_outputs = loss.n_outputs(n_classes)
    outputs, targets = draw(seed, n_rows, n_outputs, n_classes)
    if isinstance(loss, (Poisson, Gamma)):
        targets = np.exp(targets)
    if isinstance(loss, Poisson):
        targets = np.floor(2 * targets)
    return outputs, targets


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


@pytest.mark.parametrize(("loss", "n_classes"), CASES)
def test_missing_labels_give_no_nan_and_no_gradient(loss, n_classes):
    """Where a label is missing the target is 0 and the weight is 0."""
    outputs, codes = draw_for(loss, 0, 6, n_classes)
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


# -- every loss ------------------------------------------------------------------


def pinball(level):
    return lambda y, p: mean_pinball_loss(y, p, alpha=level)


ORACLES = [
    (SquaredError(), mean_squared_error),
    (AbsoluteError(), mean_absolute_error),
    (Huber(0.7), lambda y, p: huber(0.7, y - p).mean()),
    (Poisson(), lambda y, p: mean_poisson_deviance(y, p) / 2),
    (Gamma(), lambda y, p: mean_gamma_deviance(y, p) / 2),
    (Quantile(0.3), pinball(0.3)),
    (Quantile(0.5), lambda y, p: mean_absolute_error(y, p) / 2),
]


@pytest.mark.parametrize(("loss", "oracle"), ORACLES)
@given(seed=seeds)
def test_losses_of_numbers_equal_the_metrics_they_are_named_after(loss, oracle, seed):
    outputs, targets = draw_for(loss, seed, 9)
    cells = loss.cells(outputs, as_targets(targets))
    assert cells.shape == (1, 9, 1)
    assert (cells >= -1e-9).all()
    predicted = loss.link(outputs[0, :, 0])[:, 0].numpy()
    np.testing.assert_allclose(cells.mean().item(), oracle(targets, predicted))


@given(seed=seeds)
def test_several_levels_are_the_mean_of_single_ones_in_ascending_order(seed):
    levels = [0.9, 0.1, 0.5]
    outputs, targets = draw_for(Quantile(levels), seed, 9)
    predicted = outputs[0, :, 0].numpy()
    each = [
        mean_pinball_loss(targets, column, alpha=level)
        for level, column in zip(sorted(levels), predicted.T, strict=True)
    ]
    cells = Quantile(levels).cells(outputs, as_targets(targets))
    np.testing.assert_allclose(cells.mean().item(), np.mean(each))


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_label_smoothing_spreads_a_share_of_the_label(share, n_classes):
    loss = CrossEntropy(share)
    outputs, codes = draw_for(loss, 0, 9, n_classes)
    logits = outputs[0, :, 0].numpy()
    if n_classes == 2:
        logits = np.append(np.zeros((9, 1)), logits, axis=1)
    smooth = (1 - share) * np.eye(n_classes)[codes.astype(int)] + share / n_classes
    expected = -(smooth * log_softmax(logits, axis=1)).sum(axis=1)
    cells = loss.training_cells(outputs, as_targets(codes))[0, :, 0]
    np.testing.assert_allclose(cells, expected)
    plain = CrossEntropy().cells(outputs, as_targets(codes))
    assert torch.equal(loss.cells(outputs, as_targets(codes)), plain)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_fades_by_a_power_of_the_probability_that_is_left(gamma, n_classes):
    loss = Focal(gamma)
    outputs, codes = draw_for(loss, 0, 9, n_classes)
    logits = outputs[0, :, 0].numpy()
    if n_classes == 2:
        logits = np.append(np.zeros((9, 1)), logits, axis=1)
    p = softmax(logits, axis=1)[np.arange(9), codes.astype(int)]
    cells = loss.cells(outputs, as_targets(codes))[0, :, 0]
    np.testing.assert_allclose(cells, -((1 - p) ** gamma) * np.log(p), rtol=1e-9)


@pytest.mark.parametrize(("loss", "n_classes"), CASES)
def test_gradients_equal_finite_differences(loss, n_classes):
    outputs, targets = draw_for(loss, 1, 5, n_classes)
    outputs.requires_grad_()
    for cells in (loss.cells, loss.training_cells):
        assert torch.autograd.gradcheck(
            lambda o, cells=cells: cells(o, as_targets(targets)), outputs
        )


EXTREME = [(loss, n, size) for loss, n in CASES for size in (1e2, 1e4)]


@pytest.mark.parametrize(("loss", "n_classes", "size"), EXTREME)
def test_masked_cells_of_extreme_outputs_leave_no_nan(loss, n_classes, size):
    """The engine multiplies a masked cell by a weight of zero."""
    signs = torch.tensor([1.0, -1, 1, -1, 1])[: max(loss.n_outputs(n_classes), 2)]
    outputs = torch.stack([signs, -signs, 0.1 * signs])[None, :, None]
    outputs = (size * outputs[..., : loss.n_outputs(n_classes)]).requires_grad_()
    cells = loss.training_cells(outputs, torch.zeros(1, 3, 1))
    assert not cells.isnan().any()
    total = (cells * 0.0).sum()
    assert total == 0
    total.backward()
    assert (outputs.grad == 0).all()


@pytest.mark.parametrize("loss", NUMBERS)
@pytest.mark.parametrize("seed", range(3))
def test_the_initial_bias_minimises_the_mean_loss_over_constants(loss, seed):
    _, targets = draw_for(loss, seed, 40)
    weight = np.random.default_rng(seed).uniform(0.5, 2, size=40)
    weight[::5] = 0
    bias = loss.initial_bias(targets, weight, None)
    assert bias.shape == (loss.n_outputs(None),)

    def score(constant, position):
        outputs = torch.tensor(bias).clone()
        outputs[position] = constant
        cells = loss.cells(outputs.expand(1, 40, 1, -1), as_targets(targets))
        return np.average(cells[0, :, 0].numpy(), weights=weight)

    for k, found in enumerate(bias):
        best = minimize_scalar(
            score, args=(k,), bounds=(-5, 5), method="bounded", options={"xatol": 1e-9}
        )
        # Huber starts at the median, which is only close to its best constant.
        slack = 1.05 if isinstance(loss, Huber) else 1 + 1e-9
        assert score(found, k) <= slack * best.fun


def test_initial_biases_by_hand():
    weight = np.array([1.0, 3.0, 0.0])
    targets = np.array([2.0, 6.0, 99.0])
    for loss in (AbsoluteError(), Huber(), Quantile(0.5)):
        assert loss.initial_bias(targets, weight, None) == [6.0]
    assert Quantile(0.2).initial_bias(targets, weight, None) == [2.0]
    for loss in (Poisson(), Gamma()):
        np.testing.assert_allclose(
            loss.initial_bias(targets, weight, None), [np.log(5)]
        )


@pytest.mark.parametrize("loss", NUMBERS)
def test_a_task_without_labels_or_of_zeros_has_a_finite_bias(loss):
    for weight in (np.zeros(3), np.ones(3)):
        assert np.isfinite(loss.initial_bias(np.zeros(3), weight, None)).all()


def test_scaling_keeps_zero_where_a_log_needs_it():
    for loss in NUMBERS:
        shift, unit = loss.scaling(4.0, 2.0)
        logs = isinstance(loss, (Poisson, Gamma))
        assert (shift, unit) == ((0.0, 4.0) if logs else (4.0, 2.0))
        assert loss.scaling(0.0, 0.0)[1] == 1.0


# -- limits ----------------------------------------------------------------------


def cells_of(loss, n_classes=None, seed=3, training=False):
    outputs, targets = draw(seed, 30, loss.n_outputs(n_classes), n_classes)
    compute = loss.training_cells if training else loss.cells
    return compute(outputs, as_targets(targets))


def test_huber_lies_between_squared_and_absolute_error():
    torch.testing.assert_close(cells_of(Huber(1e6)), 0.5 * cells_of(SquaredError()))
    small = cells_of(Huber(1e-7)) / 1e-7
    torch.testing.assert_close(small, cells_of(AbsoluteError()), rtol=0, atol=1e-6)


def test_the_median_is_half_the_absolute_error():
    torch.testing.assert_close(cells_of(Quantile()), 0.5 * cells_of(AbsoluteError()))
    torch.testing.assert_close(cells_of(Quantile([0.5])), cells_of(Quantile(0.5)))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_cross_entropy_is_the_limit_of_its_kin(n_classes):
    plain = cells_of(CrossEntropy(), n_classes)
    torch.testing.assert_close(cells_of(Focal(0.0), n_classes), plain)
    smooth = cells_of(CrossEntropy(1e-12), n_classes, training=True)
    torch.testing.assert_close(smooth, plain)
    assert torch.equal(cells_of(CrossEntropy(0.0), n_classes, training=True), plain)


def test_two_classes_equal_two_outputs_of_softmax():
    for loss in CLASSES:
        outputs, codes = draw_for(loss, 4, 9, 2)
        pair = torch.cat([torch.zeros_like(outputs), outputs], dim=-1)
        for name in ("cells", "training_cells"):
            compute = getattr(loss, name)
            torch.testing.assert_close(
                compute(outputs, as_targets(codes)), compute(pair, as_targets(codes))
            )


# -- banks of hyperparameters ----------------------------------------------------

BANKS = [
    ([Huber(d) for d in (0.1, 1.0, 5.0)], None),
    ([Quantile(q) for q in (0.1, 0.5, 0.8)], None),
    ([CrossEntropy(s) for s in (0.0, 0.1, 0.5)], 2),
    ([CrossEntropy(s) for s in (0.0, 0.1, 0.5)], 4),
    ([Focal(g) for g in (0.0, 0.5, 3.0)], 2),
    ([Focal(g) for g in (0.0, 0.5, 3.0)], 4),
]


@pytest.mark.parametrize(("losses", "n_classes"), BANKS)
def test_one_value_a_network_equals_networks_alone(losses, n_classes):
    bank = Strategy.stack(losses)
    assert isinstance(bank, type(losses[0]))
    n_outputs = losses[0].n_outputs(n_classes)
    assert bank.n_outputs(n_classes) == n_outputs
    rng = np.random.default_rng(0)
    outputs = torch.tensor(rng.normal(size=(3, 7, 2, n_outputs)))
    targets = torch.tensor(rng.integers(n_classes or 5, size=(3, 7, 2))).double()
    for name in ("cells", "training_cells"):
        together = getattr(bank, name)(outputs, targets)
        for k, loss in enumerate(losses):
            alone = getattr(loss, name)(outputs[[k]], targets[[k]])
            torch.testing.assert_close(together[[k]], alone)
        taken = getattr(bank.take([2, 0]), name)(outputs[[2, 0]], targets[[2, 0]])
        torch.testing.assert_close(taken, together[[2, 0]])


@pytest.mark.parametrize("first", [Quantile(0.1), Quantile([0.1, 0.9])])
def test_lists_of_levels_do_not_fuse(first):
    with pytest.raises(ValueError, match=r"must agree in Quantile\(level="):
        Strategy.stack([first, Quantile([0.2, 0.8])])


# -- labels out of range ---------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "label", "message"),
    [
        ("poisson", -1.0, "labels below zero, the smallest is -1;"),
        ("gamma", 0.0, "labels that are not positive, the smallest is 0;"),
    ],
)
def test_labels_out_of_range_name_their_task(loss, label, message):
    X = np.random.default_rng(0).normal(size=(20, 2))
    y = np.random.default_rng(1).uniform(1, 2, size=(20, 3))
    y[3, 1] = label
    y[4, 2] = np.nan
    with pytest.raises(ValueError, match="Task 1 has " + message):
        MultiTaskNetRegressor(loss=loss).fit(X, y)
    losses = [loss, "squared_error", loss]
    fast = {"max_epochs": 1, "n_estimators": 1, "device": "cpu", "random_state": 0}
    model = MultiTaskNetRegressor(loss=losses, **fast).fit(X, y)
    predicted = model.predict(X)
    assert (predicted[:, [0, 2]] > 0).all()
    with pytest.raises(ValueError, match="Task 0 has " + message):
        MultiTaskNetRegressor(loss=loss, **fast).fit(X, y[:, 0]).adapt(X, y[:, 1])


# -- from argument to losses -----------------------------------------------------

NAMES, KINDS = ["a", "b", "c"], ["number", "class", "number"]


def kinds_of(losses):
    return [type(loss) for loss in losses]


def test_resolve_takes_one_a_list_or_a_dict():
    defaults = [SquaredError, CrossEntropy, SquaredError]
    assert kinds_of(resolve(None, NAMES, KINDS)) == defaults
    assert kinds_of(resolve({}, NAMES, KINDS)) == defaults
    assert kinds_of(resolve([None] * 3, NAMES, KINDS)) == defaults
    # One loss serves the columns of its kind.
    assert kinds_of(resolve("huber", NAMES, KINDS)) == [Huber, CrossEntropy, Huber]
    assert kinds_of(resolve(Focal(), NAMES, KINDS)) == [
        SquaredError,
        Focal,
        SquaredError,
    ]
    chosen = resolve({"b": "focal", "c": Huber(3.0)}, NAMES, KINDS)
    assert kinds_of(chosen) == [SquaredError, Focal, Huber]
    assert chosen[2].delta == 3.0
    chosen = resolve(("poisson", None, "poisson"), NAMES, KINDS)
    assert kinds_of(chosen) == [Poisson, CrossEntropy, Poisson]
    assert chosen[0] is chosen[2]


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("mse", "loss='mse' is not a loss. Pass one of ['absolute_error', "),
        (["huber", "mse", None], "loss='mse' is not a loss."),
        ([Huber, None, None], "is not a loss."),
        (["huber"], "loss has 1 entries, but there are 3 tasks: ['a', 'b', 'c']."),
        ({"d": "huber"}, "loss names 'd', which is not a task. The tasks are ['a', "),
        (
            ["huber", "huber", None],
            "Task 'b' holds classes, and Huber is a loss for numbers. Losses for "
            "classes are ['focal', 'log_loss'].",
        ),
        (
            {"c": CrossEntropy()},
            "Task 'c' holds numbers, and CrossEntropy is a loss for classes.",
        ),
        (Huber(-1.0), "The 'delta' parameter of Huber must be"),
        ([None, CrossEntropy(1.0), None], "'label_smoothing' parameter of CrossEntr"),
        (Quantile([0.5, 1.0]), "The 'level' parameter of Quantile must hold numbers"),
        (Quantile([]), "The 'level' parameter of Quantile must hold numbers"),
        (Focal(-1), "The 'gamma' parameter of Focal must be"),
    ],
)
def test_resolve_says_what_does_not_fit(loss, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        resolve(loss, NAMES, KINDS)


def test_one_loss_of_the_wrong_kind_is_refused_where_all_tasks_are_alike():
    with pytest.raises(ValueError, match="Task 'a' holds numbers, and Focal is a loss"):
        resolve(Focal(), ["a"], ["number"])
    X = np.arange(20.0).reshape(10, 2)
    with pytest.raises(ValueError, match="Task 0 holds numbers, and CrossEntropy is"):
        MultiTaskNetRegressor(loss=CrossEntropy()).fit(X, X)
    with pytest.raises(ValueError, match="Task 0 holds classes, and Huber is"):
        MultiTaskNetClassifier(loss=Huber()).fit(X, X > 4)
    with pytest.raises(ValueError, match="'loss' parameter of MultiTaskNetRegressor"):
        MultiTaskNetRegressor(loss="log_loss").fit(X, X)
    with pytest.raises(ValueError, match="'loss' parameter of MixedTaskNet"):
        MixedTaskNet(loss="mse").fit(X, X)


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


@given(
    chosen=st.lists(st.sampled_from(CASES), min_size=1, max_size=5),
    seed=seeds,
    training=st.booleans(),
)
def test_columns_of_several_losses_equal_each_alone(chosen, seed, training):
    own = [loss for loss, _ in chosen]
    n_classes = [n for _, n in chosen]
    losses = ColumnLosses(own, n_classes).train(training)
    rng = np.random.default_rng(seed)
    outputs = torch.tensor(rng.normal(size=(2, 7, losses.n_outputs)))
    targets = torch.tensor(
        np.stack([rng.integers(1, n or 9, size=(2, 7)) for n in n_classes], -1)
    ).double()
    cells = losses.cells(outputs, targets)
    assert cells.shape == (2, 7, len(chosen))
    linked = losses.split(losses.link(outputs).numpy())
    columns = losses.split(losses.predict(outputs).numpy())
    points = losses.points(columns)
    assert [column.shape[1] for column in columns] == losses.widths
    start = 0
    for j, (loss, n) in enumerate(chosen):
        where = slice(start, start + loss.n_outputs(n))
        start = where.stop
        compute = loss.training_cells if training else loss.cells
        alone = compute(outputs[..., None, where], targets[..., [j]])
        torch.testing.assert_close(cells[..., [j]], alone)
        link = loss.link(outputs[..., where])
        np.testing.assert_allclose(linked[j], link)
        np.testing.assert_allclose(columns[j], link.mean(0))
        kept = columns[j] if n else columns[j][:, [loss.point]]
        np.testing.assert_array_equal(points[j], kept)
    assert start == losses.n_outputs


def test_the_point_of_several_levels_is_the_one_nearest_to_the_median():
    assert Quantile([0.9, 0.4, 0.1]).point == 1
    assert Quantile([0.9, 0.6]).point == 0
    assert Quantile(0.9).point == 0


def test_levels_never_cross():
    outputs = torch.tensor([[[3.0, 1.0, 2.0]]])
    assert Quantile([0.1, 0.5, 0.9]).link(outputs).tolist() == [[[1.0, 2.0, 3.0]]]
