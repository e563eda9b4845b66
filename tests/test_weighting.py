"""Weightings: their mathematics, and what training makes of them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call

from skmtl._net import Blueprint, fit_bank
from skmtl._net._objective import rescaled
from skmtl._net._task_gradients import TaskGradients
from skmtl._net._training import BankTraining
from skmtl.architecture import BankShape, HardSharing
from skmtl.architecture._hard_sharing import HardSharingModule
from skmtl.weighting import (
    Equal,
    GradDrop,
    HeadRates,
    PCGrad,
    Uncertainty,
    Weighting,
    WeightingModule,
)
from skmtl.weighting._pcgrad import PCGradModule

seeds = st.integers(0, 999)
WEIGHTINGS = [Equal(), Uncertainty(), PCGrad(), PCGrad(gradients="parameters")]
TANH = HardSharing((5, 4), activation="tanh")


def shape(n_networks, n_tasks, dtype=torch.float64):
    return BankShape((3,) * n_networks, n_tasks, n_tasks, False, dtype)


def start_training(plans, data):
    blueprint = Blueprint.from_plans(plans, data, "float64")
    training = BankTraining(blueprint, plans, data, torch.device("cpu"))
    training._live_module.train()
    return training


def first_gradients(plans, data):
    """Gradients of the first batch, by name, and the training and batch they are of."""
    training = start_training(plans, data)
    batch = next(iter(training.batches))
    training.streams.n_rows = batch.n_rows
    _, weights = training.objective.backward(batch)
    named = training.module.architecture.named_parameters()
    return {n: p.grad for n, p in named if p.grad is not None}, weights, training, batch


def task_gradients(training, batch):
    """Each task's gradient at every parameter, by autograd of one task at a time."""
    architecture = training.module.architecture
    named = dict(architecture.named_parameters())
    losses = training.objective.losses(architecture(batch.inputs, batch.task), batch)
    return [
        dict(
            zip(
                named,
                torch.autograd.grad(
                    losses[:, t].sum(),
                    list(named.values()),
                    retain_graph=True,
                    materialize_grads=True,
                ),
                strict=True,
            )
        )
        for t in range(losses.shape[1])
    ]


def is_shared(name):
    return name.startswith("layers.")


# -- Uncertainty and Equal: mathematics ------------------------------------------


def uncertainty(start, n_tasks, n_networks=2):
    return Uncertainty(start).build(shape(n_networks, n_tasks))


def test_the_penalty_and_its_gradient_by_hand():
    module = uncertainty(0.0, 2)
    s = torch.tensor([[0.0, 1.0], [-1.0, 0.5]]).double()
    losses = torch.tensor([[2.0, 3.0], [0.5, 1.0]]).double()
    module.log_var_.data = s.clone()
    everything = torch.ones(2, 2, dtype=torch.bool)
    penalty = module.penalty(losses, everything)
    np.testing.assert_allclose(
        penalty[0].item(), 0.5 * (2 + 0 + 3 / np.e + 1), rtol=1e-12
    )
    penalty.sum().backward()
    expected = 0.5 * (1 - torch.exp(-s) * losses)
    torch.testing.assert_close(module.log_var_.grad, expected)


def test_classes_have_a_form_of_their_own():
    kinds = replace(shape(1, 3), of_classes=(False, True, False))
    losses = torch.tensor([[2.0, 3.0, 0.5]]).double()
    everything = torch.ones(1, 3, dtype=torch.bool)
    half = {
        "auto": [0.5, 1.0, 0.5],
        "regression": [0.5] * 3,
        "classification": [1.0] * 3,
    }
    for form, factors in half.items():
        module = Uncertainty(0.2, form).build(kinds)
        c = torch.tensor([factors]).double()
        weights = module.weights(losses, None, everything)
        torch.testing.assert_close(weights, c * np.exp(-0.2))
        expected = (c * np.exp(-0.2) * losses + 0.1).sum(-1)
        torch.testing.assert_close(module.penalty(losses, everything), expected)
        # Where the noise has converged, all forms give one over twice the loss.
        module.log_var_.data = torch.log(2 * c * losses)
        module.penalty(losses, everything).sum().backward()
        torch.testing.assert_close(
            module.log_var_.grad, torch.zeros(1, 3).double(), rtol=0, atol=1e-12
        )
        weights = module.weights(losses, None, everything)
        torch.testing.assert_close(weights, 0.5 / losses)


