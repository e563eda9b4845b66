"""What holds for every architecture, over the table of instances."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from skmtl import MAMLRegressor, MetaRidgeRegressor, PrototypicalClassifier
from skmtl._net import fit_bank
from skmtl._net._module import Blueprint
from skmtl._net._training import BankTraining
from skmtl._pilot import Pilot
from skmtl._streams import Streams
from skmtl.architecture import BankShape, TorchModule
from skmtl.weighting import (
    DBMTL,
    FAMO,
    MGDA,
    GradDrop,
    GradNorm,
    HeadRates,
    PCGrad,
    Uncertainty,
)

from .instances import (
    STRATEGIES,
    exact,
    missing,
    regression_data,
    row_task_data,
    small,
)

ROWS = [
    pytest.param(row, id=f"{i}-{type(row.strategy).__name__}")
    for i, row in enumerate(STRATEGIES["architecture"])
]
OURS = [p for p in ROWS if not isinstance(p.values[0].strategy, TorchModule)]


PILOT = Pilot(
    np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    np.array([0.3, 0.1, 0.2]),
)


def settled(architecture, names=(0, 1, 2)):
    """Clone; what a fit would find out by a pilot is given."""
    return clone(architecture).after_pilot(PILOT, names)


def build(architecture, *, n_inputs=(3, 3), owners=(0, 1, 1, 2), row_tasks=False):
    """Make a module with random numbers everywhere."""
    n_outputs = 1 if row_tasks else len(owners)
    shape = BankShape(
        tuple(n_inputs),
        n_outputs,
        3,
        row_tasks,
        torch.float64,
        owners=None if row_tasks else tuple(owners),
        task_names=("a", "b", "c"),
    )
    streams = Streams([(k,) for k in range(len(n_inputs))])
    module = settled(architecture, ("a", "b", "c")).build(shape, streams)
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data.normal_(generator=generator)
    for part in module.modules():
        if hasattr(part, "streams"):
            part.streams = streams
    return module.eval()


def rows_for(module, n_rows=7, seed=1, row_tasks=False):
    """Draw inputs, and tasks in turn, one of them unknown."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(2, n_rows, 3, generator=generator, dtype=torch.float64)
    task = (torch.arange(n_rows) % 4).expand(2, -1) if row_tasks else None
    return inputs, task


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("row", ROWS)
def test_outputs_have_their_shape_and_are_heads_of_features(row, row_tasks):
    if row_tasks and not row.row_tasks:
        pytest.skip(row.row_error)
    module = build(row.strategy, row_tasks=row_tasks)
    inputs, task = rows_for(module, row_tasks=row_tasks)
    outputs = module(inputs, task)
    assert outputs.shape == (2, 7, 1 if row_tasks else 4)
    assert outputs.isfinite().all()
    if row.has_features:
        again = module.head(module.features(inputs), task)
        torch.testing.assert_close(again, outputs)
    readout = module.readout(inputs)
    assert readout.shape[:2] == (2, 7)
    # The same rows for every network.
    torch.testing.assert_close(
        module(inputs[:1], task), module(inputs[:1].repeat(2, 1, 1), task)
    )


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("row", OURS)
@given(
    n_inputs=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    owners=st.sampled_from([(0, 1, 2), (0, 0, 1, 2), (0, 1, 1, 1, 2, 2)]),
    n_rows=st.integers(1, 9),
)
def test_shapes_follow_from_the_sizes(row, row_tasks, n_inputs, owners, n_rows):
    if row_tasks and not row.row_tasks:
        pytest.skip(row.row_error)
    module = build(row.strategy, n_inputs=n_inputs, owners=owners, row_tasks=row_tasks)
    n_networks, dtype = len(n_inputs), torch.float64
    generator = torch.Generator().manual_seed(0)
    shape = n_networks, n_rows, max(n_inputs)
    inputs = torch.randn(shape, generator=generator, dtype=dtype)
    task = torch.randint(4, shape[:2], generator=generator) if row_tasks else None
    outputs = module(inputs, task)
    assert outputs.shape == (n_networks, n_rows, 1 if row_tasks else len(owners))
    assert outputs.isfinite().all()
    assert module.readout(inputs).shape[:2] == shape[:2]
    assert {len(parameter) for parameter in module.parameters()} == {n_networks}


