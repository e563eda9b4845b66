"""Related regression tasks."""

from functools import partial

import numpy as np
from sklearn.utils import Bunch, check_random_state

from ._tasks import (
    check_arguments,
    groups_of_tasks,
    hide_labels,
    linear_values,
    of_own_task,
    random_cosines,
    related_directions,
    result,
    tasks_of_rows,
)


def make_multitask_regression(
    n_samples=100,
    n_features=20,
    *,
    n_tasks=5,
    relatedness=0.8,
    n_groups=1,
    n_outlier_tasks=0,
    scale_ratio=1.0,
    noise=0.1,
    missing=0.0,
    nonlinear=False,
    form="columns",
    return_oracle=False,
    random_state=None,
):
    """Draw regression tasks whose coefficients are related to a known degree.

    The features are standard normal. The coefficients of a task are a unit vector, part
    of it shared by the tasks of its group.

    Parameters
    ----------
    n_samples : int, default=100
        Number of rows, of all tasks together.
    n_features : int, default=20
        Number of columns of X.
    n_tasks : int, default=5
        Number of tasks, outliers included.
    relatedness : float, default=0.8
        Cosine, from 0 to 1, of the coefficients of two tasks of a group. It is exact
        when there are at least n_groups + n_tasks features, and holds on average with
        fewer.
    n_groups : int, default=1
        Number of groups. Tasks of different groups share nothing. Task t is in group
        t modulo `n_groups`.
    n_outlier_tasks : int, default=0
        How many tasks, the last ones, are in no group.
    scale_ratio : float, default=1.0
        The scale of the last target over that of the first; the scales between are
        evenly spaced on a log scale. 1e6 makes targets over six orders of magnitude.
    noise : float, default=0.1
        Standard deviation of the normal noise, in units of each target's scale.
    missing : float, default=0.0
        Share of each task's labels that is missing (NaN), from 0 to less than 1, at
        random. One label of each task always stays.
    nonlinear : bool, default=False
        Whether the tasks are linear in random cosine features of X, as many as
        columns, instead of in X.
    form : {"columns", "rows"}, default="columns"
        Whether each row has a label for every task, or belongs to one task.
    return_oracle : bool, default=False
        Whether to return what the labels were made of.
    random_state : int, RandomState instance or None, default=None
        Draws the data.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Features.
    y : ndarray of shape (n_samples, n_tasks) or (n_samples,)
        Labels; one dimension when `form` is "rows".
    task : ndarray of shape (n_samples,), int
        The task of each row, in tasks of equal size; only when `form` is "rows".
        ``np.c_[X, task]`` is the table for ``task_column=-1``.
    oracle : Bunch
        Only with ``return_oracle=True``:

        noiseless : ndarray in the shape of `y`
            Labels without noise, none missing.
        function : callable
            From X to the noiseless values of all tasks, (n_samples, n_tasks).
        coef : ndarray of shape (n_features, n_tasks)
            Coefficients in units of each target's scale: unit vectors.
        scale : ndarray of shape (n_tasks,)
            Scales of the targets.
        group : ndarray of shape (n_tasks,), int
            Group of each task, -1 for outliers.

    Raises
    ------
    ValueError
        If an argument is out of range.

    See Also
    --------
    make_multitask_classification : Classes instead of numbers.
    make_sinusoid_tasks : Many small nonlinear tasks.

    Examples
    --------
    >>> from skmtl.datasets import make_multitask_regression
    >>> X, y, oracle = make_multitask_regression(
    ...     n_tasks=3, relatedness=0.5, return_oracle=True, random_state=0
    ... )
    >>> X.shape, y.shape
    ((100, 20), (100, 3))
    >>> (oracle.coef.T @ oracle.coef).round(2)
    array([[1. , 0.5, 0.5],
           [0.5, 1. , 0.5],
           [0.5, 0.5, 1. ]])
    """
    check_arguments(
        n_samples, n_tasks, n_groups, n_outlier_tasks, relatedness, noise, missing, form
    )
    if not (np.isfinite(scale_ratio) and scale_ratio > 0):
        raise ValueError(f"scale_ratio must be positive; got {scale_ratio}.")
    random_state = check_random_state(random_state)
    group = groups_of_tasks(n_tasks, n_groups, n_outlier_tasks)
    X = random_state.normal(size=(n_samples, n_features))
    basis = random_cosines(n_features, random_state) if nonlinear else None
    coef = related_directions(n_features, 1, group, relatedness, random_state)[0]
    scale = np.geomspace(1.0, scale_ratio, n_tasks)
    function = partial(linear_values, basis=basis, coef=coef * scale)
    values = function(X)
    y = values + noise * scale * random_state.normal(size=values.shape)
    task = tasks_of_rows(form, n_samples, n_tasks, random_state)
    values, y = of_own_task(values, task), of_own_task(y, task)
    y = hide_labels(y, task, missing, random_state)
    oracle = Bunch(
        noiseless=values, function=function, coef=coef, scale=scale, group=group
    )
    return result(X, y, task, oracle, return_oracle)