def test_the_penalty_is_least_at_the_log_of_the_loss():
    module = uncertainty(0.0, 3)
    losses = torch.tensor([[0.1, 1.0, 7.0], [2.0, 3.0, 0.5]]).double()
    everything = torch.ones(2, 3, dtype=torch.bool)
    optimizer = torch.optim.LBFGS(module.parameters(), max_iter=100)

    def closure():
        optimizer.zero_grad()
        total = module.penalty(losses, everything).sum()
        total.backward()
        return total

    optimizer.step(closure)
    torch.testing.assert_close(module.log_var_, losses.log(), rtol=0, atol=1e-4)
    weights = module.weights(losses, None, everything)
    torch.testing.assert_close(weights, 0.5 / losses, rtol=1e-3, atol=0)


def test_uncertainty_neither_counts_nor_trains_absent_tasks():
    present = torch.tensor([[True, False], [True, True]])
    losses = torch.ones(2, 2).double()
    module = uncertainty(0.5, 2)
    module.penalty(losses, present).sum().backward()
    assert module.log_var_.grad[0, 1] == 0
    assert module.log_var_.grad[1, 1] != 0
    weights = module.weights(losses, None, present)
    assert weights[0, 1] == 0
    assert (weights[present] > 0).all()


def test_networks_may_start_at_their_own_noise(make_data, make_plan):
    data = make_data()
    plans = [make_plan(data, k, weighting=Uncertainty(k / 2)) for k in range(3)]
    module = start_training(plans, data).module
    expected = torch.tensor([[0.0] * 3, [0.5] * 3, [1.0] * 3]).double()
    assert torch.equal(module.weighting.log_var_, expected)


def test_equal_weights_are_ones():
    losses = torch.rand(2, 3)
    present = torch.ones(2, 3, dtype=torch.bool)
    assert torch.equal(
        Equal().build(shape(2, 3)).weights(losses, None, present), torch.ones(2, 3)
    )


@given(
    weights=st.lists(
        st.lists(st.floats(-5, 5), min_size=3, max_size=3), min_size=1, max_size=4
    )
)
def test_weights_are_rescaled_to_sum_to_the_number_of_tasks(weights):
    weights = torch.tensor(weights).double()
    scaled = rescaled(weights)
    for before, after in zip(weights, scaled, strict=True):
        total, size = before.sum(), before.abs().sum()
        if size == 0:
            assert torch.equal(after, before)
        elif total > 0.1 * size:
            torch.testing.assert_close(after.sum().item(), 3.0)
            torch.testing.assert_close(after, before * 3 / total)
        else:
            torch.testing.assert_close(after, before * 3 / size)


def test_infinite_weights_of_one_network_leave_the_others_and_warn_nobody():
    weights = torch.tensor([[1.0, 3.0], [np.inf, 0.0], [np.inf, -1.0]])
    scaled = rescaled(weights)
    torch.testing.assert_close(scaled[0], torch.tensor([0.5, 1.5]))
    assert not torch.isfinite(scaled[1:]).all(dim=1).any()


# -- in training: the objective --------------------------------------------------


@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=repr)
@pytest.mark.parametrize("task_weights", [None, [2.0, 0.7, 0.3]], ids=["alike", "own"])
def test_trunk_and_heads_follow_the_objective(
    weighting, task_weights, make_data, make_plan
):
    """Trunk: mean of v w g. Heads: mean of v g."""
    data = make_data(missing=0.4)
    kwargs = {} if task_weights is None else {"task_weights": task_weights}
    plans = [
        make_plan(data, k, architecture=TANH, weighting=weighting, **kwargs)
        for k in range(3)
    ]
    found, weights, training, batch = first_gradients(plans, data)
    if weights is None:
        weights = torch.ones(3, 3).double()
    torch.testing.assert_close(weights.sum(-1), torch.full((3,), 3.0).double())
    user = torch.tensor(task_weights or [1.0] * 3, dtype=torch.float64)
    each = task_gradients(training, batch)
    for name, gradient in found.items():
        size = (-1, *[1] * (gradient.ndim - 1))
        factors = [
            user[t] * (weights[:, t].view(size) if is_shared(name) else 1.0) / 3
            for t in range(3)
        ]
        expected = sum(f * g[name] for f, g in zip(factors, each, strict=True))
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)


