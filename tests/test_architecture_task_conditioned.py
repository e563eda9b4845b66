"""One network that an embedding of the task modulates."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skmtl import MAMLRegressor
from skmtl._streams import Streams
from skmtl.architecture import BankShape, HardSharing, TaskConditioned
from skmtl.architecture._task_conditioned import _GAIN

from .instances import exact, regression_data, row_task_data
from .plain import OWNERS, assert_same_with_gradients, build, normal, some_tasks

SIZES = st.sampled_from([(4,), (5, 3), (2, 2, 2)])


def plain_hidden(module, k, inputs, embedding):
    for layer, film in zip(module.layers, module.films, strict=True):
        plain = inputs @ layer.weight[k] + layer.bias[k, 0]
        scale = 1 + embedding @ film.scale.weight[k]
        inputs = torch.tanh(scale * plain + embedding @ film.shift.weight[k])
    return inputs


@given(sizes=SIZES, n_numbers=st.integers(1, 3))
def test_columns_equal_plain_networks(sizes, n_numbers):
    module = build(TaskConditioned(sizes, n_numbers, activation="tanh"))
    module.embedding.own.data /= _GAIN
    inputs, head, expected = normal(2, 6, 3), module.heads.shared, []
    for k in range(2):
        own = [
            plain_hidden(module, k, inputs[k], _GAIN * module.embedding.own[k, t])
            for t in range(3)
        ]
        outputs = [own[t] @ head.weight[k, :, o] for o, t in enumerate(OWNERS)]
        expected.append(torch.stack(outputs, dim=1) + head.bias[k])
    assert_same_with_gradients(module, module(inputs), torch.stack(expected))


@given(sizes=SIZES, n_numbers=st.integers(1, 3))
def test_rows_equal_plain_networks(sizes, n_numbers):
    module = build(TaskConditioned(sizes, n_numbers, activation="tanh"), row_tasks=True)
    rows = module.embedding.rows.weight
    rows.data[:, -1] = 0
    inputs, task, head, expected = (
        normal(2, 8, 3),
        some_tasks(),
        module.heads.shared,
        [],
    )
    for k in range(2):
        for r, t in enumerate(task[k]):
            embedding = rows[k, t]
            outputs = plain_hidden(module, k, inputs[k, r], embedding) @ head.weight[k]
            outputs = outputs + head.bias[k, 0] + embedding @ module.shift.weight[k]
            expected.append(outputs)
    expected = torch.stack(expected).view(2, 8, 2)
    assert_same_with_gradients(module, module(inputs, task), expected)


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
def test_embeddings_of_zero_are_hard_sharing(row_tasks):
    """With row tasks that is one pooled network."""
    module = build(TaskConditioned((4, 3)), row_tasks=row_tasks)
    hard = build(HardSharing((4, 3)), row_tasks=row_tasks)
    hard.layers.load_state_dict(module.layers.state_dict())
    hard.heads.shared.load_state_dict(module.heads.shared.state_dict())
    inputs, task = normal(2, 8, 3), None
    if row_tasks:
        task = some_tasks()
        module.embedding.rows.weight.data.zero_()
        hard.heads.deviation.weight.data.zero_()
    else:
        module.embedding.own.data.zero_()
    torch.testing.assert_close(module(inputs, task), hard(inputs, task))


def test_a_shrinkage_without_bounds_is_hard_sharing():
    X, y = regression_data()
    fits = []
    for architecture in (
        TaskConditioned((8,), task_shrinkage=1e12),
        HardSharing((8,)),
    ):
        model = exact("regressor", architecture=architecture, lr=1e-3)
        fits.append(model.fit(X, y).predict(X))
    # Steps of Adam do not end at zero; they shrink with the learning rate.
    np.testing.assert_allclose(*fits, rtol=2e-2)


def test_embeddings_start_at_zero():
    shape = BankShape((3,), 1, 5, True)
    module = TaskConditioned((4,), 3).build(shape, Streams([(0,)]))
    assert module.embeddings_.shape == (1, 5, 3)
    assert (module.embeddings_ == 0).all()


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
def test_the_penalty_by_hand(row_tasks):
    architecture = TaskConditioned((4,), 2, task_shrinkage=3.0)
    module = build(architecture, row_tasks=row_tasks).train()
    share = torch.rand(2, 3, dtype=torch.float64)
    own = module.embeddings_
    if row_tasks:
        module.embedding.rows.lazy = True
        module.embedding.rows.weight.data[:, :-1] = normal(2, 3, 2, seed=1)
        task = torch.tensor([[0, 1, 1], [2, 1, 0]])
        module(normal(2, 3, 3), task)
        own = torch.stack([module.embeddings_[k, task[k]] for k in range(2)])
    expected = 3.0 * (own.square().sum(-1) * share).sum(-1)
    found = module.penalty(lambda by_row=False: share)
    torch.testing.assert_close(found, expected)


def fitted_groups(n_groups=30, n_rows=20, **params):
    """Fit groups that differ in two numbers, and keep some apart."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_groups * n_rows, 3))
    task = np.repeat(np.arange(n_groups), n_rows)
    nature = rng.normal(size=(n_groups, 2))
    slope, shift = nature[task].T
    y = np.sin(2 * X[:, 0]) + slope * X[:, 1] + 2 * shift
    y += 0.05 * rng.normal(size=len(y))
    known = task < n_groups - 6
    architecture = TaskConditioned((32,), 4, task_shrinkage=0.1, **params)
    model = exact("regressor", architecture=architecture, batch_size=64)
    model.set_params(max_epochs=100)
    return model, (X, y, task, nature), known