@pytest.mark.parametrize("row", OURS)
def test_a_task_trains_the_shared_part_and_its_own_part(row):
    """Shared parameters are those that all tasks train; no task trains another's."""
    module = build(row.strategy)
    inputs, _ = rows_for(module, n_rows=40)
    owners = torch.tensor([0, 1, 1, 2])
    named = dict(module.named_parameters())
    gradients = []
    for t in range(3):
        outputs = module(inputs)[..., owners == t]
        found = torch.autograd.grad(
            outputs.square().sum(), list(named.values()), materialize_grads=True
        )
        gradients.append(dict(zip(named, found, strict=True)))
    shared = {id(p) for p in module.shared_parameters()}
    assert len(shared) == len(module.shared_parameters())
    for name, parameter in named.items():
        moved = torch.stack([g[name] != 0 for g in gradients])
        if id(parameter) in shared:
            assert all(m.any() for m in moved), name
        else:
            assert moved.sum(0).max() <= 1, name
            assert moved.any(), name


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("row", ROWS)
def test_networks_do_not_feel_each_other(row, row_tasks):
    if row_tasks and not row.row_tasks:
        pytest.skip(row.row_error)
    module = build(row.strategy, row_tasks=row_tasks)
    inputs, task = rows_for(module, row_tasks=row_tasks)
    module(inputs, task)[0].square().sum().backward()
    for parameter in module.parameters():
        assert parameter.grad is None or (parameter.grad[1] == 0).all()


