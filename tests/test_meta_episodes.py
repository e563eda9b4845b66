"""Episodes: which rows are drawn, what is held out, and what padding may not do."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold

from skmtl import MetaRidgeRegressor, MultiTaskNetClassifier, MultiTaskNetRegressor
from skmtl._net import EpisodeSettings
from skmtl._net._samplers import ClassSampler, TaskSampler
from skmtl._tasks import TaskPool, check_task_data


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
