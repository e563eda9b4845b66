"""Values of ``task_weights`` for searches."""

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from sklearn.utils import check_random_state


def task_weight_grid(tasks, *, levels=(0.5, 1.0, 2.0), n_changed=None):
    """List task weights to search over, each up to scale once.

    Parameters
    ----------
    tasks : int, list or dict
        Number of tasks, their names, or the levels of each task by name.
    levels : sequence of float, default=(0.5, 1.0, 2.0)
        Weights that a task may have beside the others; not used when `tasks` is a dict.
    n_changed : int, default=None
        How many tasks at most weigh anything but 1; None for any number. The grid
        grows as the number of levels to this power.

    Returns
    -------
    grid : list of tuple of float, length n_tasks
        In the order of `tasks`, which should be that of the estimator's
        ``task_names_``. Each sums to n_tasks; equal weights come first. Tuples can be
        hashed, so that ``cv_results_`` can be grouped by them.

    Raises
    ------
    ValueError
        If there are no tasks, or a level is negative or not finite.

    See Also
    --------
    TaskWeights : The distribution, for randomized searches.

    Examples
    --------
    >>> from skmtl.model_selection import task_weight_grid
    >>> task_weight_grid(2, levels=(1, 3))
    [(1.0, 1.0), (0.5, 1.5), (1.5, 0.5)]
    >>> len(task_weight_grid(["age", "sex", "size"], n_changed=1))
    7
    """
    choices = _levels_of_tasks(tasks, levels)
    n_tasks = len(choices)
    n_changed = n_tasks if n_changed is None else min(n_changed, n_tasks)
    ones = (1.0,) * n_tasks
    grid = {_key(ones): ones}
    for changed in combinations(range(n_tasks), n_changed):
        free = [choices[t] if t in changed else (1.0,) for t in range(n_tasks)]
        for weights in product(*free):
            if any(weights):
                scaled = _scaled(weights)
                grid.setdefault(_key(scaled), scaled)
    return list(grid.values())


def _levels_of_tasks(tasks, levels):
    if isinstance(tasks, dict):
        choices = [tuple(map(float, own)) for own in tasks.values()]
    else:
        n_tasks = len(tasks) if hasattr(tasks, "__len__") else tasks
        choices = [tuple(map(float, levels))] * n_tasks
    if not choices:
        raise ValueError("There are no tasks; pass their number or their names.")
    for level in {level for own in choices for level in own}:
        if not (np.isfinite(level) and level >= 0):
            raise ValueError(
                f"A level of task weights is {level:g}; levels must be finite and zero "
                "or more."
            )
    return choices


def _scaled(weights):
    factor = len(weights) / sum(weights)
    return tuple(factor * weight for weight in weights)


def _key(weights):
    # Sums of the same weights in another order differ in the last bits.
    return tuple(round(weight, 12) for weight in weights)


@dataclass(frozen=True)
class TaskWeights:
    """Draw task weights at random, for randomized searches.

    The weights are n_tasks times a draw from a Dirichlet distribution: they are
    positive and sum to n_tasks, and equal weights are their mean.

    Parameters
    ----------
    n_tasks : int
        Number of tasks.
    alpha : float, default=1.0
        Concentration. At 1 all weights are equally likely; larger draws weights that
        are closer to equal, smaller draws a few tasks that weigh nearly everything.

    See Also
    --------
    task_weight_grid : A list of weights, for grid searches.

    Examples
    --------
    >>> from skmtl.model_selection import TaskWeights
    >>> weights = TaskWeights(3, alpha=2.0).rvs(random_state=0)
    >>> weights.round(2)
    array([1.2 , 0.52, 1.27])
    """

    n_tasks: int
    alpha: float = 1.0

    def __post_init__(self):
        """Refuse values that define no distribution."""
        if self.n_tasks < 1:
            raise ValueError(f"n_tasks must be at least 1; got {self.n_tasks}.")
        if not (np.isfinite(self.alpha) and self.alpha > 0):
            raise ValueError(f"alpha must be finite and positive; got {self.alpha}.")

    def rvs(self, size=None, random_state=None):
        """Draw weights.

        Parameters
        ----------
        size : int, optional
            Number of draws; one vector when there is none.
        random_state : int, RandomState instance or None, default=None
            Draws them.

        Returns
        -------
        weights : ndarray of shape (n_tasks,) or (size, n_tasks)
            Each vector sums to n_tasks.
        """
        random_state = check_random_state(random_state)
        shares = random_state.dirichlet(np.full(self.n_tasks, self.alpha), size)
        return self.n_tasks * shares
