"""LinearBank and its kin, and taking networks out of a bank."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call

from skmtl._bank import _MANY_ROWS, DropoutBank, LinearBank, RowsBank, take_networks
from skmtl._net import fit_bank
from skmtl._streams import Streams
from skmtl.architecture import BankShape, HardSharing
from skmtl.weighting import Uncertainty

sizes = st.integers(1, 5)
dtypes = st.sampled_from([torch.float32, torch.float64])


def linear_bank(n_networks, n_in, n_out, dtype=torch.float64, seed=0):
    bank = LinearBank(n_networks, n_in, n_out, dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    for parameter in bank.parameters():
        parameter.data.normal_(generator=generator)
    return bank


def normal(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


# -- LinearBank ------------------------------------------------------------------


@given(sizes, st.integers(0, 5), sizes, sizes, dtypes)
def test_linear_bank_equals_linear_layers(n_networks, n_rows, n_in, n_out, dtype):
    bank = linear_bank(n_networks, n_in, n_out, dtype)
    inputs = normal(n_networks, n_rows, n_in, seed=1, dtype=dtype)
    outputs = bank(inputs)
    assert outputs.dtype == dtype
    for k in range(n_networks):
        linear = torch.nn.Linear(n_in, n_out, dtype=dtype)
        linear.weight.data = bank.weight[k].T
        linear.bias.data = bank.bias[k, 0]
        torch.testing.assert_close(outputs[k], linear(inputs[k]))


def test_rows_given_once_serve_every_network():
    bank = linear_bank(3, 4, 2)
    inputs = normal(1, 5, 4)
    torch.testing.assert_close(bank(inputs), bank(inputs.repeat(3, 1, 1)))


@given(sizes, sizes)
def test_linear_bank_reads_the_axis_from_its_tensors(n_networks, n_copies):
    bank = linear_bank(n_networks, 3, 2)
    tensors = {
        name: p.repeat_interleave(n_copies, dim=0)
        for name, p in bank.named_parameters()
    }
    inputs = normal(n_networks * n_copies, 4, 3)
    outputs = functional_call(bank, tensors, (inputs,))
    for i in range(n_networks * n_copies):
        k = i // n_copies
        expected = inputs[i] @ bank.weight[k] + bank.bias[k]
        torch.testing.assert_close(outputs[i], expected)


def test_one_network_serves_expanded_weights_without_a_copy():
    bank = linear_bank(1, 3, 2)
    tensors = {n: p.expand(6, -1, -1) for n, p in bank.named_parameters()}
    inputs = normal(6, 4, 3)
    functional_call(bank, tensors, (inputs,)).sum().backward()
    torch.testing.assert_close(bank.weight.grad[0, :, 0], inputs.sum((0, 1)))


@given(sizes, sizes, st.integers(1, 15), st.integers(46, 50), st.booleans())
def test_maps_that_are_turned_round_are_no_others(
    n_networks, n_in, n_out, n_rows, needs
):
    bank = linear_bank(n_networks, n_in, n_out)
    inputs = normal(n_networks, n_rows, n_in, seed=1).requires_grad_(needs)
    slope = normal(n_networks, n_rows, n_out, seed=2)
    asked = [*bank.parameters(), *[inputs] * needs]
    outputs = bank(inputs)
    expected = torch.baddbmm(bank.bias, inputs, bank.weight)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(
        torch.autograd.grad(outputs, asked, slope),
        torch.autograd.grad(expected, asked, slope),
    )


def test_maps_that_are_turned_round_have_slopes_of_slopes():
    bank = linear_bank(2, 3, 2)
    tensors = [p.detach().requires_grad_() for p in bank.parameters()]
    inputs = normal(2, _MANY_ROWS, 3, seed=1).requires_grad_()

    def run(weight, bias, inputs):
        tensors = {"weight": weight, "bias": bias}
        return functional_call(bank, tensors, (inputs,)).square().sum(1)

    assert torch.autograd.gradcheck(run, (*tensors, inputs))
    assert torch.autograd.gradgradcheck(run, (*tensors, inputs))


def test_maps_that_are_turned_round_run_under_vmap():
    bank = linear_bank(2, 3, 2)
    inputs = normal(5, 2, _MANY_ROWS, 3, seed=1)
    found = torch.func.vmap(torch.func.grad(lambda rows: bank(rows).square().sum()))
    for rows, slope in zip(inputs, found(inputs), strict=True):
        at_outputs = 2 * (rows @ bank.weight + bank.bias)
        torch.testing.assert_close(slope, at_outputs @ bank.weight.mT)


@given(sizes, sizes, sizes)
def test_reset_draws_within_the_bound_of_torch_linear(n_networks, n_in, n_out):
    streams = Streams([(k,) for k in range(n_networks)])
    bank = LinearBank(n_networks, n_in, n_out).reset(streams, "layer")
    bound = 1 / np.sqrt(n_in)
    for parameter in bank.parameters():
        assert parameter.abs().max() <= bound
        assert (parameter != 0).all()


def test_initial_weights_are_uniform_to_the_bound(make_streams):
    bank = LinearBank(1, 100, 100).reset(make_streams(0), "layer")
    assert bank.weight.abs().max() > 0.0999
    np.testing.assert_allclose(bank.weight.std().item(), 0.1 / np.sqrt(3), rtol=0.02)


def test_initial_weights_do_not_depend_on_the_padding(make_streams):
    alone = LinearBank(1, 2, 3).reset(make_streams(7), "layer")
    beside = LinearBank(2, 5, 3).reset(make_streams(3, 7), "layer", [5, 2])
    assert torch.equal(beside.weight[1, :2], alone.weight[0])
    assert torch.equal(beside.bias[1], alone.bias[0])
    assert (beside.weight[1, 2:] == 0).all()


def test_float32_weights_are_float64_weights_rounded(make_streams):
    single = LinearBank(1, 4, 3).reset(make_streams(0), "layer")
    double = LinearBank(1, 4, 3, dtype=torch.float64).reset(make_streams(0), "layer")
    assert torch.equal(single.weight, double.weight.float())


def test_layers_of_one_network_start_differently(make_streams):
    streams = make_streams(0)
    first, second = (
        LinearBank(1, 4, 3).reset(streams, name) for name in ("layer 0", "layer 1")
    )
    assert (first.weight != second.weight).all()


def test_padding_weights_stay_exactly_zero_in_training(make_data, make_plan):
    data = make_data(n_features=4)
    encoder = make_plan(data).encoder
    narrow = type(encoder)(
        *(getattr(encoder, name)[:2] for name in encoder.__dataclass_fields__)
    )
    plans = [
        make_plan(data, 0, weight_decay=0.1),
        make_plan(data, 1, encoder=narrow, weight_decay=0.1, lr=0.1),
    ]
    net, _ = fit_bank(plans, data)
    weight = net.module_.architecture.layers[0].weight
    assert (weight[1, 2:] == 0).all()
    assert (weight[1, :2] != 0).all()
    assert (weight[0] != 0).all()


# -- nesting ---------------------------------------------------------------------


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("linear_skip", [False, True], ids=["plain", "skip"])
def test_members_tasks_and_experts_nest_to_second_order(
    row_tasks, linear_skip, make_streams
):
    """The gradient through an inner step equals finite differences.

    2 members x 3 tasks x 2 experts on one flat axis: each task takes its own step
    from the weights of its member's experts, the experts' mean is scored on other rows.
    """
    n_members, n_tasks, n_experts = 2, 3, 2
    shape = BankShape((3,) * 4, 1, 2, row_tasks, torch.float64)
    architecture = HardSharing((4,), activation="tanh", linear_skip=linear_skip)
    module = architecture.build(shape, make_streams(0, 1, 2, 3)).eval()
    generator = torch.Generator().manual_seed(5)
    for parameter in module.parameters():
        if (parameter == 0).all():
            parameter.data.normal_(generator=generator)
    slow = dict(module.named_parameters())
    n_flat = n_members * n_tasks * n_experts
    support, query = normal(2, n_flat, 5, 3, seed=1)
    wanted, queried = normal(2, n_flat, 5, 1, seed=2)
    own = torch.arange(5).expand(n_flat, -1) % 3
    args = (own,) if row_tasks else ()

    def expand(tensor):
        nested = tensor.unflatten(0, (n_members, 1, n_experts))
        nested = nested.expand(-1, n_tasks, *[-1] * (nested.ndim - 2))
        return nested.flatten(0, 2)

    def objective(*tensors):
        fast = {n: expand(t) for n, t in zip(slow, tensors, strict=True)}
        error = functional_call(module, fast, (support, *args)) - wanted
        steps = torch.autograd.grad(
            error.square().mean((1, 2)).sum(), list(fast.values()), create_graph=True
        )
        fast = {n: t - 0.3 * g for (n, t), g in zip(fast.items(), steps, strict=True)}
        outputs = functional_call(module, fast, (query, *args))
        experts = (outputs - queried).unflatten(0, (n_members, n_tasks, n_experts))
        return experts.mean(2).square().sum()

    inputs = tuple(p.detach().clone().requires_grad_() for p in slow.values())
    assert torch.autograd.gradcheck(objective, inputs, eps=1e-6, atol=1e-6)
    first_order = torch.autograd.grad(
        (
            functional_call(
                module, {n: expand(t) for n, t in slow.items()}, (query, *args)
            )
            - queried
        )
        .square()
        .sum(),
        list(slow.values()),
    )
    second_order = torch.autograd.grad(objective(*inputs), inputs)
    assert not torch.allclose(first_order[0], second_order[0], atol=1e-3)


def test_members_do_not_feel_each_other_through_an_inner_step(make_streams):
    shape = BankShape((3,) * 2, 1, 1, False, torch.float64)
    module = HardSharing((4,), activation="tanh").build(shape, make_streams(0, 1))
    inputs = normal(2, 5, 3)
    fast = dict(module.named_parameters())
    loss = functional_call(module, fast, (inputs,)).square().sum()
    steps = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
    fast = {n: p - 0.1 * g for (n, p), g in zip(fast.items(), steps, strict=True)}
    functional_call(module, fast, (inputs,))[1].sum().backward()
    for parameter in module.parameters():
        assert (parameter.grad[0] == 0).all()
        assert (parameter.grad[1] != 0).any()


# -- RowsBank --------------------------------------------------------------------


def rows_bank(n_networks=2, n_rows=4, n_columns=3):
    bank = RowsBank(n_networks, n_rows, n_columns, dtype=torch.float64)
    bank.weight.data[:, :-1] = normal(n_networks, n_rows, n_columns)
    return bank


@given(st.data(), st.booleans())
def test_rows_bank_gathers_the_row_of_each_network(data, lazy):
    bank = rows_bank()
    bank.lazy = lazy
    rows = data.draw(st.lists(st.tuples(*[st.integers(0, 4)] * 2), min_size=1))
    rows = torch.tensor(rows).T
    gathered = bank(rows)
    for k in range(2):
        assert torch.equal(gathered[k], bank.weight[k][rows[k]])


def test_lazy_gradients_are_the_dense_ones():
    dense, lazy = rows_bank(), rows_bank()
    lazy.lazy = True
    rows = torch.tensor([[0, 2, 0, 4], [3, 3, 3, 1]])
    target = normal(2, 4, 3, seed=3)
    for bank in (dense, lazy):
        (bank(rows) - target).pow(3).sum().backward()
    ids, leaf = lazy.selected
    assert lazy.weight.grad is None
    assert ids.tolist() == [0, 2, 0, 4, 8, 8, 8, 6]
    table = torch.zeros_like(dense.weight).flatten(0, 1)
    table.index_add_(0, ids, leaf.grad.flatten(0, 1))
    torch.testing.assert_close(table.view_as(dense.weight), dense.weight.grad)


def test_rows_are_not_selected_outside_training():
    bank = rows_bank().eval()
    bank.lazy = True
    bank(torch.tensor([[0], [1]]))
    assert bank.selected is None


def test_a_copy_of_rows_leaves_the_graph_behind():
    bank = rows_bank()
    bank.lazy = True
    bank(torch.tensor([[0], [1]])).sum().backward()
    twin = copy.deepcopy(bank)
    assert twin.selected is None
    assert twin.lazy
    assert torch.equal(twin.weight, bank.weight)
    twin.weight.data.zero_()
    assert (bank.weight[:, :-1] != 0).all()


def test_the_slot_of_no_task_stays_zero_in_training(make_data, make_plan):
    data = make_data(n_rows=30, n_tasks=4, row_tasks=True)
    # 9 and 30 rows in batches of 8: both networks see padding rows
    plans = [make_plan(data, 0, np.arange(9)), make_plan(data, 1)]
    net, _ = fit_bank(plans, data)
    weight = net.module_.architecture.heads.deviation.weight
    assert (weight[:, -1] == 0).all()
    assert (weight[:, :-1] != 0).any(-1).all()


# -- taking networks -------------------------------------------------------------


@given(st.lists(st.integers(0, 3), max_size=6), st.booleans())
def test_take_networks_takes_those_asked_for_in_order(index, as_tensor):
    bank = linear_bank(4, 3, 2)
    taken = take_networks(
        bank, torch.tensor(index, dtype=torch.long) if as_tensor else index
    )
    assert torch.equal(taken.weight, bank.weight[index])
    assert torch.equal(taken.bias, bank.bias[index])
    assert isinstance(taken.weight, torch.nn.Parameter)


def test_taken_networks_share_no_memory():
    bank = linear_bank(2, 3, 2)
    taken = take_networks(bank, [0, 1])
    taken.weight.data.zero_()
    assert (bank.weight != 0).all()


def test_taken_parameters_keep_whether_they_learn():
    bank = linear_bank(2, 3, 2)
    bank.bias.requires_grad_(False)
    taken = take_networks(bank, [1])
    assert taken.weight.requires_grad
    assert not taken.bias.requires_grad


def test_take_networks_takes_buffers_and_keeps_the_mode():
    bank = DropoutBank(torch.tensor([0.1, 0.2, 0.3]), "dropout").eval()
    taken = take_networks(bank, [2, 0, 2])
    assert torch.equal(taken.rates, torch.tensor([0.3, 0.1, 0.3]))
    assert not taken.training


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("index", [[2, 0], [1, 1, 2], [0]])
def test_networks_taken_out_of_a_whole_module_predict_the_same(
    index, row_tasks, make_data, make_plan, raw_outputs
):
    data = make_data(row_tasks=row_tasks, missing=0.2)
    plans = [
        make_plan(
            data,
            seed,
            np.arange(15 + seed),
            weighting=Uncertainty(seed / 10),
            architecture=HardSharing((5,), dropout=seed / 10),
        )
        for seed in range(3)
    ]
    net, _ = fit_bank(plans, data, dtype="float64")
    module = net.module_.eval()
    taken = take_networks(module, index)
    raw = torch.tensor(data.X)
    args = () if data.task is None else (torch.tensor(data.task),)
    whole = module(module.encoder(raw), *(a.expand(3, -1) for a in args))
    some = taken(taken.encoder(raw), *(a.expand(len(index), -1) for a in args))
    torch.testing.assert_close(some, whole[index])
    assert torch.equal(taken.weighting.log_var_, module.weighting.log_var_[index])
    assert taken.encoder.n_inputs == [module.encoder.n_inputs[k] for k in index]
    smaller = net.take(index)
    torch.testing.assert_close(
        raw_outputs(smaller, data), raw_outputs(net, data)[index]
    )


# -- DropoutBank -----------------------------------------------------------------


def test_dropout_refuses_to_train_without_streams():
    bank = DropoutBank(torch.tensor([0.5]), "dropout")
    with pytest.raises(AttributeError):
        bank(torch.ones(1, 2, 3))


def test_dropout_passes_everything_on_outside_training():
    features = normal(2, 3, 4)
    bank = DropoutBank(torch.tensor([0.5, 0.9]), "dropout").eval()
    assert torch.equal(bank(features), features)


def test_dropout_keeps_the_mean(make_streams):
    bank = DropoutBank(torch.tensor([0.0, 0.25, 0.8]), "dropout")
    bank.streams = make_streams(0, 1, 2)
    kept = bank(torch.ones(3, 200, 200))
    np.testing.assert_allclose(kept.mean((1, 2)), [1, 1, 1], atol=0.02)
    assert kept[0].unique().tolist() == [1.0]
    np.testing.assert_allclose(kept[1].unique(), [0, 4 / 3], rtol=1e-6)
    np.testing.assert_allclose(
        (kept == 0).double().mean((1, 2)), [0, 0.25, 0.8], atol=0.01
    )
