"""Whether two settings of an estimator mean the same."""

import numpy as np
from sklearn.base import BaseEstimator

from ..._strategy import Strategy


def alike(a, b):
    """Tell whether two values of a parameter mean the same.

    Parameters are cloned for every fit, so that identity says nothing.

    Parameters
    ----------
    a, b : object
        Values, estimators, strategies or containers of them.

    Returns
    -------
    alike : bool
        Strategies are alike when their networks can share a bank. Objects that cannot
        be compared are not alike.
    """
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, Strategy):
        return _stack(a, b)
    if isinstance(a, BaseEstimator):
        return alike(a.get_params(deep=False), b.get_params(deep=False))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[name], b[name]) for name in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, np.random.RandomState):
        return alike(a.get_state(), b.get_state())
    try:
        return bool(a == b)
    except (TypeError, ValueError):
        return False


def _stack(a, b):
    try:
        type(a).stack([a, b])
    except ValueError:
        return False
    return True


class Kinds:
    """Number settings by kind: those that mean the same have one number."""

    def __init__(self):
        self._found = []

    def number(self, settings):
        """Find the number of some settings, or give out a new one.

        Parameters
        ----------
        settings : object
            Anything that :func:`alike` compares.

        Returns
        -------
        number : int
            From 0.
        """
        for number, known in enumerate(self._found):
            if alike(known, settings):
                return number
        self._found.append(settings)
        return len(self._found) - 1
