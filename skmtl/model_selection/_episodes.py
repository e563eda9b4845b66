"""Few-shot episodes: which rows of a task are learned from, and which are asked."""

import warnings
from numbers import Integral
from typing import NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from .._tasks import class_labels, distinct_ids, label_columns, missing_cells


class Episode(NamedTuple):
    """One split of the labelled rows of a task.

    Parameters
    ----------
    support : ndarray of int
        Rows to adapt to, in the order in which they are taken: the first n are the
        support of n shots.
    query : ndarray of int
        Rows to be scored on, the same for all numbers of shots.
    """

    support: np.ndarray
    query: np.ndarray


def check_count(name, value, least):
    """Refuse what is no count.

    Parameters
    ----------
    name : str
        Of the argument.
    value : object
        What is given.
    least : int
        The smallest that is allowed.

    Raises
    ------
    ValueError
        If it is no int, or too small.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an int of at least {least}; got {value!r}.")


def seed_of(random_state):
    """Turn what a user may give as random state into a seed, once.

    Parameters
    ----------
    random_state : int, RandomState instance or None
        None is fresh entropy, not NumPy's global state.

    Returns
    -------
    seed : int
        Zero or more.
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    drawn = check_random_state(random_state)
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(drawn.randint(np.iinfo(np.int32).max))


def draw_episodes(y, ids, *, n_shots, n_episodes, seed, classifier, stacklevel=3):
    """Draw the episodes of every task that has rows enough.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_columns)
        Labels; rows without any are in no episode.
    ids : ndarray of shape (n_samples,)
        The task of each row.
    n_shots : int
        Rows of the support.
    n_episodes : int
        Episodes of each task.
    seed : int
        Draws them. The draws of a task depend on its own rows and its place among the
        tasks alone.
    classifier : bool
        Whether the first rows of a support are to be of different classes.
    stacklevel : int, default=3
        Of the warning.

    Returns
    -------
    episodes : dict of list of Episode by task
        In the order of the sorted ids.

    Raises
    ------
    ValueError
        If no task has a row left to be scored on.

    Warns
    -----
    UserWarning
        Once, if some have none.
    """
    _, columns, _ = label_columns(y)
    labelled = ~np.all([missing_cells(column) for column in columns], axis=0)
    codes = None
    if classifier and len(columns) == 1:
        codes = class_labels(0, columns[0])[0]
    names, task = distinct_ids(ids)
    episodes, small = {}, {}
    for t, name in enumerate(names):
        rows = np.flatnonzero((task == t) & labelled)
        if len(rows) <= n_shots:
            small[name] = len(rows)
            continue
        rng = np.random.default_rng([seed, t])
        episodes[name] = [
            _episode(rows, codes, n_shots, rng) for _ in range(n_episodes)
        ]
    if small:
        _report_small(small, len(names), n_shots, stacklevel)
    return episodes


def _episode(rows, codes, n_shots, rng):
    order = rng.permutation(rows)
    if codes is not None:
        # The first row of each class comes first, in the order of the draw.
        first = np.sort(np.unique(codes[order], return_index=True)[1])
        order = np.concatenate([order[first], np.delete(order, first)])
    return Episode(order[:n_shots], np.sort(order[n_shots:]))


def _report_small(small, n_tasks, n_shots, stacklevel):
    name, n_labels = next(iter(small.items()))
    found = (
        f"{len(small)} of {n_tasks} held-out tasks have too few labelled rows for "
        f"{n_shots} shots and a row to be scored on; the first is task {name!r} with "
        f"{n_labels}."
    )
    if len(small) == n_tasks:
        raise ValueError(f"{found} No task is left. Lower n_shots.")
    warnings.warn(
        f"{found} They are left out; lower n_shots to score them.",
        UserWarning,
        stacklevel=stacklevel + 1,
    )