def test_weightings_change_the_trunk_and_not_the_heads(make_data, make_plan):
    data = make_data(missing=0.3)
    found = []
    for weighting in (Equal(), Uncertainty(), PCGrad(), PCGrad(gradients="parameters")):
        plan = make_plan(data, architecture=TANH, weighting=weighting)
        training = start_training([plan], data)
        if isinstance(weighting, Uncertainty):
            spread = torch.tensor([[0.0, 1.0, -1.0]]).double()
            training.module.weighting.log_var_.data = spread
        # All tasks pull the features their own way, along one head.
        head = training.module.architecture.heads.shared.weight
        head.data = head.data[..., :1] * torch.tensor([1.0, -1.0, 1.0]).double()
        batch = next(iter(training.batches))
        training.objective.backward(batch)
        named = training.module.architecture.named_parameters()
        found.append({n: p.grad for n, p in named})
    equal, *others = found
    for other in others:
        for name, gradient in other.items():
            if is_shared(name):
                assert not torch.allclose(gradient, equal[name], rtol=1e-3)
            else:
                torch.testing.assert_close(gradient, equal[name])


def recorded_gramians(plans, data, monkeypatch):
    seen = []
    original = PCGradModule.weights

    def weights(self, losses, gramian, present):
        seen.append(gramian)
        return original(self, losses, gramian, present)

    with monkeypatch.context() as context:
        context.setattr(PCGradModule, "weights", weights)
        _, _, training, batch = first_gradients(plans, data)
    return seen[0], training, batch


@pytest.mark.parametrize("linear_skip", [False, True], ids=["plain", "skip"])
@pytest.mark.parametrize(
    "labels",
    [{}, {"kind": "class", "n_classes": [2, 3, 4, 2], "n_tasks": 4}],
    ids=["numbers", "classes"],
)
def test_the_closed_form_of_the_gramian_equals_autograd(
    labels, linear_skip, make_data, make_plan, monkeypatch
):
    data = make_data(missing=0.4, weighted=True, **labels)
    architecture = HardSharing((5,), activation="tanh", linear_skip=linear_skip)
    plans = [
        make_plan(
            data, k, np.arange(20 + k), architecture=architecture, weighting=PCGrad()
        )
        for k in range(2)
    ]
    closed, training, batch = recorded_gramians(plans, data, monkeypatch)
    monkeypatch.setattr(HardSharingModule, "linear_head", lambda self: None)
    generic, *_ = recorded_gramians(plans, data, monkeypatch)
    torch.testing.assert_close(closed, generic, rtol=0, atol=1e-12)
    architecture = training.module.architecture
    features = architecture.features(batch.inputs).detach().requires_grad_()
    losses = training.objective.losses(architecture.head(features), batch)
    jacobian = torch.stack(
        [
            torch.autograd.grad(losses[:, t].sum(), features, retain_graph=True)[0]
            for t in range(losses.shape[1])
        ],
        dim=1,
    ).flatten(2)
    torch.testing.assert_close(closed, jacobian @ jacobian.mT, rtol=0, atol=1e-12)
    assert (closed.abs() > 1e-6).all()


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
def test_gradients_at_the_parameters_equal_those_of_each_task(
    row_tasks, make_data, make_plan, monkeypatch
):
    data = make_data(row_tasks=row_tasks, weighted=True)
    plans = [
        make_plan(data, k, architecture=TANH, weighting=PCGrad(gradients="parameters"))
        for k in range(2)
    ]
    gramian, training, batch = recorded_gramians(plans, data, monkeypatch)
    each = task_gradients(training, batch)
    jacobian = torch.stack(
        [
            torch.cat([g.flatten(1) for n, g in task.items() if is_shared(n)], dim=1)
            for task in each
        ],
        dim=1,
    )
    torch.testing.assert_close(gramian, jacobian @ jacobian.mT, rtol=0, atol=1e-12)


