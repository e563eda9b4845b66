"""Hard sharing, its heads, and strategies as banks of values."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError
from torch.nn import functional as F

from skmtl._net import fit_bank
from skmtl._strategy import PerNetwork, Strategy
from skmtl._streams import Streams
from skmtl.architecture import ArchitectureModule, BankShape, HardSharing
from skmtl.architecture._hard_sharing import HardSharingModule
from skmtl.weighting import Equal, PCGrad, Uncertainty

ACTIVATIONS = {"relu": F.relu, "silu": F.silu, "gelu": F.gelu, "tanh": torch.tanh}


def build(architecture, n_inputs=(3, 3), n_outputs=2, n_tasks=2, row_tasks=False):
    """Make a module with random numbers everywhere, in evaluation mode."""
    shape = BankShape(tuple(n_inputs), n_outputs, n_tasks, row_tasks, torch.float64)
    streams = Streams([(k,) for k in range(len(n_inputs))])
    module = architecture.build(shape, streams).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data.normal_(generator=generator)
    if row_tasks:
        module.heads.deviation.weight.data[:, -1] = 0
    return module


def normal(*size, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*size, generator=generator, dtype=torch.float64)


def plain_network(module, k, activation, sizes, skip):
    """Rebuild one network from torch's own layers, with copied weights."""

    def linear(bank):
        layer = torch.nn.Linear(*bank.weight.shape[1:]).double()
        layer.weight.data, layer.bias.data = bank.weight[k].T, bank.bias[k, 0]
        return layer

    layers, heads = (
        [linear(bank) for bank in module.layers],
        linear(module.heads.shared),
    )
    assert [layer.out_features for layer in layers] == list(sizes)

    def forward(inputs):
        hidden = inputs
        for layer in layers:
            hidden = ACTIVATIONS[activation](layer(hidden))
        return heads(torch.cat([hidden, inputs], 1) if skip and layers else hidden)

    return forward


# -- HardSharing -----------------------------------------------------------------


@given(
    sizes=st.lists(st.integers(1, 5), max_size=3),
    skip=st.booleans(),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    dropout=st.sampled_from([0.0, 0.5]),
)
def test_hard_sharing_equals_plain_networks(sizes, skip, activation, dropout):
    architecture = HardSharing(
        tuple(sizes), activation=activation, dropout=dropout, linear_skip=skip
    )
    module, inputs = build(architecture), normal(2, 6, 3)
    outputs = module(inputs)
    for k in range(2):
        network = plain_network(module, k, activation, sizes, skip)
        torch.testing.assert_close(outputs[k], network(inputs[k]))


@given(
    residual=st.booleans(),
    layer_norm=st.booleans(),
    towers=st.sampled_from([(), (3,), (4, 2)]),
    sizes=st.sampled_from([(3, 3), (4, 2, 2), (3,), ()]),
)
def test_norms_residuals_and_towers_equal_plain_networks(
    residual, layer_norm, towers, sizes
):
    """Inputs are as wide as a layer: the first layer adds nothing for that."""
    architecture = HardSharing(
        sizes,
        activation="tanh",
        residual=residual,
        layer_norm=layer_norm,
        head_layer_sizes=towers,
    )
    shape = BankShape((3, 3), 3, 2, dtype=torch.float64, owners=(0, 0, 1))
    module = architecture.build(shape, Streams([(0,), (1,)])).eval()
    for parameter in module.parameters():
        parameter.data.normal_(generator=torch.Generator().manual_seed(3))
    inputs = normal(2, 6, 3)
    outputs = module(inputs)
    for k in range(2):
        hidden = inputs[k]
        for i, layer in enumerate(module.layers):
            new = hidden @ layer.weight[k] + layer.bias[k]
            if layer_norm:
                norm = module.norms[i]
                centred = new - new.mean(1, keepdim=True)
                variance = centred.square().mean(1, keepdim=True)
                new = centred / (variance + 1e-5).sqrt()
                new = new * norm.scale[k] + norm.shift[k]
            adds = residual and i > 0 and sizes[i] == sizes[i - 1]
            hidden = torch.tanh(new) + (hidden if adds else 0)
        heads = module.heads
        for o, t in enumerate((0, 0, 1)):
            own = hidden
            if towers:
                width = towers[0]
                where = slice(t * width, (t + 1) * width)
                first = heads.first
                own = torch.tanh(
                    own @ first.weight[k, :, where] + first.bias[k, :, where]
                )
                for layer in heads.layers:
                    own = torch.tanh(own @ layer.weight[k, t] + layer.bias[k, t])
            expected = own @ heads.shared.weight[k, :, o] + heads.shared.bias[k, 0, o]
            torch.testing.assert_close(outputs[k, :, o], expected)


