"""One trunk for each group of tasks, given or found."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from skmtl import MAMLRegressor
from skmtl._net import Lookahead, fit_bank, lookahead_gains
from skmtl._pilot import corrected, halved, relative_gains
from skmtl.architecture import BankShape, HardSharing, TaskGroups
from skmtl.architecture._heads import moved
from skmtl.architecture._task_groups import clustered

from .instances import exact, missing, regression_data, row_task_data, small
from .plain import OWNERS, assert_same_with_gradients, build, normal, some_tasks

GROUPS = [[0, 2], [1]]
NUMBERS = [0, 1, 0]


def trunk(experts, k, g, inputs):
    """Run the trunk of one group, by torch's own operations."""
    first, width = experts.first, experts.n_first
    if first.weight.ndim == 3:
        where = slice(g * width, (g + 1) * width)
        weight, bias = first.weight[k][:, where], first.bias[k][0, where]
    else:
        weight, bias = first.weight[k, g], first.bias[k, g, 0]
    hidden = torch.tanh(inputs @ weight + bias)
    for layer in experts.layers:
        hidden = torch.tanh(hidden @ layer.weight[k, g] + layer.bias[k, g, 0])
    return hidden


@given(sizes=st.sampled_from([(4,), (5, 3), (2, 2, 2)]))
def test_columns_equal_plain_networks(sizes):
    architecture = TaskGroups(GROUPS, hidden_layer_sizes=sizes, activation="tanh")
    module, inputs = build(architecture), normal(2, 6, 3)
    head, expected = module.heads.shared, []
    for k in range(2):
        own = [trunk(module.trunks, k, g, inputs[k]) for g in range(2)]
        outputs = [own[NUMBERS[t]] @ head.weight[k, :, o] for o, t in enumerate(OWNERS)]
        expected.append(torch.stack(outputs, dim=1) + head.bias[k])
    assert_same_with_gradients(module, module(inputs), torch.stack(expected))


@given(sizes=st.sampled_from([(4,), (5, 3)]))
def test_rows_equal_plain_networks(sizes):
    """A row of no task has the heads of all groups, by the numbers of their tasks."""
    architecture = TaskGroups(GROUPS, hidden_layer_sizes=sizes, activation="tanh")
    module = build(architecture, row_tasks=True)
    inputs, task, expected = normal(2, 8, 3), some_tasks(), []
    heads = module.heads
    for k in range(2):
        own = [trunk(module.trunks, k, g, inputs[k]) for g in range(2)]
        by_group = [
            own[g] @ heads.shared.weight[k, g] + heads.shared.bias[k, g]
            for g in range(2)
        ]
        for r, t in enumerate(task[k]):
            if t == 3:
                expected.append((2 * by_group[0][r] + by_group[1][r]) / 3)
                continue
            g = NUMBERS[t]
            away = moved(
                own[g][None, r, None], heads.deviation.weight[k, t][None, None]
            )
            expected.append(by_group[g][r] + away[0, 0])
    expected = torch.stack(expected).view(2, 8, 2)
    assert_same_with_gradients(module, module(inputs, task), expected)


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_one_group_is_hard_sharing(row_tasks, dropout):
    """The same draws, the same course, the same numbers."""
    X, y, task = row_task_data() if row_tasks else (*regression_data(), None)
    names = np.unique(task) if row_tasks else range(3)
    settings = {"hidden_layer_sizes": (6, 5), "dropout": dropout}
    fits = []
    for architecture in (HardSharing(**settings), TaskGroups([[*names]], **settings)):
        model = exact("regressor", architecture=architecture, batch_size=16)
        fits.append(model.fit(X, y, task=task).predict(X, task=task))
    np.testing.assert_allclose(*fits, rtol=1e-7)


def test_groups_do_not_disturb_each_other():
    X, y = regression_data()
    other = y.copy()
    other[:, 1] = np.random.default_rng(0).permutation(y[:, 1])
    fits = []
    for labels in (y, other):
        architecture = TaskGroups(GROUPS, hidden_layer_sizes=(8,))
        settings = {"clip_norm": None, "relevance": None}
        model = exact("regressor", architecture=architecture, **settings)
        fits.append(model.fit(X, labels).predict(X)[:, [0, 2]])
    np.testing.assert_allclose(*fits, rtol=1e-6)