@pytest.mark.parametrize("weighting", WEIGHTINGS[1:], ids=repr)
def test_one_task_is_plain_training(weighting, make_data, make_plan, raw_outputs):
    data = make_data(n_tasks=1)
    plain, _ = fit_bank([make_plan(data)], data, dtype="float64")
    weighted, training = fit_bank(
        [make_plan(data, weighting=weighting)], data, dtype="float64"
    )
    torch.testing.assert_close(
        raw_outputs(weighted, data), raw_outputs(plain, data), rtol=0, atol=1e-9
    )
    np.testing.assert_allclose(np.stack(training.weight_history), 1.0, rtol=1e-12)


@pytest.mark.parametrize(
    "weighting", [*WEIGHTINGS[1:], GradDrop(gradients="parameters")], ids=repr
)
def test_with_nothing_to_share_all_weightings_are_one(
    weighting, make_data, make_plan, raw_outputs
):
    data = make_data()
    linear = HardSharing(())
    plain, _ = fit_bank([make_plan(data, architecture=linear)], data, dtype="float64")
    plan = make_plan(data, architecture=linear, weighting=weighting)
    weighted, _ = fit_bank([plan], data, dtype="float64")
    torch.testing.assert_close(
        raw_outputs(weighted, data), raw_outputs(plain, data), rtol=0, atol=1e-9
    )


def test_tasks_absent_from_a_batch_get_no_weight(make_data, make_plan):
    data = make_data()
    data.weight[:, 1] = 0.0
    data.weight[39, 1] = 1.0
    for weighting in WEIGHTINGS[1:]:
        plan = make_plan(data, weighting=weighting)
        training = start_training([plan], data)
        seen = []
        for batch in training.batches:
            _, weights = training.objective.backward(batch)
            present = batch.weights[0].any(0)
            seen.append(bool(present[1]))
            assert (weights[0, ~present] == 0).all()
            assert (weights[0, present] > 0).all()
            torch.testing.assert_close(weights.sum(), torch.tensor(3.0).double())
        assert sorted(seen) == [False] * 4 + [True]


def test_uncertainty_learns_to_trust_the_task_it_can_fit(make_data, make_plan):
    data = make_data(n_rows=60, n_tasks=2)
    noise = np.random.default_rng(0).normal(size=60)
    data.y[:, 1] = noise
    plan = make_plan(
        data, weighting=Uncertainty(), max_epochs=60, lr=0.05, task_weights=[1, 1]
    )
    net, training = fit_bank([plan], data)
    noisy = net.module_.weighting.log_var_[0]
    assert noisy[0] < noisy[1] - 0.5
    last = training.weight_history[-1][0]
    assert last[0] > 1.2 > 0.8 > last[1]


def test_learned_weights_do_not_decay(make_data, make_plan):
    data = make_data()
    plan = make_plan(data, weighting=Uncertainty(), weight_decay=1.0)
    training = start_training([plan], data)
    learned = training.module.weighting.log_var_
    (group,) = [
        group
        for group in training.optimizer.param_groups
        if any(p is learned for p in group["params"])
    ]
    assert not group["decay"]


def test_training_by_pcgrad_differs_from_equal(make_data, make_plan, raw_outputs):
    data = make_data(n_features=2, n_tasks=5)
    outputs = [
        raw_outputs(
            fit_bank([make_plan(data, weighting=weighting)], data, dtype="float64")[0],
            data,
        )
        for weighting in (Equal(), PCGrad(), PCGrad(gradients="parameters"))
    ]
    for a, b in itertools.combinations(outputs, 2):
        assert not torch.allclose(a, b, rtol=1e-3)


# -- in training: errors ---------------------------------------------------------


class Summed(Weighting):
    """A method that sees the jacobian and sums it, for tests."""

    def __init__(self, gradients="features"):
        self.gradients = gradients

    def build(self, shape, streams=None):
        return SummedModule(self.gradients)


class SummedModule(WeightingModule):
    needs = "jacobian"

    def __init__(self, gradients):
        super().__init__()
        self.gradients = gradients

    def combine(self, jacobian, losses, present):
        return jacobian.sum(1), torch.ones_like(losses)