def test_row_tasks_have_no_towers():
    with pytest.raises(ValueError, match="head_layer_sizes=\\(\\)"):
        build(HardSharing((4,), head_layer_sizes=(3,)), row_tasks=True)


def test_outputs_are_heads_of_features():
    module, inputs = build(HardSharing((4,), linear_skip=True)), normal(2, 6, 3)
    features = module.features(inputs)
    assert features.shape == (2, 6, 7)
    torch.testing.assert_close(features[..., 4:], inputs)
    torch.testing.assert_close(module.head(features), module(inputs))
    weight = module.heads.shared.weight
    expected = features @ weight + module.heads.shared.bias
    torch.testing.assert_close(module(inputs), expected)
    # Gradients with respect to the inputs of a skip train nothing shared.
    torch.testing.assert_close(module.linear_head(), weight)
    assert module.n_shared_features == 4


def test_rows_given_once_serve_every_network_with_a_skip():
    module, inputs = build(HardSharing((4,), linear_skip=True)), normal(1, 6, 3)
    torch.testing.assert_close(module(inputs), module(inputs.repeat(2, 1, 1)))


def test_no_hidden_layer_is_a_linear_model():
    module, inputs = build(HardSharing(())), normal(2, 6, 3)
    expected = inputs @ module.heads.shared.weight + module.heads.shared.bias
    torch.testing.assert_close(module(inputs), expected)
    assert module.shared_parameters() == []
    first, second = normal(2, 2, 6, 3, seed=2)
    torch.testing.assert_close(
        module((first + second) / 2), (module(first) + module(second)) / 2
    )


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
def test_shared_parameters_are_those_that_every_task_trains(row_tasks):
    module = build(HardSharing((5, 4), linear_skip=True), row_tasks=row_tasks)
    named = dict(module.named_parameters())
    shared = {id(p) for p in module.shared_parameters()}
    trunk = {id(p) for name, p in named.items() if not name.startswith("heads.")}
    assert shared == trunk
    assert len(shared) == 4


def test_a_head_feels_only_its_task():
    architecture = HardSharing((4,), activation="tanh")
    module, inputs = build(architecture, n_outputs=3), normal(2, 6, 3)
    module(inputs)[..., 1].square().sum().backward()
    head = module.heads.shared
    for parameter in (head.weight, head.bias):
        assert (parameter.grad[..., [0, 2]] == 0).all()
        assert (parameter.grad[..., 1] != 0).all()
    for parameter in module.shared_parameters():
        assert (parameter.grad != 0).any()


def test_networks_do_not_feel_each_other():
    module, inputs = build(HardSharing((4,), linear_skip=True)), normal(2, 6, 3)
    module(inputs)[0].square().sum().backward()
    for parameter in module.parameters():
        assert (parameter.grad[1] == 0).all()
        assert (parameter.grad[0] != 0).any()


def test_dropout_has_one_rate_a_network():
    rates = PerNetwork([0.0, 0.5])
    module = build(HardSharing((50,), dropout=rates)).train()
    module.dropouts[0].streams = Streams([(0,), (1,)])
    inputs = normal(2, 40, 3)
    whole = module.eval().features(inputs)
    kept = module.train().features(inputs)
    torch.testing.assert_close(kept[0], whole[0])
    alive = whole[1] != 0
    gone = (kept[1] == 0) & alive
    np.testing.assert_allclose(gone.sum() / alive.sum(), 0.5, atol=0.05)
    left = alive & ~gone
    torch.testing.assert_close(kept[1][left], 2 * whole[1][left])