def test_adapt_learns_the_embedding_of_a_new_group():
    """A few rows do what a group of the training has; nothing else moves."""
    model, (X, y, task, _), known = fitted_groups()
    model.fit(X[known], y[known], task=task[known])
    errors = []
    for t in np.unique(task[~known]):
        own = np.flatnonzero(task == t)
        few, rest = own[:8], own[8:]
        adapted = model.adapt(X[few], y[few])
        with pytest.warns(UserWarning, match=str(t)):
            pooled = model.predict(X[rest], task=task[rest])
        errors.append(
            [np.mean((p - y[rest]) ** 2) for p in (adapted.predict(X[rest]), pooled)]
        )
    adapted_error, pooled_error = np.mean(errors, axis=0)
    assert adapted_error < 0.15 * pooled_error
    inner = dict(adapted.architecture_.inner.named_parameters())
    for name, parameter in model.architecture_.named_parameters():
        assert torch.equal(inner[name], parameter)
    embedding = adapted.architecture_.heads.embedding
    assert (embedding != 0).all()


def test_the_embedding_of_a_new_group_is_at_a_minimum():
    # A minimum of relu may lie in a kink, where no gradient is zero.
    model, (X, y, task, _), known = fitted_groups(activation="tanh")
    model.set_params(max_epochs=5).fit(X[known], y[known], task=task[known])
    own = task == task.max()
    module = model.adapt(X[own], y[own]).net_.module_
    inputs = module.encoder(torch.tensor(X[own]))
    targets = torch.tensor(model.net_.blueprint.targets.encode(y[own][:, None]))
    embedding = module.architecture.heads.embedding
    outputs = module.architecture(inputs)
    cells = module.losses.cells(outputs, targets[None].double())
    total = cells.sum() + 0.1 * embedding.square().sum()
    (gradient,) = torch.autograd.grad(total, embedding)
    assert gradient.abs().max() < 1e-4 * total


def test_descriptors_predict_embeddings():
    """Groups with two rows each are known by what describes them."""
    model, (X, y, task, nature), _ = fitted_groups(n_groups=60)
    seen = np.concatenate([np.flatnonzero(task == t)[:2] for t in range(60)])
    errors = {}
    for name, descriptors in (
        ("none", None),
        ("known", {t: list(nature[t]) for t in range(60)}),
    ):
        model.set_params(architecture__descriptors=descriptors)
        model.set_params(architecture__task_shrinkage=10.0)
        model.fit(X[seen], y[seen], task=task[seen])
        rest = np.setdiff1d(np.arange(len(X)), seen)
        predictions = model.predict(X[rest], task=task[rest])
        errors[name] = np.mean((predictions - y[rest]) ** 2)
    assert errors["known"] < 0.6 * errors["none"]