@pytest.mark.parametrize("weighting", [PCGrad(), Summed()], ids=repr)
def test_row_tasks_at_the_features_raise_naming_the_cure(
    weighting, make_data, make_plan
):
    data = make_data(row_tasks=True)
    name = type(weighting).__name__
    with pytest.raises(ValueError, match=rf"{name}\(gradients='parameters'\)"):
        fit_bank([make_plan(data, weighting=weighting)], data)


@pytest.mark.parametrize("weighting", WEIGHTINGS[1:], ids=repr)
def test_an_architecture_without_features_weighs_parameters_or_says_why_not(
    weighting, make_data, make_plan, raw_outputs, monkeypatch
):
    """Two backward passes give what one in two parts gives."""
    data = make_data()
    # Not a chain: the quick way through one begins at features.
    architecture = HardSharing((5, 5), activation="tanh", residual=True)
    plan = make_plan(data, weighting=weighting, architecture=architecture)
    built = weighting.build(BankShape((3,), 3, 3, task_names=(0, 1, 2)))
    name = type(weighting).__name__
    if built.needs != "losses" and built.gradients == "features":
        monkeypatch.setattr(HardSharingModule, "has_features", False)
        with pytest.raises(ValueError, match=rf"(?s){name}.*HardSharing"):
            fit_bank([plan], data)
        return
    net, training = fit_bank([plan], data, dtype="float64")
    monkeypatch.setattr(HardSharingModule, "has_features", False)
    monkeypatch.setattr(HardSharingModule, "linear_head", lambda self: None)
    again, apart = fit_bank([plan], data, dtype="float64")
    torch.testing.assert_close(
        raw_outputs(again, data), raw_outputs(net, data), rtol=1e-6, atol=1e-8
    )
    for found, expected in zip(
        apart.weight_history, training.weight_history, strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


# -- in training: methods that see the jacobian ----------------------------------


@pytest.mark.parametrize("gradients", ["features", "parameters"])
@pytest.mark.parametrize("clip_norm", [None, 0.3])
def test_a_summed_jacobian_is_equal_weighting(
    gradients, clip_norm, make_data, make_plan, raw_outputs
):
    data = make_data(missing=0.3)
    outputs = []
    for weighting in (Equal(), Summed(gradients)):
        plans = [
            make_plan(
                data,
                k,
                np.arange(15 + 11 * k),
                architecture=TANH,
                weighting=weighting,
                clip_norm=clip_norm,
            )
            for k in range(2)
        ]
        outputs.append(raw_outputs(fit_bank(plans, data, dtype="float64")[0], data))
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("gradients", ["features", "parameters"])
def test_a_summed_jacobian_heeds_the_weights_of_the_user(
    gradients, make_data, make_plan
):
    data = make_data()
    found = []
    for weighting in (Equal(), Summed(gradients)):
        plan = make_plan(data, weighting=weighting, task_weights=[2.0, 0.7, 0.3])
        found.append(first_gradients([plan], data)[0])
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=0, atol=1e-12)


def test_a_summed_jacobian_works_over_row_tasks(make_data, make_plan, raw_outputs):
    data = make_data(row_tasks=True)
    outputs = []
    for weighting in (Equal(), Summed("parameters")):
        plan = make_plan(data, weighting=weighting, task_weights=[1, 1, 1])
        outputs.append(raw_outputs(fit_bank([plan], data, dtype="float64")[0], data))
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-9)


# -- in training: hooks ----------------------------------------------------------


class Watching(Weighting):
    """A method that remembers what its hooks see, for tests."""

    def build(self, shape, streams=None):
        return WatchingModule()


class WatchingModule(WeightingModule):
    def __init__(self):
        super().__init__()
        self.calls = []

    def weights(self, losses, gramian, present):
        self.calls.append(("weights", losses.clone()))
        assert gramian is None
        return torch.ones_like(losses)

    def on_step_end(self, losses_after):
        self.calls.append(("step", losses_after.clone()))

    def on_epoch_end(self, losses):
        self.calls.append(("epoch", losses.clone()))

    def reset(self):
        self.calls.append(("reset", None))


