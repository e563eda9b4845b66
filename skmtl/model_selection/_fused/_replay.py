"""Fits that were done before, handed out one by one."""

import copy

from ._around import with_fit


class Replay:
    """Let a search of scikit-learn score fits that are there already.

    The stand-in of an estimator takes over the next of the fits instead of fitting, or
    raises what that fit raised. Then it is what it stood for: an object of the class
    and with the attributes of the fitted estimator. When all fits are handed out, as in
    the refit, it fits.

    Parameters
    ----------
    estimator : estimator
        To be searched over.

    Attributes
    ----------
    error : Exception or None
        The first that a fit raised.
    """

    def __init__(self, estimator):
        self.error = None
        self.kind = type(estimator)
        self.fits = []
        self.estimator = copy.copy(estimator)
        self.estimator.__class__ = with_fit(self.kind, self._fit())

    def add(self, fits):
        """Add fits that are to be handed out.

        Parameters
        ----------
        fits : list of callable
            In the order in which the search will ask for them; each gives a fitted
            estimator or raises.
        """
        self.fits += reversed(fits)

    def end(self):
        """Turn the stand-in back into an ordinary estimator."""
        self.estimator.__class__ = self.kind

    def _fit(self):
        def fit(estimator, X, y=None, **params):
            estimator.__class__ = self.kind
            if not self.fits:
                return estimator.fit(X, y, **params)
            try:
                fitted = self.fits.pop()()
            except Exception as error:
                self.error = self.error or error
                raise
            vars(estimator).update(vars(fitted))
            return estimator

        return fit