def two_groups_and_an_outlier(seed, n_samples=400):
    """Draw seven targets: three of one kind, three of another, and one of its own."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 10))
    columns = []
    for _ in range(2):
        hidden = np.tanh(X @ rng.normal(size=(10, 3)))
        columns += [hidden @ (1 + 0.4 * rng.normal(size=3)) for _ in range(3)]
    columns.append(np.sin(X @ rng.normal(size=10)))
    y = np.stack(columns, axis=1)
    y = y / y.std(axis=0) + 0.3 * rng.normal(size=y.shape)
    return X, y, [0, 0, 0, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("affinity", "threshold"), [("cosine", 0.02), ("lookahead", 0.05)]
)
def test_auto_finds_the_groups(affinity, threshold):
    scores = []
    for seed in range(10):
        X, y, truth = two_groups_and_an_outlier(seed)
        architecture = TaskGroups(
            affinity=affinity, threshold=threshold, hidden_layer_sizes=(8,)
        )
        model = small("regressor", architecture=architecture, random_state=seed)
        model.set_params(max_epochs=1, n_estimators=1, lr=0.002).fit(X, missing(y, 0.1))
        module = model.architecture_
        found = np.zeros(7)
        for number, group in enumerate(module.groups_):
            found[group] = number
        scores.append(adjusted_rand_score(truth, found))
        np.testing.assert_allclose(module.affinity_, module.affinity_.T)
        np.testing.assert_allclose(module.affinity_.diagonal(), 1.0)
    assert np.mean(scores) >= 0.9


@pytest.mark.parametrize("affinity", ["cosine", "lookahead"])
def test_row_tasks_are_grouped_too(affinity):
    rng = np.random.default_rng(0)
    X, task = rng.normal(size=(800, 5)), np.arange(800) % 8
    first, second = np.tanh(X[:, 0] + X[:, 1]), np.abs(X[:, 2]) - X[:, 3]
    y = np.where(task < 4, first, second) + 0.1 * rng.normal(size=800)
    architecture = TaskGroups(affinity=affinity, hidden_layer_sizes=(8,))
    model = small("regressor", architecture=architecture)
    groups = model.set_params(max_epochs=1).fit(X, y, task=task).architecture_.groups_
    truth = [0] * 4 + [1] * 4
    found = np.zeros(8)
    for number, group in enumerate(groups):
        found[group] = number
    assert adjusted_rand_score(truth, found) > 0.9


def test_lookahead_gains_by_hand():
    """One weight, at 0 in the first network and at 3 in the second.

    Losses (w - 1)^2, 2 (w + 1)^2 and 5, steps of 0.1 downhill.
    """
    weight = torch.nn.Parameter(torch.tensor([[0.0], [3.0]], dtype=torch.float64))

    def losses():
        five = torch.full_like(weight, 5.0)
        return torch.cat([(weight - 1) ** 2, 2 * (weight + 1) ** 2, five], dim=1)

    gains = lookahead_gains(losses, [weight], torch.tensor([0.1, 0.1]))
    expected = [
        # To the right for the first task, to the left for the second; the third stays.
        [[1 - 0.81, 2 - 2.42, 0], [1 - 1.21, 2 - 1.62, 0], [0, 0, 0]],
        # To the left for both.
        [[4 - 3.61, 32 - 30.42, 0]] * 2 + [[0, 0, 0]],
    ]
    torch.testing.assert_close(gains, torch.tensor(expected, dtype=torch.float64))
    np.testing.assert_array_equal(weight.detach(), [[0.0], [3.0]])


def test_relative_gains_by_hand():
    """What the others gain a task over what it gains itself, both ways."""
    gains = np.array([[0.2, 0.1, 0.3], [0.1, 0.4, 0.0], [0.1, -0.1, -0.2]])
    # Of 0 and 1: (0.1 / 0.4 + 0.1 / 0.2) / 2. The third gains nothing by its steps.
    expected = [[1, 0.375, 0.5], [0.375, 1, -0.25], [0.5, -0.25, 1]]
    np.testing.assert_allclose(relative_gains(gains), expected)
    np.testing.assert_array_equal(relative_gains(np.zeros((2, 2))), np.eye(2))


def test_gains_by_short_steps_are_cosines():
    """One network that looks once: the first order of a gain is an inner product."""
    generator = torch.Generator().manual_seed(0)
    normal = partial(torch.randn, generator=generator, dtype=torch.float64)
    weight, table, targets = normal(1, 4), normal(30, 4), normal(30, 3)
    weight, mix = torch.nn.Parameter(weight), normal(4, 3)

    def losses():
        hidden = torch.tanh(table * weight)
        return ((hidden @ mix - targets) ** 2).mean(0, keepdim=True)

    found = relative_gains(
        lookahead_gains(losses, [weight], torch.tensor([1e-6]))[0].numpy()
    )
    gradients = [torch.autograd.grad(losses()[0, t], weight)[0][0] for t in range(3)]
    gradients = torch.nn.functional.normalize(torch.stack(gradients), dim=1)
    np.testing.assert_allclose(found, gradients @ gradients.T, atol=1e-4)


def test_looking_ahead_leaves_the_training_alone(make_data, make_plan):
    data = make_data()
    plan, look = make_plan(data), Lookahead(make_plan(data))
    plain, _ = fit_bank([plan], data)
    seen, _ = fit_bank([plan], data, on_epoch=look)
    assert look.mean().shape == (3, 3)
    for one, other in zip(
        plain.module_.parameters(), seen.module_.parameters(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("n_kinds", [1, 2])
def test_small_groups_are_told_from_noise(n_kinds):
    """Forty groups of eight rows, of one kind or of two, are not forty kinds."""
    rng = np.random.default_rng(0)
    X, task = rng.normal(size=(320, 4)), np.arange(320) % 40
    one, other = np.tanh(X[:, 0] + X[:, 1]), X[:, 2] - X[:, 0]
    kind = np.arange(40) * n_kinds // 40
    y = np.where(kind[task] == 0, one, other) + 0.3 * rng.normal(size=320)
    model = small("regressor", architecture=TaskGroups(hidden_layer_sizes=(8,)))
    groups = model.set_params(max_epochs=1).fit(X, y, task=task).architecture_.groups_
    assert len(groups) <= 3
    found = np.zeros(40)
    for number, group in enumerate(groups):
        found[group] = number
    assert n_kinds == 1 or adjusted_rand_score(kind, found) > 0.8


def test_the_correction_by_hand(make_data, make_plan):
    """Halves agree by 0.2 and 0.4, tasks by 0.06, the mean of four: 0.06 / 0.3."""
    agreement = np.eye(4)
    agreement[0, 1] = agreement[1, 0] = 0.2
    agreement[2, 3] = agreement[3, 2] = 0.4
    agreement[:2, 2:] = [[0.1, 0.0], [0.06, 0.08]]
    agreement[2:, :2] = agreement[:2, 2:].T
    np.testing.assert_allclose(corrected(agreement), [[1, 0.2], [0.2, 1]])
    np.testing.assert_array_equal(corrected(-agreement), np.ones((2, 2)))
    data = make_data(11, row_tasks=True)
    plan, halves = halved(make_plan(data, train_rows=[0, 1, 3, 6, 9, 10]), data)
    # Rows 0, 3, 6 and 9 are of the first task, 1 and 10 of the second; 2, 4, 5, 7 and 8
    # do not train.
    np.testing.assert_array_equal(halves.task, [0, 2, 4, 1, 2, 5, 0, 3, 4, 1, 3])
    assert len(plan.hyperparameters.task_weights) == 6


def test_found_groups_train_as_given_ones():
    """The pilot leaves no trace in the networks."""
    X, y, _ = two_groups_and_an_outlier(0, 100)
    found = small("regressor", architecture=TaskGroups(hidden_layer_sizes=(8,)))
    found.set_params(max_epochs=3).fit(X, y)
    groups = found.architecture_.groups_
    given = small("regressor", architecture=TaskGroups(groups, hidden_layer_sizes=(8,)))
    given.set_params(max_epochs=3).fit(X, y)
    np.testing.assert_array_equal(given.predict(X), found.predict(X))
    assert given.architecture_.affinity_ is None


def test_training_goes_on_with_the_groups_there_are():
    X, y, _ = two_groups_and_an_outlier(0, 100)
    model = small("regressor", architecture=TaskGroups(hidden_layer_sizes=(8,)))
    model.set_params(max_epochs=2, warm_start=True).fit(X, y)
    groups = model.architecture_.groups_
    affinity = model.architecture_.affinity_
    model.fit(X[::-1], y)
    assert model.architecture_.groups_ == groups
    model.set_params(n_estimators=3).fit(X[::-1], y)
    np.testing.assert_array_equal(model.architecture_.affinity_, affinity)


@pytest.mark.parametrize(("threshold", "n_groups"), [(1.0, 3), (0.3, 2), (-1.0, 1)])
def test_the_threshold_decides_on_the_number_of_groups(threshold, n_groups):
    X, y = regression_data()
    affinity = [[1.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 1.0]]
    architecture = TaskGroups(affinity=affinity, threshold=threshold)
    architecture.set_params(hidden_layer_sizes=(4,))
    model = exact("regressor", architecture=architecture, max_epochs=1).fit(X, y)
    assert len(model.architecture_.groups_) == n_groups
    np.testing.assert_array_equal(model.architecture_.affinity_, affinity)


def test_average_linkage_by_hand():
    """The pair at 0.5 first; the third is at (0.1 + 0.2) / 2 of it."""
    affinity = np.array([[1.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 1.0]])
    assert len(set(clustered(affinity, 0.14))) == 1
    assert len(set(clustered(affinity, 0.16))) == 2


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"groups": [[0, 1]]}, "Task 2 is in no group"),
        ({"groups": [[0, 1], [1, 2]]}, "Task 1 is in two groups"),
        ({"groups": [[0, 1], [2, 5]]}, "names 5, which is no task"),
        ({"groups": (4,)}, "names 4, which is no task"),
        ({"affinity": np.eye(2)}, r"shape \(n_tasks, n_tasks\), here \(3, 3\)"),
        ({"affinity": np.full((3, 3), np.nan)}, "finite"),
    ],
    ids=["lacking", "twice", "unknown", "no group", "shape", "nan"],
)
def test_groups_that_do_not_fit_are_refused(params, words):
    X, y = regression_data()
    model = exact("regressor", architecture=TaskGroups(**params), max_epochs=1)
    with pytest.raises(ValueError, match=words):
        model.fit(X, y)


def test_groups_of_unknown_tasks_are_not_found_by_a_learner():
    with pytest.raises(ValueError, match="fit of an estimator"):
        TaskGroups().build(BankShape((3,), 2, 2))
    X, y, task = row_task_data()
    model = MAMLRegressor(TaskGroups(hidden_layer_sizes=(4,)), max_iter=1)
    assert model.fit(X, y, task=task).architecture_.groups_ == [[0]]