def test_hooks_are_called_in_order(make_data, make_plan):
    data = make_data()
    plan = make_plan(data, weighting=Watching(), max_epochs=2, batch_size=20)
    net, _ = fit_bank([plan], data)
    names = [name for name, _ in net.module_.weighting.calls]
    epoch = ["weights", "step"] * 2 + ["epoch"]
    assert names == ["reset", *epoch, *epoch]


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
def test_the_end_of_a_step_sees_the_losses_after_it(row_tasks, make_data, make_plan):
    data = make_data(row_tasks=row_tasks)
    training = start_training([make_plan(data, weighting=Watching())], data)
    training.begin_epoch()
    batch = next(iter(training.batches))
    training.train_step(batch)
    (_, before), (_, after) = training.module.weighting.calls[-2:]
    with torch.no_grad():
        outputs = training.module(batch.inputs, batch.task)
    now = training.objective.losses(outputs, batch)
    torch.testing.assert_close(after, now)
    assert not torch.allclose(after, before)


def test_the_end_of_an_epoch_sees_its_mean_losses(make_data, make_plan):
    data = make_data(missing=0.3)
    plans = [make_plan(data, k, weighting=Watching(), max_epochs=1) for k in range(2)]
    net, _ = fit_bank(plans, data, dtype="float64")
    name, losses = net.module_.weighting.calls[-1]
    assert name == "epoch"
    np.testing.assert_allclose(losses.mean(0), net.history[-1, "train_losses"])


@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=repr)
def test_nobody_pays_for_a_hook_that_is_not_overridden(
    weighting, make_data, make_plan, monkeypatch
):
    def never(self, losses_after):
        raise AssertionError("on_step_end was called")

    monkeypatch.setattr(WeightingModule, "on_step_end", never)
    data = make_data()
    fit_bank([make_plan(data, weighting=weighting, max_epochs=1)], data)
    assert not weighting.build(shape(1, 3)).sees_step_end


def test_a_weighting_serves_a_functional_trunk(make_data, make_plan):
    """Learned weights are parameters of the module, so copies can stand in for them."""
    data = make_data()
    module = start_training([make_plan(data, weighting=Uncertainty())], data).module
    names = dict(module.named_parameters())
    assert "weighting.log_var_" in names
    doubled = {n: p.repeat_interleave(2, 0) for n, p in names.items()}
    inputs = module.encoder(torch.tensor(data.X)).repeat(2, 1, 1)
    outputs = functional_call(module, doubled, (inputs,))
    torch.testing.assert_close(outputs[0], outputs[1])


# -- in training: gradients of single tasks ----------------------------------------


def gradients_of(training, batch):
    """The task gradients of a batch, with their taps, as the objective makes them."""
    objective, module = training.objective, training.module
    architecture = module.architecture
    training.streams.n_rows = batch.n_rows
    with objective._taps as taps:
        features = module.features(batch.inputs)
    head = architecture.linear_head()
    leaf = features.detach().requires_grad_(head is None)
    outputs = architecture.head(leaf, batch.task)
    tasks = objective._tasks.of_batch(batch.task)
    _, at_cells = objective._differentiate(outputs, batch)
    at_outputs = at_cells * tasks.spread(objective.per_unit)
    leaf_graph = leaf if head is None else features.detach().requires_grad_()
    own = TaskGradients(module, features, leaf, outputs, at_outputs, tasks, taps)
    # The slow way needs a graph from the leaf on.
    outputs = architecture.head(leaf_graph, batch.task)
    slow = TaskGradients(module, features, leaf_graph, outputs, at_outputs, tasks, taps)
    return own, slow