CASES = {
    "columns": {"missing": 0.3},
    "rows": {"row_tasks": True},
    "classes": {"kind": "class", "n_classes": [2, 3, 2]},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("row", OURS)
def test_a_bank_equals_its_networks_one_by_one(
    row, case, make_data, make_plan, assert_one_by_one
):
    if case == "rows" and not row.row_tasks:
        pytest.skip(row.row_error)
    data = make_data(**CASES[case])
    architecture = settled(row.strategy, data.task_names)
    if "dropout" in architecture.get_params():
        architecture.set_params(dropout=0.3)
    rows = np.random.default_rng(0).permutation(40)
    plans = [
        make_plan(data, 0, rows[:30], rows[30:], architecture=architecture),
        # It leaves the bank before the others.
        make_plan(
            data, 1, rows[:19], rows[19:], architecture=architecture, max_epochs=2
        ),
        make_plan(data, 2, rows[7:], rows[:7], architecture=architecture),
    ]
    net, _ = assert_one_by_one(plans, data)
    # Taken out, and put together again.
    parts = [net.take([2]), net.take([0, 1])]
    joined = type(net).join(parts)
    outputs = torch.cat(list(net.outputs(data.X, data.task)), dim=1)
    again = torch.cat(list(joined.outputs(data.X, data.task)), dim=1)
    torch.testing.assert_close(again, outputs[[2, 0, 1]])


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("row", OURS)
def test_networks_of_other_widths_train_and_join(
    row, row_tasks, make_data, make_plan, assert_one_by_one
):
    """What is padding in a bank has no say, and finds its place in a wider one."""
    if row_tasks and not row.row_tasks:
        pytest.skip(row.row_error)
    data = make_data(n_features=4, row_tasks=row_tasks)
    wide = make_plan(data).encoder
    narrow = type(wide)(
        *(getattr(wide, name)[:2] for name in wide.__dataclass_fields__)
    )
    architecture = settled(row.strategy, data.task_names)
    plans = [
        make_plan(data, seed, encoder=encoder, architecture=architecture)
        for seed, encoder in enumerate((narrow, wide))
    ]
    net, _ = assert_one_by_one(plans, data)
    parts = [fit_bank([plan], data, dtype="float64")[0] for plan in plans]
    joined = type(net).join(parts)
    whole, again = (
        torch.cat(list(n.outputs(data.X, data.task)), dim=1) for n in (net, joined)
    )
    torch.testing.assert_close(again, whole)


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("row", ROWS)
def test_a_single_task_is_learned(row, row_tasks):
    if row_tasks and not row.row_tasks:
        pytest.skip(row.row_error)
    X, y = regression_data()
    task = np.zeros(len(X), int) if row_tasks else None
    model = exact("regressor", architecture=clone(row.strategy))
    model.fit(X, y[:, 0], task=task)
    assert model.score(X, y[:, 0], task=task) > 0.5


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("row", OURS)
def test_networks_start_as_alone_whatever_stands_beside_them(row, row_tasks):
    if row_tasks and not row.row_tasks:
        pytest.skip(row.row_error)
    together, alone = (
        settled(row.strategy).build(
            BankShape(widths, 1 if row_tasks else 3, 3, row_tasks, torch.float64),
            Streams(keys),
        )
        for widths, keys in (((5, 2), [(0,), (1,)]), ((2,), [(1,)]))
    )
    inputs = torch.randn(1, 6, 2, generator=torch.Generator().manual_seed(0)).double()
    task = torch.arange(6).expand(2, -1) % 4 if row_tasks else None
    wide = torch.nn.functional.pad(inputs, (0, 3)).repeat(2, 1, 1)
    torch.testing.assert_close(
        together.eval()(wide, task)[1],
        alone.eval()(inputs, None if task is None else task[:1])[0],
        rtol=0,
        atol=1e-12,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("row", OURS)
def test_modules_keep_to_their_dtype(row, dtype):
    shape = BankShape((3,), 3, 3, False, dtype)
    module = settled(row.strategy).build(shape, Streams([(0,)])).eval()
    floats = {p.dtype for p in module.state_dict().values() if p.is_floating_point()}
    assert floats == {dtype}
    assert module(torch.zeros(1, 6, 3, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("n_estimators", [1, 4])
@pytest.mark.parametrize("row", ROWS)
def test_missing_labels_and_ensembles(row, n_estimators):
    X, y = regression_data()
    model = small("regressor", architecture=clone(row.strategy), max_epochs=3)
    model.set_params(n_estimators=n_estimators).fit(X, missing(y))
    predictions = model.predict(X)
    assert predictions.shape == y.shape
    assert np.isfinite(predictions).all()
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_allclose(again.predict(X), predictions)
    one = model.estimators_[0].predict(X)
    assert np.isfinite(one).all()


@pytest.mark.parametrize("row", ROWS)
def test_numbers_and_classes_side_by_side(row):
    X, y = regression_data()
    y = y.copy()
    y[:, 2] = np.digitize(y[:, 2], np.quantile(y[:, 2], [0.3, 0.7]))
    types = ["number", "number", "class"]
    model = small("mixed", architecture=clone(row.strategy), max_epochs=20)
    model.set_params(task_types=types).fit(X, y)
    assert np.shape(model.predict(X)) == y.shape


@pytest.mark.parametrize(
    "weighting",
    [
        Uncertainty(),
        FAMO(),
        HeadRates(alpha=1.0),
        PCGrad(gradients="parameters"),
        MGDA(gradients="parameters", update_every=2),
        GradDrop(gradients="parameters"),
        DBMTL(),
        GradNorm(),
        PCGrad(),
        GradDrop(),
    ],
    ids=lambda weighting: repr(weighting).replace("gradients=", ""),
)
@pytest.mark.parametrize("row", ROWS)
def test_weightings_work_or_name_what_is_missing(row, weighting):
    X, y = regression_data()
    model = exact("regressor", architecture=clone(row.strategy), max_epochs=2)
    model.set_params(weighting=clone(weighting))
    at_features = getattr(weighting, "gradients", None) == "features"
    if at_features and row.has_features is False:
        names = f"{type(weighting).__name__}.*{type(row.strategy).__name__}"
        with pytest.raises(ValueError, match=names):
            model.fit(X, y)
    else:
        model.fit(X, missing(y))
        assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize(
    "weighting", [Uncertainty(), PCGrad(gradients="parameters"), DBMTL()], ids=repr
)
@pytest.mark.parametrize("row", ROWS)
def test_weightings_work_with_row_tasks(row, weighting):
    if not row.row_tasks:
        pytest.skip(row.row_error)
    X, y, task = row_task_data()
    model = exact("regressor", architecture=clone(row.strategy), max_epochs=2)
    model.set_params(weighting=clone(weighting), batch_size=30)
    model.fit(X, y, task=task)
    assert np.isfinite(model.predict(X, task=task)).all()


@pytest.mark.parametrize("row", OURS)
def test_networks_of_tasks_nest_behind_networks(row):
    """Weights for members x tasks on one axis are those networks one by one.

    To second order: a step of each task's weights by gradient, and the gradient of the
    loss after it.
    """
    module = build(row.strategy)
    alone = build(row.strategy, n_inputs=(3,))
    generator = torch.Generator().manual_seed(4)
    start = {
        name: torch.randn(6, *p.shape[1:], generator=generator, dtype=p.dtype) / 2
        for name, p in module.named_parameters()
    }
    buffers = {
        name: b.repeat_interleave(3, dim=0) for name, b in module.named_buffers()
    }
    inputs = torch.randn(6, 5, 3, generator=generator, dtype=torch.float64)

    def after_a_step(run, weights, held, rows):
        leaves = {n: w.requires_grad_() for n, w in weights.items()}
        loss = torch.func.functional_call(run, leaves | held, (rows,)).square().sum()
        found = torch.autograd.grad(
            loss, list(leaves.values()), create_graph=True, materialize_grads=True
        )
        moved = {
            n: w - 0.1 * g for (n, w), g in zip(leaves.items(), found, strict=True)
        }
        second = torch.func.functional_call(run, moved | held, (rows.flip(1),))
        total = second.tanh().sum()
        return torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)

    whole = after_a_step(module, start, buffers, inputs)
    for k in range(6):
        one = {n: w[k : k + 1].detach().clone() for n, w in start.items()}
        held = {n: b[k : k + 1] for n, b in buffers.items()}
        single = after_a_step(alone, one, held, inputs[k : k + 1])
        for found, expected in zip(whole, single, strict=True):
            torch.testing.assert_close(found[k], expected[0])


@pytest.mark.parametrize("row", ROWS)
def test_the_weighted_gradient_is_that_of_the_weighted_losses(
    row, make_data, make_plan
):
    """Shared parameters follow the weights, the rest does not."""
    data = make_data()
    architecture = settled(row.strategy, data.task_names)
    plan = make_plan(data, architecture=architecture, weighting=Uncertainty())
    blueprint = Blueprint.from_plans([plan], data, "float64")
    training = BankTraining(blueprint, [plan], data, "cpu")
    training.module.eval()
    training.streams.n_rows = None
    training.module.weighting.train()
    with torch.no_grad():
        training.module.weighting.log_var_.copy_(torch.tensor([[0.0, 1.0, -1.0]]))
    (batch, *_) = list(training.batches)
    _, weights = training.objective.backward(batch)
    module = training.module
    named = dict(module.architecture.named_parameters())
    shared = {id(p) for p in module.architecture.shared_parameters()}
    found = {n: p.grad for n, p in named.items()}
    module.zero_grad()
    own = module(batch.inputs, batch.task)
    each = training.objective.losses(own, batch)
    penalty = module.architecture.penalty(training.objective._share(batch))
    extra = 0.0 if penalty is None else penalty.sum()
    for name, parameter in named.items():
        factor = weights if id(parameter) in shared else torch.ones_like(weights)
        total = (each * factor).mean() + extra
        (wanted,) = torch.autograd.grad(
            total, parameter, retain_graph=True, materialize_grads=True
        )
        got = torch.zeros_like(wanted) if found[name] is None else found[name]
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("row", ROWS)
def test_a_new_column_is_adapted_on_the_frozen_networks(row):
    X, y = regression_data()
    model = exact("regressor", architecture=clone(row.strategy)).fit(X, y[:, :2])
    before = model.predict(X)
    adapted = model.adapt(X[:40], y[:40, 2])
    residual = y[40:, 2] - adapted.predict(X[40:])
    assert np.mean(residual**2) < 0.7 * y[40:, 2].var()
    np.testing.assert_array_equal(model.predict(X), before)
    again = pickle.loads(pickle.dumps(adapted))
    np.testing.assert_allclose(again.predict(X), adapted.predict(X))
    twice = adapted.adapt(X[:40], y[:40, 2])
    np.testing.assert_allclose(twice.predict(X), adapted.predict(X))


@pytest.mark.parametrize("row", ROWS)
def test_a_new_group_is_adapted_and_no_group_is_pooled(row):
    if not row.row_tasks:
        pytest.skip(row.row_error)
    X, y, task = row_task_data()
    new = task == 15
    model = exact("regressor", architecture=clone(row.strategy))
    model.fit(X[~new], y[~new], task=task[~new])
    adapted = model.adapt(X[new][:10], y[new][:10])
    assert np.isfinite(adapted.predict(X[new])).all()
    with pytest.warns(UserWarning, match="15"):
        pooled = model.predict(X[new], task=task[new])
    errors = [np.mean((p - y[new]) ** 2) for p in (adapted.predict(X[new]), pooled)]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("row", ROWS)
def test_hyperparameters_that_fuse_train_side_by_side(row, make_data, make_plan):
    data = make_data()
    for name in type(row.strategy)._fusable:
        value = getattr(row.strategy, name)
        # "auto" makes networks of another kind, which fuse with each other alone.
        value = 2.0 if value == "auto" else value
        architectures = [
            settled(row.strategy, data.task_names).set_params(**{name: v})
            for v in (value, 0.5)
        ]
        plans = [make_plan(data, 0, architecture=a) for a in architectures]
        net, _ = fit_bank(plans, data, dtype="float64")
        for k, plan in enumerate(plans):
            alone, _ = fit_bank([plan], data, dtype="float64")
            outputs = next(iter(net.outputs(data.X)))[k]
            torch.testing.assert_close(outputs, next(iter(alone.outputs(data.X)))[0])


@pytest.mark.parametrize("row", ROWS)
def test_maml_starts_from_every_architecture(row):
    X, y, task = row_task_data()
    model = MAMLRegressor(
        clone(row.strategy),
        n_support=(2, 5),
        n_query=5,
        meta_batch_size=3,
        max_iter=3,
        random_state=0,
        device="cpu",
    )
    model.fit(X, y, task=task)
    assert np.isfinite(model.predict(X, task=task)).all()


@pytest.mark.parametrize("learner", [MetaRidgeRegressor, PrototypicalClassifier])
@pytest.mark.parametrize("row", ROWS)
def test_learners_of_linear_heads_take_them_or_name_what_is_missing(row, learner):
    X, y, task = row_task_data()
    if learner is PrototypicalClassifier:
        y = (y > 0).astype(int)
    model = learner(clone(row.strategy), max_iter=2, random_state=0, device="cpu")
    if row.linear_heads:
        assert np.isfinite(model.fit(X, y, task=task).score(X, y, task=task))
    else:
        with pytest.raises(ValueError, match=f"heads of {type(row.strategy).__name__}"):
            model.fit(X, y, task=task)
