"""Related classification tasks."""

from functools import partial

import numpy as np
from scipy.special import softmax
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


def make_multitask_classification(
    n_samples=100,
    n_features=20,
    *,
    n_tasks=5,
    n_classes=2,
    relatedness=0.8,
    n_groups=1,
    n_outlier_tasks=0,
    imbalance=1.0,
    noise=0.1,
    missing=0.0,
    nonlinear=False,
    form="columns",
    return_oracle=False,
    random_state=None,
):
    """Draw classification tasks whose coefficients are related to a known degree.

    Each class has scores that are linear in X, and its probability is the softmax of
    the scores over `noise`. For two classes, one score and its negative are used.

    Parameters
    ----------
    n_samples : int, default=100
        Number of rows, of all tasks together.
    n_features : int, default=20
        Number of columns of X, standard normal.
    n_tasks : int, default=5
        Number of tasks, outliers included.
    n_classes : int, default=2
        Number of classes of every task.
    relatedness : float, default=0.8
        Cosine, from 0 to 1, of the coefficients that two tasks of a group have for one
        class. It is exact when there are at least (n_groups + n_tasks) * n_classes
        features, or n_groups + n_tasks for two classes, and holds on average with
        fewer.
    n_groups : int, default=1
        Number of groups. Tasks of different groups share nothing. Task t is in group
        t modulo `n_groups`.
    n_outlier_tasks : int, default=0
        How many tasks, the last ones, are in no group.
    imbalance : float, default=1.0
        Expected frequency of class 0 over that of the last class, at least 1; the
        classes between are evenly spaced on a log scale.
    noise : float, default=0.1
        How random labels are, beside scores of unit variance; 0 gives each row the
        class of the highest score.
    missing : float, default=0.0
        Share of each task's labels that is missing (NaN), from 0 to less than 1, at
        random. One label of each class that was drawn always stays.
    nonlinear : bool, default=False
        Whether scores are linear in random cosine features of X, as many as columns,
        instead of in X.
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
        Classes 0, 1, ...: int, or float with NaN when labels are missing; one dimension
        when `form` is "rows".
    task : ndarray of shape (n_samples,), int
        The task of each row, in tasks of equal size; only when `form` is "rows".
        ``np.c_[X, task]`` is the table for ``task_column=-1``.
    oracle : Bunch
        Only with ``return_oracle=True``:

        noiseless : ndarray in the shape of `y`, int
            The most probable classes.
        probabilities : ndarray of shape (n_samples, n_tasks, n_classes)
            Of all tasks; (n_samples, n_classes), of the row's own task, when `form` is
            "rows".
        function : callable
            From X to the probabilities of all tasks.
        coef : ndarray of shape (n_classes, n_features, n_tasks)
            Coefficients of the scores: unit vectors.
        intercept : ndarray of shape (n_classes, n_tasks)
            What is added to the scores for `imbalance`.
        group : ndarray of shape (n_tasks,), int
            Group of each task, -1 for outliers.

    Raises
    ------
    ValueError
        If an argument is out of range.

    See Also
    --------
    make_multitask_regression : Numbers instead of classes.

    Examples
    --------
    >>> from skmtl.datasets import make_multitask_classification
    >>> X, y, task = make_multitask_classification(form="rows", random_state=0)
    >>> X.shape, y[:4], task[:4]
    ((100, 20), array([1, 0, 0, 0]), array([1, 4, 0, 4]))
    """
    check_arguments(
        n_samples, n_tasks, n_groups, n_outlier_tasks, relatedness, noise, missing, form
    )
    if n_classes < 2 or not (np.isfinite(imbalance) and imbalance >= 1):
        raise ValueError(
            f"n_classes must be at least 2 and imbalance at least 1; got {n_classes} "
            f"and {imbalance}."
        )
    random_state = check_random_state(random_state)
    group = groups_of_tasks(n_tasks, n_groups, n_outlier_tasks)
    X = random_state.normal(size=(n_samples, n_features))
    basis = random_cosines(n_features, random_state) if nonlinear else None
    n_scores = 1 if n_classes == 2 else n_classes
    coef = related_directions(n_features, n_scores, group, relatedness, random_state)
    if n_classes == 2:
        coef = np.concatenate([-coef, coef])
    share = np.geomspace(imbalance, 1.0, n_classes)
    scores = linear_values(X, basis, coef)
    intercept = _intercepts(scores, share / share.sum(), noise)
    function = partial(
        _probabilities, basis=basis, coef=coef, intercept=intercept, noise=noise
    )
    proba = function(X)
    # The first class whose cumulative probability passes a uniform number.
    drawn = random_state.uniform(size=(n_samples, n_tasks, 1))
    y = (proba.cumsum(axis=2)[..., :-1] <= drawn).sum(axis=2)
    task = tasks_of_rows(form, n_samples, n_tasks, random_state)
    proba, y = of_own_task(proba, task), of_own_task(y, task)
    y = hide_labels(y, task, missing, random_state)
    oracle = Bunch(
        noiseless=proba.argmax(axis=-1),
        probabilities=proba,
        function=function,
        coef=coef,
        intercept=intercept,
        group=group,
    )
    return result(X, y, task, oracle, return_oracle)


def _intercepts(scores, share, noise):
    """Find intercepts (n_classes, n_tasks) that give classes their shares."""
    scores = scores[:2000]  # enough rows to know the scores by
    noise = max(noise, 0.05)  # steps need slopes
    intercept = np.zeros(scores.shape[1:])
    for _ in range(100):
        mean = _soften(scores + intercept, noise).mean(axis=0)
        gap = np.log(share / np.maximum(mean, 1e-12))
        intercept += noise * gap
        if np.abs(gap).max() < 1e-3:
            break
    return intercept.T


def _probabilities(X, basis, coef, intercept, noise):
    return _soften(linear_values(X, basis, coef) + intercept.T, noise)


def _soften(scores, noise):
    if noise == 0:
        n_classes = scores.shape[-1]
        return np.eye(n_classes)[scores.argmax(axis=-1)]
    return softmax(scores / noise, axis=-1)