@pytest.mark.parametrize(
    "architecture",
    [
        HardSharing((6, 5, 4)),
        HardSharing((6, 5), activation="silu", dropout=0.3),
        HardSharing((5,), linear_skip=True),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"kind": "class", "n_classes": [2, 3, 4, 2], "n_tasks": 4},
        {"row_tasks": True},
    ],
    ids=["numbers", "classes", "rows"],
)
@pytest.mark.parametrize("n_networks", [1, 2])
def test_products_equal_autograd_one_task_after_the_other(
    architecture, labels, n_networks, make_data, make_plan, monkeypatch
):
    data = make_data(weighted=True, **labels)
    weighting = PCGrad(gradients="parameters")
    plans = [
        make_plan(
            data,
            k,
            np.arange(15 + 11 * k),
            architecture=architecture,
            weighting=weighting,
        )
        for k in range(n_networks)
    ]
    training = start_training(plans, data)
    batch = next(iter(training.batches))
    own, slow = gradients_of(training, batch)
    assert own.taps.complete
    shared = training.module.shared_parameters()
    parts = slow._one_by_one(shared)
    expected = torch.cat([part.flatten(2) for part in parts], dim=2)
    assert expected.abs().amax() > 1e-3
    torch.testing.assert_close(own.at_parameters(), expected, rtol=0, atol=1e-12)
    for few in (True, False):
        monkeypatch.setattr(TaskGradients, "_rows_are_few", lambda self, few=few: few)
        gramian, _ = own.gramian_at_parameters()
        torch.testing.assert_close(gramian, expected @ expected.mT, rtol=0, atol=1e-12)


def test_chunks_of_tasks_do_not_change_gradients(make_data, make_plan, monkeypatch):
    data = make_data(n_tasks=7)
    plan = make_plan(data, weighting=PCGrad(gradients="parameters"))
    training = start_training([plan], data)
    own, _ = gradients_of(training, next(iter(training.batches)))
    whole = own.at_parameters().clone()
    monkeypatch.setattr("skmtl._net._task_gradients._CACHED", 1)
    torch.testing.assert_close(own.at_parameters(), whole, rtol=1e-12, atol=0)


def test_rows_are_multiplied_where_tasks_are_many(make_data, make_plan):
    data = make_data(row_tasks=True)
    plan = make_plan(data, weighting=PCGrad(gradients="parameters"))
    training = start_training([plan], data)
    own, _ = gradients_of(training, next(iter(training.batches)))
    assert not own._rows_are_few()
    own.tasks.n_tasks = 300
    assert own._rows_are_few()


# -- in training: held weights -----------------------------------------------------


def test_weights_are_held_between_computations(make_data, make_plan, monkeypatch):
    """Each network by its own steps, whatever the batches of the others."""
    data = make_data(n_rows=40, n_tasks=4)
    asked = []
    original = PCGradModule.solve

    def solve(self, gramian, losses, present, networks):
        asked.append(networks.tolist())
        return original(self, gramian, losses, present, networks)

    monkeypatch.setattr(PCGradModule, "solve", solve)
    weighting = PCGrad(gradients="parameters", update_every=3)
    plans = [
        make_plan(data, k, np.arange(n), weighting=weighting, batch_size=10)
        for k, n in enumerate((40, 20))
    ]
    training = start_training(plans, data)
    weights = []
    for _ in range(3):
        training.begin_epoch()
        for batch in training.batches:
            training.train_step(batch)
            weights.append(training.module.weighting.held_.clone())
    # The first steps in all slots, the second rests in two slots of four.
    first = [0, 3, 6, 9]
    second = {0: 0, 5: 3}  # slot 5 is its fourth step
    expected = [
        [k for k, slots in enumerate((first, second)) if slot in slots]
        for slot in range(12)
    ]
    assert asked == [networks for networks in expected if networks]
    for slot in range(1, 12):
        changed = (weights[slot] != weights[slot - 1]).any(-1)
        assert not changed[[k for k in range(2) if k not in expected[slot]]].any()


@pytest.mark.parametrize("gradients", ["features", "parameters"])
def test_a_network_alone_holds_weights_as_in_a_bank(
    gradients, make_data, make_plan, raw_outputs
):
    data = make_data(n_rows=40, n_tasks=4, missing=0.3)
    weighting = PCGrad(gradients=gradients, update_every=3)
    plans = [
        make_plan(data, k, np.arange(n), weighting=weighting, batch_size=10)
        for k, n in enumerate((40, 25))
    ]
    together, _ = fit_bank(plans, data, dtype="float64")
    both = raw_outputs(together, data)
    for k, plan in enumerate(plans):
        alone, _ = fit_bank([plan], data, dtype="float64")
        torch.testing.assert_close(
            raw_outputs(alone, data)[0], both[k], rtol=0, atol=1e-9
        )


