"""The sinusoids of MAML."""

from functools import partial

import numpy as np
from sklearn.utils import Bunch, check_random_state

from ._tasks import (
    check_range,
    result,
)


def make_sinusoid_tasks(
    n_tasks=20,
    n_samples=10,
    *,
    amplitude=(0.1, 5.0),
    phase=(0.0, np.pi),
    x_range=(-5.0, 5.0),
    noise=0.0,
    return_oracle=False,
    random_state=None,
):
    """Draw sinusoids of random amplitude and phase, the first example of MAML [1]_.

    Task t is ``amplitude_t * sin(x - phase_t)``. The mean of all tasks says little
    about any one of them: a model that ignores tasks fails, one that adapts does not.

    Parameters
    ----------
    n_tasks : int, default=20
        Number of sinusoids.
    n_samples : int, default=10
        Number of rows of each task.
    amplitude : tuple of two float, default=(0.1, 5.0)
        Range of the uniform draws, that of the paper by default.
    phase : tuple of two float, default=(0.0, 3.141592653589793)
        Likewise.
    x_range : tuple of two float, default=(-5.0, 5.0)
        Likewise.
    noise : float, default=0.0
        Standard deviation of the normal noise.
    return_oracle : bool, default=False
        Whether to return the sinusoids.
    random_state : int, RandomState instance or None, default=None
        Draws the data.

    Returns
    -------
    X : ndarray of shape (n_tasks * n_samples, 1)
        Inputs.
    y : ndarray of shape (n_tasks * n_samples,)
        Labels.
    task : ndarray of shape (n_tasks * n_samples,), int
        The task of each row, in order.
    oracle : Bunch
        Only with ``return_oracle=True``:

        noiseless : ndarray in the shape of `y`
            Labels without noise.
        function : callable
            From X and task to labels without noise.
        amplitude, phase : ndarray of shape (n_tasks,)
            Of the sinusoids.

    Raises
    ------
    ValueError
        If `noise` is negative.

    See Also
    --------
    make_multitask_regression : Fewer, related tasks.

    References
    ----------
    .. [1] C. Finn, P. Abbeel, S. Levine (2017). Model-Agnostic Meta-Learning for Fast
       Adaptation of Deep Networks. ICML. https://arxiv.org/abs/1703.03400

    Examples
    --------
    >>> from skmtl.datasets import make_sinusoid_tasks
    >>> X, y, task = make_sinusoid_tasks(3, 4, random_state=0)
    >>> X.shape, task
    ((12, 1), array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]))
    """
    check_range("noise", noise, noise >= 0, "zero or more")
    random_state = check_random_state(random_state)
    amplitude = random_state.uniform(*amplitude, size=n_tasks)
    phase = random_state.uniform(*phase, size=n_tasks)
    task = np.repeat(np.arange(n_tasks), n_samples)
    X = random_state.uniform(*x_range, size=(len(task), 1))
    function = partial(_sinusoids, amplitude=amplitude, phase=phase)
    values = function(X, task)
    y = values + noise * random_state.normal(size=len(task))
    oracle = Bunch(
        noiseless=values, function=function, amplitude=amplitude, phase=phase
    )
    return result(X, y, task, oracle, return_oracle)


def _sinusoids(X, task, amplitude, phase):
    return amplitude[task] * np.sin(np.asarray(X)[:, 0] - phase[task])