def test_every_layer_drops_its_own_units():
    module = build(HardSharing((200, 200), dropout=0.5), n_inputs=(3,)).train()
    streams = Streams([(0,)])
    masks = []
    for dropout in module.dropouts:
        dropout.streams = streams
        masks.append(dropout(torch.ones(1, 5, 200)))
    assert not torch.equal(*masks)


def test_without_dropout_training_needs_no_random_numbers():
    module, inputs = build(HardSharing((4, 4))), normal(2, 6, 3)
    torch.testing.assert_close(module.train()(inputs), module.eval()(inputs))


@pytest.mark.parametrize(("n_inputs", "skips"), [(100, False), (101, True)])
def test_the_skip_is_chosen_by_the_number_of_inputs(n_inputs, skips):
    module = build(HardSharing((4,)), n_inputs=(n_inputs,))
    features = module.features(normal(1, 2, n_inputs))
    assert (features.shape[-1] == 4 + n_inputs) == skips


def test_auto_sizes_are_two_layers_of_128():
    module = build(HardSharing())
    assert [layer.weight.shape[-1] for layer in module.layers] == [128, 128]


def test_networks_start_as_alone_whatever_stands_beside_them():
    for skip in (False, True):
        architecture = HardSharing((4, 3), linear_skip=skip)
        together, alone = (
            architecture.build(
                BankShape(widths, 2, 2, False, torch.float64), Streams(keys)
            )
            for widths, keys in (((5, 2), [(0,), (1,)]), ((2,), [(1,)]))
        )
        inputs = F.pad(normal(1, 6, 2), (0, 3)).repeat(2, 1, 1)
        torch.testing.assert_close(
            together(inputs)[1], alone(inputs[:1, :, :2])[0], rtol=0, atol=1e-12
        )


def test_the_skip_starts_at_zero():
    shape = BankShape((3,), 2, 2, False, torch.float64)
    module = HardSharing((4,), linear_skip=True).build(shape, Streams([(0,)]))
    weight = module.heads.shared.weight
    assert (weight[:, 4:] == 0).all()
    assert (weight[:, :4] != 0).all()


def test_without_streams_weights_wait_to_be_loaded():
    module = HardSharing((4,)).build(BankShape((3,), 2, 2))
    assert all((p == 0).all() for p in module.parameters())


def test_the_output_bias_is_set_by_network():
    module = build(HardSharing((4,)))
    bias = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double()
    module.set_output_bias(bias)
    module.heads.shared.weight.data.zero_()
    expected = bias[:, None].expand(-1, 6, -1)
    assert torch.equal(module(normal(2, 6, 3)), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
def test_modules_keep_to_their_dtype(dtype, row_tasks):
    shape = BankShape((3,), 2, 4, row_tasks, dtype)
    module = HardSharing((4,), dropout=0.2).build(shape, Streams([(0,)])).eval()
    task = torch.zeros(1, 6, dtype=torch.long) if row_tasks else None
    assert {p.dtype for p in module.state_dict().values()} == {dtype}
    assert module(normal(1, 6, 3).to(dtype), task).dtype == dtype


@pytest.mark.parametrize("sizes", [(0,), (-3,), (4.5,), ("a",)])
def test_sizes_that_are_not_positive_integers_are_an_error(sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        build(HardSharing(sizes))


@pytest.mark.parametrize(
    "params",
    [
        {"activation": "step"},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"task_shrinkage": -1},
        {"linear_skip": "yes"},
        {"hidden_layer_sizes": "wide"},
        {"hidden_layer_sizes": 3},
    ],
    ids=str,
)
def test_bad_parameters_are_named(params):
    (name,) = params
    with pytest.raises(
        InvalidParameterError, match=f"'{name}' parameter of HardSharing"
    ):
        HardSharing(**params).check()


# -- row heads -------------------------------------------------------------------


def row_module(n_outputs=1, linear_skip=False):
    architecture = HardSharing((4,), activation="tanh", linear_skip=linear_skip)
    return build(architecture, n_outputs=n_outputs, n_tasks=3, row_tasks=True)


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("linear_skip", [False, True])
def test_a_row_head_is_the_shared_head_plus_a_deviation(n_outputs, linear_skip):
    """A slope, in one unit for all tasks, and a shift."""
    module = row_module(n_outputs, linear_skip)
    deviation, inputs = module.heads.deviation.weight, normal(2, 8, 3)
    task = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3], [3, 3, 0, 0, 1, 1, 2, 2]])
    features = module.features(inputs)
    own = deviation.detach().clone().unflatten(-1, (-1, n_outputs))
    own = torch.stack([own[k, task[k]] for k in range(2)])
    slope = (features.unsqueeze(-2) @ own[:, :, :-1]).squeeze(-2)
    shared = module.heads.shared(features)
    moved = module(inputs, task) - shared
    deviation.data.unflatten(-1, (-1, n_outputs))[:, :, :-1] = 0
    shift = module(inputs, task) - shared
    torch.testing.assert_close(shift, own[:, :, -1])
    unit = (moved - shift)[task < 3] / slope[task < 3]
    assert unit.min() > 0
    torch.testing.assert_close(unit, unit[0, 0].expand_as(unit))


