"""Episodes: which rows are drawn, what is held out, and what padding may not do."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold

from skmtl import (
    MetaRidgeRegressor,
    MultiTaskNetClassifier,
    MultiTaskNetRegressor,
    PrototypicalClassifier,
)
from skmtl._net import EpisodeSettings, fit_episodes
from skmtl._net._episodes import EpisodeBatches, stacked_episodes
from skmtl._net._samplers import ClassSampler, TaskSampler
from skmtl._streams import Streams
from skmtl._tasks import TaskPool, check_task_data
from skmtl.encoding import Raw
from skmtl.meta import _base


def row_data(sizes, seed=0):
    """Check a table of row tasks with these numbers of rows."""
    task = np.random.default_rng(seed).permutation(
        np.repeat(np.arange(len(sizes)), sizes)
    )
    X = np.arange(len(task), dtype=float)[:, None]
    return check_task_data(MultiTaskNetRegressor(), X, X[:, 0], task, kind="number")


def class_data(labels, task=None):
    """Check a table of classes."""
    X = np.arange(len(labels), dtype=float)[:, None]
    model = MultiTaskNetClassifier()
    return check_task_data(model, X, np.asarray(labels), task, kind="class")


def settings(n_support=(1, 3), n_query=4, n_way=None, n_episodes=5):
    return EpisodeSettings(n_support, n_query, n_way, n_episodes, 10, 10)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# -- the pool --------------------------------------------------------------------


def test_rows_of_row_tasks_are_entries_in_the_order_of_tasks():
    data = row_data([3, 1, 4])
    pool = TaskPool.from_data(data)
    assert pool.column is None
    np.testing.assert_array_equal(pool.task, np.repeat([0, 1, 2], [3, 1, 4]))
    np.testing.assert_array_equal(data.task[pool.rows], pool.task)
    stacked = pool.entries_of(np.array([1, 2]))
    np.testing.assert_array_equal(stacked, [[3, 8, 8, 8], [4, 5, 6, 7]])


def test_labelled_cells_of_column_tasks_are_entries():
    y = np.array([[1.0, np.nan], [2.0, 5.0], [np.nan, 6.0]])
    data = check_task_data(
        MultiTaskNetRegressor(), np.eye(3), y, None, None, kind="number"
    )
    pool = TaskPool.from_data(data)
    assert pool.n_columns == 1
    np.testing.assert_array_equal(pool.column, [0, 0, 1, 1])
    np.testing.assert_array_equal(pool.rows, [0, 1, 1, 2])


def _folds(pool, data, n_way=None, cv=None):
    return pool.folds(cv, data, n_way, np.random.RandomState(0))


def test_whole_tasks_are_held_out_where_there_are_five():
    data = row_data([4] * 6)
    pool = TaskPool.from_data(data)
    folds = _folds(pool, data)
    assert len(folds) == 6
    for train, valid in folds:
        assert not set(pool.task[train]) & set(pool.task[valid])
        assert len(train) + len(valid) == len(pool)


def test_rows_are_held_out_where_there_are_few_tasks():
    data = row_data([20, 20, 20])
    pool = TaskPool.from_data(data)
    for train, valid in _folds(pool, data):
        assert set(pool.task[train]) == set(pool.task[valid]) == {0, 1, 2}
        assert not set(train) & set(valid)


@pytest.mark.parametrize("n_classes", [6, 20])
def test_whole_classes_are_held_out_where_episodes_bring_new_ones(n_classes):
    data = class_data(np.arange(10 * n_classes) % n_classes)
    pool = TaskPool.from_data(data, by_class=True)
    for train, valid in _folds(pool, data, n_way=3):
        assert not set(pool.labels[train]) & set(pool.labels[valid])
        assert len(set(pool.labels[valid])) >= 2


def test_a_splitter_of_groups_splits_tasks():
    data = row_data([4] * 6)
    pool = TaskPool.from_data(data)
    folds = _folds(pool, data, cv=GroupKFold(3))
    assert len(folds) == 3
    assert all(len(set(pool.task[valid])) == 2 for _, valid in folds)


def test_a_column_without_row_tasks_is_one_task():
    X = np.arange(6.0)[:, None]
    data = check_task_data(MultiTaskNetRegressor(), X, X[:, 0], None, kind="number")
    pool = TaskPool.from_data(data)
    assert pool.n_tasks == 1
    assert pool.column is None
    np.testing.assert_array_equal(pool.rows, np.arange(6))
    np.testing.assert_array_equal(pool.starts, [0, 6])


def test_targets_of_row_tasks_stay_together():
    y = np.arange(12.0).reshape(6, 2)
    task = np.array([1, 0, 1, 0, 1, 1])
    data = check_task_data(MultiTaskNetRegressor(), y, y, task, kind="number")
    pool = TaskPool.from_data(data)
    assert pool.n_columns == 2
    np.testing.assert_array_equal(pool.rows, [1, 3, 0, 2, 4, 5])


def test_entries_of_columns_have_the_classes_of_their_cells():
    y = np.array([["a", "u"], ["b", None], [None, "v"], ["a", "w"]], dtype=object)
    pool = TaskPool.from_data(class_data(y), by_class=True)
    np.testing.assert_array_equal(pool.rows, [0, 1, 3, 0, 2, 3])
    np.testing.assert_array_equal(pool.labels, [0, 1, 0, 0, 1, 2])


def test_cells_of_a_row_are_held_out_with_their_tasks():
    y = np.random.default_rng(0).normal(size=(9, 5))
    y[np.arange(9), np.arange(9) % 5] = np.nan
    data = check_task_data(MultiTaskNetRegressor(), y * 0, y, None, kind="number")
    pool = TaskPool.from_data(data)
    folds = _folds(pool, data)
    assert sorted(pool.column[valid][0] for _, valid in folds) == [0, 1, 2, 3, 4]
    for train, valid in folds:
        assert not set(pool.column[train]) & set(pool.column[valid])


def test_cells_of_a_row_are_held_out_together_where_columns_are_few():
    y = np.random.default_rng(0).normal(size=(30, 2))
    y[::3, 0] = np.nan
    data = check_task_data(MultiTaskNetRegressor(), y * 0, y, None, kind="number")
    pool = TaskPool.from_data(data)
    for train, valid in _folds(pool, data):
        assert not set(pool.rows[train]) & set(pool.rows[valid])
        assert len(train) + len(valid) == len(pool)


@given(n_tasks=st.integers(5, 30), n_folds=st.integers(2, 12), seed=st.integers(0, 9))
def test_folds_of_tasks_differ_by_one_task_at_most(n_tasks, n_folds, seed):
    data = row_data([2] * n_tasks, seed)
    pool = TaskPool.from_data(data)
    folds = _folds(pool, data, cv=n_folds)
    assert len(folds) == min(n_folds, n_tasks)
    sizes = [len(set(pool.task[valid])) for _, valid in folds]
    assert sum(sizes) == n_tasks
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("n_classes", [5, 6, 7])
@pytest.mark.parametrize("n_way", [2, 5, 7])
def test_classes_are_held_out_whole_where_they_are_few(n_classes, n_way):
    # An episode of more classes than half of them once sent whole rows to both sides.
    data = class_data(np.arange(8 * n_classes) % n_classes)
    pool = TaskPool.from_data(data, by_class=True)
    folds = _folds(pool, data, n_way=n_way)
    assert len(folds) == n_classes // 2
    for train, valid in folds:
        held_out = set(pool.labels[valid])
        assert len(held_out) >= 2
        assert len(held_out) + len(set(pool.labels[train])) == n_classes


def test_rows_are_held_out_where_there_are_hardly_any_classes():
    data = class_data(np.arange(40) % 4)
    pool = TaskPool.from_data(data, by_class=True)
    for train, valid in _folds(pool, data, n_way=3):
        assert set(pool.labels[train]) == set(pool.labels[valid]) == {0, 1, 2, 3}


def test_whole_tasks_are_held_out_though_their_classes_are_novel():
    task = np.repeat(np.arange(6), 8)
    data = class_data(3 * task + np.arange(48) % 3, task)
    pool = TaskPool.from_data(data, by_class=True)
    for train, valid in _folds(pool, data, n_way=3):
        assert not set(pool.task[train]) & set(pool.task[valid])


def test_a_list_of_splits_splits_rows_of_x():
    data = row_data([4, 4])
    pool = TaskPool.from_data(data)
    ((train, valid),) = _folds(pool, data, cv=[(np.arange(5), np.arange(5, 8))])
    assert set(pool.rows[train]) == set(range(5))
    assert set(pool.rows[valid]) == {5, 6, 7}


# -- episodes of tasks -----------------------------------------------------------


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    low=st.integers(0, 3),
    more=st.integers(0, 4),
    n_query=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_an_episode_holds_rows_of_its_task_and_none_twice(
    sizes, low, more, n_query, seed
):
    if sum(sizes) < 2:
        sizes = [*sizes, 2]
    data = row_data(sizes, seed)
    pool = TaskPool.from_data(data)
    sampler = TaskSampler(
        pool, np.arange(len(pool)), settings((low, low + more), n_query)
    )
    draw = sampler.draw(generator(seed), 7)
    for entries, task in zip(
        draw.entries.flatten(0, 1).numpy(), draw.tasks.flatten().numpy(), strict=True
    ):
        support, query = entries[: draw.n_support], entries[draw.n_support :]
        support, query = (part[part < len(pool)] for part in (support, query))
        both = np.concatenate([support, query])
        assert len(set(both.tolist())) == len(both)
        assert set(pool.task[both]) == {task}
        size = sizes[task]
        assert min(low, size - 1) <= len(support) <= low + more
        assert 1 <= len(query) <= n_query
        # Padding stands behind what is there.
        for part, n in ((entries[: draw.n_support], len(support)),):
            assert (part[n:] == len(pool)).all()


def test_tasks_come_in_turns():
    data = row_data([3] * 7)
    pool = TaskPool.from_data(data)
    sampler = TaskSampler(pool, np.arange(len(pool)), settings(n_episodes=7))
    draw = sampler.draw(generator(), 4)
    for tasks in draw.tasks.tolist():
        assert sorted(tasks) == list(range(7))


def test_rows_are_drawn_about_alike():
    data = row_data([8, 8])
    pool = TaskPool.from_data(data)
    sampler = TaskSampler(pool, np.arange(16), settings((2, 2), 2, n_episodes=10))
    stream = generator()
    counts = np.zeros(16)
    for _ in range(100):
        draw = sampler.draw(stream, 2)
        counts += np.bincount(draw.entries.flatten(), minlength=17)[:16]
    assert counts.min() > 0.85 * counts.mean()
    assert counts.max() < 1.15 * counts.mean()


def test_one_generator_draws_the_same_episodes_again():
    pool = TaskPool.from_data(row_data([5, 3, 9]))
    sampler = TaskSampler(pool, np.arange(len(pool)), settings())
    first, again = (sampler.draw(generator(3), 2).entries for _ in range(2))
    assert torch.equal(first, again)


def test_tasks_come_in_turns_across_steps():
    pool = TaskPool.from_data(row_data([3] * 5))
    sampler = TaskSampler(pool, np.arange(len(pool)), settings(n_episodes=3))
    tasks = sampler.draw(generator(), 7).tasks.flatten().tolist()
    for start in range(0, 20, 5):
        assert sorted(tasks[start : start + 5]) == [0, 1, 2, 3, 4]
    # In a new order each time round.
    assert len({tuple(tasks[start : start + 5]) for start in range(0, 20, 5)}) > 1


@given(
    sizes=st.lists(st.integers(2, 7), min_size=1, max_size=5),
    n_support=st.integers(0, 9),
    n_query=st.integers(1, 9),
)
def test_padding_stands_past_the_end_alone(sizes, n_support, n_query):
    pool = TaskPool.from_data(row_data(sizes))
    rule = settings((0, n_support), n_query)
    sampler = TaskSampler(pool, np.arange(len(pool)), rule)
    draw = sampler.draw(generator(), 5)
    for entries, task in zip(
        draw.entries.flatten(0, 1), draw.tasks.flatten().tolist(), strict=True
    ):
        parts = entries[: draw.n_support], entries[draw.n_support :]
        counts = [int((part < len(pool)).sum()) for part in parts]
        for part, count in zip(parts, counts, strict=True):
            assert (part[:count] < len(pool)).all()
            assert (part[count:] == len(pool)).all()
        # All that is left is asked about, up to the limit.
        assert counts[1] == min(sampler.settings.n_query, sizes[task] - counts[0])


def test_every_number_of_support_rows_is_drawn():
    pool = TaskPool.from_data(row_data([9, 9]))
    sampler = TaskSampler(pool, np.arange(18), settings((2, 5), 3, n_episodes=50))
    draw = sampler.draw(generator(), 8)
    sizes = (draw.entries[..., :5] < 18).sum(-1).flatten()
    counts = torch.bincount(sizes, minlength=6)
    assert not counts[:2].any()
    assert (counts[2:] > 60).all()


def test_pairs_of_support_rows_are_drawn_about_alike():
    pool = TaskPool.from_data(row_data([6]))
    sampler = TaskSampler(pool, np.arange(6), settings((2, 2), 1, n_episodes=1))
    stream, counts = generator(), np.zeros((6, 6))
    for _ in range(3000):
        first, second, query = sampler.draw(stream, 1).entries[0, 0].tolist()
        counts[min(first, second), max(first, second)] += 1
        counts[query, query] += 1
    # 15 pairs, 200 times each; 6 rows to ask about, 500 times each.
    pairs = counts[np.triu_indices(6, 1)]
    assert pairs.min() > 140
    assert pairs.max() < 260
    assert abs(np.diag(counts) - 500).max() < 100


def test_only_entries_of_the_network_are_drawn():
    pool = TaskPool.from_data(row_data([8, 8, 8]))
    entries = np.array([0, 1, 2, 5, 17, 19, 20])
    sampler = TaskSampler(pool, entries, settings(n_episodes=20))
    draw = sampler.draw(generator(), 5)
    assert set(draw.entries.flatten().tolist()) - {24} == set(entries.tolist())
    assert set(draw.tasks.flatten().tolist()) == {0, 2}


def test_a_row_without_others_is_asked_about():
    pool = TaskPool.from_data(row_data([1, 5]))
    sampler = TaskSampler(pool, np.arange(6), settings((2, 3), 2, n_episodes=2))
    draw = sampler.draw(generator(), 4)
    alone = draw.entries[draw.tasks == 0]
    assert (alone[:, : draw.n_support] == 6).all()
    assert (alone[:, draw.n_support] == 0).all()


# -- episodes of classes ---------------------------------------------------------


def test_every_slot_sees_every_class():
    data = class_data(np.arange(60) % 6)
    pool = TaskPool.from_data(data, by_class=True)
    sampler = ClassSampler(pool, np.arange(60), settings(n_way=3, n_episodes=50))
    draw = sampler.draw(generator(), 4)
    seen = np.zeros((3, 6), int)
    for entries, slots in zip(
        draw.entries.flatten(0, 1).numpy(),
        draw.slots.flatten(0, 1).numpy(),
        strict=True,
    ):
        there = entries < len(pool)
        labels = pool.labels[entries[there]]
        for slot in range(3):
            classes = set(labels[slots[there] == slot].tolist())
            assert len(classes) == 1
            seen[slot, classes.pop()] += 1
        support = entries[: draw.n_support]
        query = entries[draw.n_support :]
        assert not set(support[support < 60]) & set(query[query < 60])
    # 200 episodes of 3 of 6 classes: each class about 33 times in each slot.
    assert seen.min() > 15


def test_tasks_with_fewer_classes_leave_slots_empty():
    task = np.repeat([0, 1], [12, 8])
    labels = np.concatenate([np.arange(12) % 3, 3 + np.arange(8) % 2])
    data = class_data(labels, task)
    pool = TaskPool.from_data(data, by_class=True)
    sampler = ClassSampler(pool, np.arange(20), settings(n_way=3, n_episodes=4))
    draw = sampler.draw(generator(), 3)
    for entries, slots, own in zip(
        draw.entries.flatten(0, 1).numpy(),
        draw.slots.flatten(0, 1).numpy(),
        draw.tasks.flatten().tolist(),
        strict=True,
    ):
        there = entries < len(pool)
        assert set(pool.task[entries[there]]) == {own}
        assert set(slots[there]) == set(range(3 if own == 0 else 2))


@given(
    counts=st.lists(
        st.lists(st.integers(1, 5), min_size=1, max_size=5), min_size=1, max_size=4
    ),
    n_way=st.integers(2, 6),
    high=st.integers(1, 4),
    n_query=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_an_episode_of_classes_holds_rows_of_its_classes_and_none_twice(
    counts, n_way, high, n_query, seed
):
    counts = [[*counts[0], 2], *counts[1:]]
    task = np.repeat(np.arange(len(counts)), [sum(own) for own in counts])
    labels = np.concatenate(
        [np.repeat(10 * t + np.arange(len(own)), own) for t, own in enumerate(counts)]
    )
    data = class_data(labels, task)
    pool = TaskPool.from_data(data, by_class=True)
    rule = settings((1, high), n_query, n_way)
    sampler = ClassSampler(pool, np.arange(len(pool)), rule)
    draw = sampler.draw(generator(seed), 4)
    sizes = np.bincount(pool.labels)
    for entries, slots, own in zip(
        draw.entries.flatten(0, 1).numpy(),
        draw.slots.flatten(0, 1).numpy(),
        draw.tasks.flatten().tolist(),
        strict=True,
    ):
        there = entries < len(pool)
        assert len(set(entries[there])) == there.sum()
        assert set(pool.task[entries[there]]) == {own}
        in_query = np.arange(len(entries)) >= draw.n_support
        n_slots = min(n_way, len(counts[own]))
        assert set(slots[there]) == set(range(n_slots))
        seen = []
        for slot in range(n_slots):
            mine = there & (slots == slot)
            (label,) = set(pool.labels[entries[mine]].tolist())
            seen.append(label)
            n_support = (mine & ~in_query).sum()
            assert min(1, sizes[label] - 1) <= n_support <= high
            assert 1 <= (mine & in_query).sum() <= n_query
        assert len(set(seen)) == n_slots


def test_all_classes_of_an_episode_have_as_many_support_rows():
    pool = TaskPool.from_data(class_data(np.arange(60) % 6), by_class=True)
    sampler = ClassSampler(pool, np.arange(60), settings((1, 4), n_way=3))
    draw = sampler.draw(generator(), 10)
    there = draw.entries[..., : draw.n_support] < 60
    sizes = there.unflatten(-1, (3, 4)).sum(-1)
    assert (sizes == sizes[..., :1]).all()
    assert set(sizes.flatten().tolist()) == {1, 2, 3, 4}


def test_rows_of_classes_are_drawn_about_alike():
    # Classes of 4 and of 12 rows come alike; so their rows do not.
    labels = np.repeat(np.arange(4), [4, 4, 12, 12])
    pool = TaskPool.from_data(class_data(labels), by_class=True)
    rule = settings((1, 1), 1, n_way=2, n_episodes=20)
    sampler = ClassSampler(pool, np.arange(32), rule)
    stream, counts = generator(), np.zeros(32)
    for _ in range(150):
        draw = sampler.draw(stream, 1)
        counts += np.bincount(draw.entries.flatten(), minlength=32)
    # 3000 episodes of 2 of 4 classes, 2 rows of each.
    assert counts.sum() == 12000
    by_class = np.bincount(labels, counts)
    assert abs(by_class - 3000).max() < 200
    expected = 3000 / np.bincount(labels)[labels]
    assert abs(counts / expected - 1).max() < 0.25


def test_one_generator_draws_the_same_classes_again():
    pool = TaskPool.from_data(class_data(np.arange(60) % 6), by_class=True)
    sampler = ClassSampler(pool, np.arange(60), settings(n_way=3))
    first, again = (sampler.draw(generator(3), 2) for _ in range(2))
    assert torch.equal(first.entries, again.entries)
    assert torch.equal(first.slots, again.slots)
    assert not torch.equal(first.entries, sampler.draw(generator(4), 2).entries)


def test_held_out_tasks_come_as_they_are_asked_for():
    pool = TaskPool.from_data(row_data([4, 5, 6]))
    sampler = TaskSampler(pool, np.arange(15), settings())
    groups = torch.arange(7)[None] % 3
    assert torch.equal(sampler.of_groups(groups, generator()).tasks, groups)


# -- what is gathered ------------------------------------------------------------


@pytest.fixture
def trained(monkeypatch):
    """Fit, and give the training."""

    def fit(model, X, y, task=None):
        found = []

        def caught(*args, **options):
            found.extend(fit_episodes(*args, **options))
            return found[0], found[1]

        monkeypatch.setattr(_base, "fit_episodes", caught)
        model.set_params(dtype="float64", device="cpu", random_state=0, max_iter=1)
        model.set_params(encoding=Raw(), n_estimators=3).fit(X, y, task=task)
        return found[1]

    return fit


def drawn_by(training):
    """Draw one epoch of every member, and gather it."""
    batches, streams = training.batches, Streams([p.key for p in training.plans])
    drawn = streams.each(
        lambda key, sampler: sampler.draw(streams.generator(key, "again"), 2),
        batches.samplers,
    )
    return drawn, list(stacked_episodes(batches.table, drawn))


@pytest.mark.parametrize("form", ["row tasks", "columns", "one pool"])
def test_what_is_gathered_is_what_was_drawn(form, trained):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 2)), rng.normal(size=(40, 6))
    y[rng.random(y.shape) < 0.4] = np.nan
    task = None
    if form != "columns":
        y = np.nan_to_num(y[:, 0])
    if form == "row tasks":
        task = np.repeat(np.arange(7), [2, 9, 3, 11, 5, 2, 8])
    training = trained(MetaRidgeRegressor(), X, y, task)
    pool, plans = training.pool, training.plans
    drawn, batches = drawn_by(training)
    for step, batch in enumerate(batches):
        for k, draw in enumerate(drawn):
            encoded = plans[k].targets.encode(training.data.y)
            for b in range(batch.inputs.shape[1]):
                entries = draw.entries[step, b]
                cut, own_cut = batch.n_support, draw.n_support
                parts = entries[:own_cut], entries[own_cut:]
                lots = slice(None, cut), slice(cut, None)
                everything = X[pool.rows[entries[entries < len(pool)]]]
                for part, where in zip(parts, lots, strict=True):
                    own = part[part < len(pool)].numpy()
                    rows = pool.rows[own]
                    column = 0 if pool.column is None else pool.column[own]
                    inputs = batch.inputs[k, b, where].numpy()
                    weights = batch.weights[k, b, where, 0].numpy()
                    n = len(own)
                    np.testing.assert_allclose(inputs[:n], X[rows])
                    targets = batch.targets[k, b, where, 0].numpy()
                    np.testing.assert_allclose(targets[:n], encoded[rows, column])
                    assert (weights[:n] > 0).all()
                    assert not weights[n:].any()
                    # Padding repeats rows of the episode.
                    for row in inputs[n:]:
                        assert (np.abs(everything - row).max(axis=1) < 1e-12).any()
                assert batch.tasks[k, b] == draw.tasks[step, b]


def test_what_a_network_sees_does_not_depend_on_the_bank(trained):
    sizes = [2, 9, 3, 11, 5, 2, 8]
    X = np.random.default_rng(0).normal(size=(40, 2))
    training = trained(MetaRidgeRegressor(), X, X[:, 0], np.repeat(np.arange(7), sizes))
    drawn, together = drawn_by(training)
    for k, draw in enumerate(drawn):
        plan, streams = training.plans[k], Streams([training.plans[k].key])
        alone = EpisodeBatches(training.table, [plan], streams).samplers[0]
        single = alone.draw(streams.generator(plan.key, "again"), 2)
        assert torch.equal(single.entries, draw.entries)
        for step, batch in enumerate(together):
            there = batch.weights[k, :, :, 0] > 0
            n_there = (draw.entries[step] < 40).sum(-1)
            assert torch.equal(there.sum(-1), n_there)


def test_slots_are_targets(trained):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 2)), np.arange(60) % 10
    training = trained(PrototypicalClassifier(n_way=4), X, y)
    drawn, batches = drawn_by(training)
    labels = training.pool.labels
    for step, batch in enumerate(batches):
        for k, draw in enumerate(drawn):
            for b in range(batch.inputs.shape[1]):
                there = batch.weights[k, b, :, 0] > 0
                slots = batch.targets[k, b, there, 0].long().tolist()
                entries = draw.entries[step, b]
                found = labels[entries[entries < 60].numpy()]
                pairs = set(zip(slots, found.tolist(), strict=True))
                assert sorted(slot for slot, _ in pairs) == [0, 1, 2, 3]


def test_held_out_rows_are_never_trained_on(trained):
    X = np.random.default_rng(0).normal(size=(40, 2))
    training = trained(MetaRidgeRegressor(), X, X[:, 0], np.arange(40) % 8)
    drawn, _ = drawn_by(training)
    for plan, draw in zip(training.plans, drawn, strict=True):
        assert not set(plan.valid_entries) & set(draw.entries.flatten().tolist())
        assert not set(plan.train_rows) & set(plan.valid_rows)
    tasks = training._valid_episodes.tasks
    for plan, own in zip(training.plans, tasks, strict=True):
        assert set(own.tolist()) == set(training.pool.task[plan.valid_entries])


# -- training --------------------------------------------------------------------


def test_a_shorter_last_epoch_takes_the_steps_that_are_left():
    rule = EpisodeSettings((1, 2), 2, None, 4, 25, 10)
    assert rule.n_epochs == 3
    assert [rule.n_steps(epoch) for epoch in range(3)] == [10, 10, 5]


def test_members_train_as_they_do_alone():
    data = row_data([6] * 8)
    X, y, task = data.X / 48, np.sin(data.y / 8), data.task
    together = MetaRidgeRegressor(
        n_estimators=3,
        early_stopping=False,
        max_iter=20,
        random_state=0,
        dtype="float64",
        device="cpu",
    ).fit(X, y, task=task)
    # The first member has the same seed and, without folds, the same rows.
    alone = MetaRidgeRegressor(**together.get_params() | {"n_estimators": 1})
    alone.fit(X, y, task=task)
    first = together.net_.take([0]).module_.state_dict()
    for name, tensor in alone.net_.module_.state_dict().items():
        torch.testing.assert_close(first[name], tensor, rtol=1e-9, atol=1e-9)