# -- conflict, and rates of heads --------------------------------------------------


@pytest.mark.parametrize("weighting", [PCGrad(), Summed("parameters")], ids=repr)
def test_conflict_is_the_mean_cosine_of_the_epoch(weighting, make_data, make_plan):
    data = make_data(missing=0.3)
    training = start_training([make_plan(data, weighting=weighting)], data)
    training.begin_epoch()
    cosines = []
    for batch in training.batches:
        own, _ = gradients_of(training, batch)
        found = (
            own.at_parameters()
            if weighting.gradients == "parameters"
            else own.at_features().flatten(2)
        )
        found = torch.nn.functional.normalize(found, dim=-1)
        cosines.append((found @ found.mT)[0])
        training.train_step(batch)
    training.end_training_epoch()
    (conflict,) = training.conflict_history
    np.testing.assert_allclose(conflict, torch.stack(cosines).mean(0), atol=1e-9)
    np.testing.assert_allclose(np.diag(conflict), 1.0)
    assert conflict.min() > -1 - 1e-9
    assert training.objective.conflict.take(np.array([True])) is None


def test_tasks_that_never_meet_have_no_cosine(make_data, make_plan):
    data = make_data(n_rows=20)
    data.weight[:, 1] = 0.0
    training = start_training([make_plan(data, weighting=PCGrad())], data)
    training.begin_epoch()
    for batch in training.batches:
        training.train_step(batch)
    training.end_training_epoch()
    (conflict,) = training.conflict_history
    assert np.isnan(conflict[1]).all()
    assert np.isfinite(conflict[np.ix_([0, 2], [0, 2])]).all()


def test_head_rates_by_hand():
    module = HeadRates(alpha=0.5).build(shape(1, 2))
    assert torch.equal(module.head_rates(), torch.ones(1, 2).double())
    module.on_epoch_end(torch.tensor([[4.0, 1.0]]).double())
    assert torch.equal(module.head_rates(), torch.ones(1, 2).double())
    module.on_epoch_end(torch.tensor([[4.0, 0.25]]).double())
    # Ratios 1 and 1/4, their roots 1 and 1/2, of mean 3/4.
    expected = torch.tensor([[4 / 3, 2 / 3]]).double()
    torch.testing.assert_close(module.head_rates(), expected)
    module.reset()
    assert torch.equal(module.head_rates(), torch.ones(1, 2).double())


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
def test_head_rates_scale_the_step_of_heads_alone(row_tasks, make_data, make_plan):
    data = make_data(row_tasks=row_tasks)
    steps = []
    for rates in (None, [[1.0, 3.0, 0.0]]):
        plan = make_plan(data, weighting=HeadRates(Uncertainty()))
        training = start_training([plan], data)
        if rates is not None:
            training.module.weighting.rates_.copy_(torch.tensor(rates))
        named = dict(training.module.architecture.named_parameters())
        before = {n: p.detach().clone() for n, p in named.items()}
        training.begin_epoch()
        training.train_step(next(iter(training.batches)))
        steps.append({n: p.detach() - before[n] for n, p in named.items()})
    factor = torch.tensor([1.0, 3.0, 0.0]).double()
    scaled = {"heads.shared.weight": factor, "heads.shared.bias": factor}
    if row_tasks:
        # The last row belongs to no task.
        factor = torch.tensor([1.0, 3.0, 0.0, 1.0]).double()
        scaled = {"heads.deviation.weight": factor[:, None]}
    for name, step in steps[0].items():
        expected = step * scaled.get(name, 1.0)
        torch.testing.assert_close(steps[1][name], expected, rtol=0, atol=1e-12)
        assert step.abs().max() > 0


def test_head_rates_of_power_zero_are_the_other_weighting(
    make_data, make_plan, raw_outputs
):
    data = make_data()
    for inner in (None, PCGrad(), Summed("parameters")):
        outputs = [
            raw_outputs(
                fit_bank([make_plan(data, weighting=w)], data, dtype="float64")[0],
                data,
            )
            for w in (inner or Equal(), HeadRates(inner, alpha=0.0))
        ]
        torch.testing.assert_close(*outputs, rtol=0, atol=1e-9)