def test_no_task_and_no_deviation_read_the_shared_head():
    module, inputs = row_module(), normal(2, 6, 3)
    shared = module.heads.shared(module.features(inputs))
    nobody = torch.full((2, 6), 3)
    torch.testing.assert_close(module(inputs, nobody), shared)
    module.heads.deviation.weight.data.zero_()
    somebody = torch.arange(6).expand(2, -1) % 3
    torch.testing.assert_close(module(inputs, somebody), shared)


def test_row_tasks_have_no_one_linear_head():
    assert row_module().linear_head() is None


def test_the_penalty_by_hand():
    shrinkage = PerNetwork([2.0, 5.0])
    architecture = HardSharing((1,), task_shrinkage=shrinkage)
    module = build(architecture, n_outputs=1, n_tasks=3, row_tasks=True).train()
    deviation = module.heads.deviation
    deviation.lazy = True
    deviation.weight.data[0] = torch.tensor(
        [[1.0, 2.0], [3.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
    )
    deviation.weight.data[1] = 0.0
    deviation.weight.data[1, 2] = torch.tensor([0.0, 2.0])
    task = torch.tensor([[0, 1, 0], [2, 2, 3]])
    module(normal(2, 3, 3), task)
    share = torch.tensor([[0.25, 0.25, 0.25], [0.25, 0.5, 0.5]]).double()
    penalty = module.penalty(lambda by_row: share)
    # 2 ((0.25 + 0.25) (1 + 4) + 0.25 * 9) and 5 (0.25 + 0.5) * 4
    torch.testing.assert_close(penalty, torch.tensor([9.5, 15.0]).double())
    assert build(HardSharing((1,))).penalty(lambda: share) is None


@pytest.mark.parametrize("batch_size", [7, 40])
def test_penalties_of_an_epoch_average_to_that_of_the_objective(
    batch_size, make_data, make_plan, monkeypatch
):
    """Lambda times all squared deviations, over the weight of all training rows."""
    data = make_data(row_tasks=True, n_tasks=4, weighted=True)
    architecture = HardSharing((5,), task_shrinkage=2.0)
    plan = make_plan(
        data, architecture=architecture, lr=1e-30, max_epochs=1, batch_size=batch_size
    )
    seen = []
    original = HardSharingModule.penalty

    def penalty(self, share):
        self.heads.deviation.selected[1].data[:] = 0.5
        seen.append(original(self, share).item())
        return original(self, share)

    monkeypatch.setattr(HardSharingModule, "penalty", penalty)
    fit_bank([plan], data, dtype="float64")
    n_columns = 6
    expected = 2.0 * 4 * n_columns * 0.25 / data.weight.sum()
    np.testing.assert_allclose(np.mean(seen), expected, rtol=1e-9)


def test_strong_shrinkage_ignores_the_groups_and_none_lets_them_go(
    make_data, make_plan
):
    data = make_data(n_rows=40, n_tasks=4, row_tasks=True)
    data.y[:, 0] += 3.0 * data.task
    sizes = []
    for shrinkage in (0.0, 3.0, 1e4):
        plan = make_plan(
            data,
            architecture=HardSharing((5,), task_shrinkage=shrinkage),
            max_epochs=150,
        )
        net, _ = fit_bank([plan], data)
        weight = net.module_.architecture.heads.deviation.weight
        sizes.append(weight.square().sum().item())
    assert sizes[0] > 1.2 * sizes[1] > 20 * sizes[2]


def test_architectures_share_features_unless_they_say_otherwise():
    module = ArchitectureModule()
    assert module.has_features
    assert module.linear_head() is None
    assert module.penalty(None) is None


# -- strategies ------------------------------------------------------------------


def test_per_network_reads_one_value_or_a_bank_of_them():
    one = HardSharing(dropout=0.25)
    assert one.per_network("dropout", 3).tolist() == [0.25] * 3
    bank = HardSharing(dropout=PerNetwork([0.1, 0.2, 0.3]))
    found = bank.per_network("dropout", 3)
    assert found.tolist() == [0.1, 0.2, 0.3]
    assert found.dtype == torch.float64


@given(st.lists(st.sampled_from([0.0, 0.1, 0.5]), min_size=1, max_size=5))
def test_stacked_strategies_give_each_network_its_value(rates):
    strategies = [HardSharing((4,), dropout=rate, task_shrinkage=2.0) for rate in rates]
    joined = Strategy.stack(strategies)
    assert joined.per_network("dropout", len(rates)).tolist() == rates
    assert joined.task_shrinkage == 2.0
    assert joined.hidden_layer_sizes == (4,)
    assert [s.dropout for s in strategies] == rates
    index = [len(rates) - 1, 0]
    taken = joined.take(index)
    expected = [rates[k] for k in index]
    assert taken.per_network("dropout", 2).tolist() == expected
    assert joined.per_network("dropout", len(rates)).tolist() == rates


def test_strategies_that_agree_stay_plain():
    joined = Strategy.stack([Uncertainty(0.5), Uncertainty(0.5)])
    assert joined.init_log_var == 0.5
    assert repr(joined.take([1])) == "Uncertainty(init_log_var=0.5)"


def test_one_object_for_all_is_copied():
    strategy = HardSharing((4,))
    joined = Strategy.stack([strategy] * 3)
    assert joined is not strategy
    assert joined.get_params() == strategy.get_params()


@pytest.mark.parametrize(
    ("strategies", "name"),
    [
        ([HardSharing((4,)), HardSharing((5,))], "hidden_layer_sizes"),
        (
            [HardSharing(activation="relu"), HardSharing(activation="tanh")],
            "activation",
        ),
        ([HardSharing(), HardSharing(linear_skip=True)], "linear_skip"),
        ([PCGrad(), PCGrad(gradients="parameters")], "gradients"),
    ],
)
def test_what_does_not_fuse_is_named(strategies, name):
    with pytest.raises(ValueError, match=name):
        Strategy.stack(strategies)


def test_classes_do_not_fuse():
    for pair in ([Equal(), PCGrad()], [PCGrad(), Equal()], [Uncertainty(), Equal()]):
        with pytest.raises(ValueError, match="bank"):
            Strategy.stack(pair)


def test_banks_of_values_are_checked_like_values():
    HardSharing(dropout=PerNetwork([0.1, 0.9])).check()
    for rates in ([1.5, 0.1], [0.1, 1.5]):
        with pytest.raises(InvalidParameterError, match="dropout"):
            HardSharing(dropout=PerNetwork(rates)).check()


def test_banks_of_values_clone():
    bank = HardSharing(dropout=PerNetwork([0.1, 0.2]))
    assert clone(bank).per_network("dropout", 2).tolist() == [0.1, 0.2]


def test_building_leaves_the_strategy_alone():
    architecture = HardSharing((4,), dropout=0.1)
    before = repr(architecture), dict(vars(architecture))
    build(architecture)
    assert (repr(architecture), vars(architecture)) == before