def test_a_new_group_is_known_by_its_descriptors():
    """Without a row, and better with a few rows than those alone."""
    model, (X, y, task, nature), known = fitted_groups()
    table = np.column_stack([X, task])
    model.set_params(task_column=X.shape[1])
    errors = {}
    for name, descriptors in (
        ("none", None),
        ("known", {int(t): list(nature[t]) for t in np.unique(task)}),
    ):
        model.set_params(architecture__descriptors=descriptors)
        model.fit(table[known], y[known])
        found = []
        for t in np.unique(task[~known]):
            own = np.flatnonzero(task == t)
            few, rest = own[:3], own[3:]
            with warnings.catch_warnings():
                # Of tasks that fit did not see and nobody described.
                warnings.simplefilter("ignore" if name == "none" else "error")
                guess = model.predict(table[rest])
            adapted = model.adapt(table[few], y[few]).predict(table[rest])
            found.append([np.mean((p - y[rest]) ** 2) for p in (guess, adapted)])
        errors[name] = np.mean(found, axis=0)
    assert errors["known"][0] < 0.1 * errors["none"][0]
    assert errors["known"][1] < 0.7 * errors["none"][1]
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(table), model.predict(table))


def test_a_described_group_is_at_what_its_descriptors_predict():
    """With a strong ridge adapt stays there; a task of the mean is no task."""
    X, y, task = row_task_data()
    table, mean = np.column_stack([X, task]), float(np.mean(range(10, 16)))
    descriptors = {t: [float(t)] for t in range(10, 16)} | {20: [16.0], 30: [mean]}
    architecture = TaskConditioned((4,), descriptors=descriptors)
    model = exact("regressor", architecture=architecture, task_column=3)
    model.set_params(max_epochs=20).fit(table, y)
    at = [np.column_stack([X[:9], np.full(9, t)]) for t in (20, 30, 99)]
    described, average = (model.predict(part) for part in at[:2])
    with pytest.warns(UserWarning, match="99"):
        np.testing.assert_allclose(average, model.predict(at[2]), rtol=1e-10)
    assert np.abs(described - average).max() > 1e-3
    strong = model.architecture_.embedding.shrinkage
    strong.fill_(1e12)
    adapted = model.adapt(at[0], y[:9])
    np.testing.assert_allclose(adapted.predict(at[0]), described, rtol=1e-6)


@pytest.mark.parametrize(
    ("descriptors", "words"),
    [
        ({10: [1.0]}, "Task 11 has no entry"),
        ({t: [1.0] * (1 + (t == 12)) for t in range(10, 16)}, "equally many"),
        ({t: [np.nan] for t in range(10, 16)}, "finite"),
    ],
    ids=["lacking", "ragged", "nan"],
)
def test_descriptors_that_do_not_fit_are_refused(descriptors, words):
    X, y, task = row_task_data()
    architecture = TaskConditioned((4,), descriptors=descriptors)
    model = exact("regressor", architecture=architecture, max_epochs=1)
    with pytest.raises(ValueError, match=words):
        model.fit(X, y, task=task)


def test_descriptors_are_standardised_and_describe_columns():
    X, y = regression_data()
    plain = {0: [1.0, 5.0], 1: [2.0, 5.0], 2: [6.0, 5.0]}
    moved = {t: [10 * a - 3, b] for t, (a, b) in plain.items()}
    fits = []
    for descriptors in (plain, moved):
        architecture = TaskConditioned((4,), descriptors=descriptors)
        model = exact("regressor", architecture=architecture, max_epochs=10)
        fits.append(model.fit(X, y).predict(X))
    np.testing.assert_allclose(*fits, rtol=1e-7)


def test_learners_of_unnamed_tasks_refuse_descriptors():
    X, y, task = row_task_data()
    architecture = TaskConditioned((4,), descriptors={t: [t] for t in range(10, 16)})
    with pytest.raises(ValueError, match="cannot name"):
        MAMLRegressor(architecture, max_iter=1).fit(X, y, task=task)
