"""Pipelines and target transformers around the estimator that trains networks."""

import copy
from functools import wraps
from inspect import signature

from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import Pipeline


def innermost(estimator):
    """Find the estimator inside.

    Parameters
    ----------
    estimator : estimator
        It, or a Pipeline that ends in it, or a TransformedTargetRegressor around it,
        nested in any way.

    Returns
    -------
    inner : estimator or object
        What stands in its place may be None or a string as well.
    """
    if isinstance(estimator, Pipeline):
        return innermost(estimator.steps[-1][1])
    if isinstance(estimator, TransformedTargetRegressor):
        return innermost(estimator.regressor)
    return estimator


def with_innermost(estimator, inner):
    """Put another estimator inside.

    Parameters
    ----------
    estimator : estimator
        Fitted or not.
    inner : estimator
        Fitted if and only if `estimator` is.

    Returns
    -------
    estimator : estimator
        A copy that shares everything else.
    """
    if isinstance(estimator, Pipeline):
        *steps, (name, last) = estimator.steps
        new = copy.copy(estimator)
        new.steps = [*steps, (name, with_innermost(last, inner))]
        return new
    if isinstance(estimator, TransformedTargetRegressor):
        new = copy.copy(estimator)
        fitted = hasattr(estimator, "regressor_")
        name = "regressor_" if fitted else "regressor"
        setattr(new, name, with_innermost(getattr(estimator, name), inner))
        if fitted and hasattr(new.regressor_, "feature_names_in_"):
            new.feature_names_in_ = new.regressor_.feature_names_in_
        return new
    return inner


def fit_around(estimator, X, y, params):
    """Fit all that is around the innermost estimator.

    Parameters
    ----------
    estimator : estimator
        Not fitted; it may be fitted afterwards.
    X, y : array-like
        For ``fit``; y may be None.
    params : dict
        For ``fit``.

    Returns
    -------
    around : estimator
        Fitted, but for the innermost estimator.
    args, kwargs : tuple and dict
        What ``fit`` of the innermost estimator is called with.
    """
    calls = []

    def fit(stand_in, *args, **kwargs):
        try:
            signature(kind.fit).bind(stand_in, *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{kind.__name__}.fit() {error}") from None
        calls.append((args, kwargs))
        return stand_in

    inner = copy.copy(innermost(estimator))
    kind = type(inner)
    inner.__class__ = with_fit(kind, fit)
    around = with_innermost(estimator, inner)
    around = around.fit(X, *(() if y is None else (y,)), **params)
    return around, *calls[-1]


def with_fit(kind, fit):
    """Derive a class of estimators that does something else in ``fit``.

    Parameters
    ----------
    kind : type
        Of estimators.
    fit : callable
        The method; it is given the signature that it has in `kind`, by which
        scikit-learn decides what to pass.

    Returns
    -------
    kind : type
        Under the same name.
    """
    names = {"fit": wraps(kind.fit)(fit), "__module__": kind.__module__}
    return type(kind.__name__, (kind,), names)
