"""Encoders that are fitted on rows of the data, and what trees tell them."""

import numpy as np

from ._encoder_bank import EncodedColumns
from ._relevance import column_relevance, scaled_by_relevance
from ._stumps import found_stumps, gain_of_stumps
from .encoding import PiecewiseLinear
from .encoding._places import Places

_ALL = slice(None)
# So many stumps are asked, and ridge regressions have to be left with less than that
# share of their error; by measurement, see bench_stumps.py.
_STUMPS_ASKED = 16
_MOST_LEFT = {False: 0.985, True: 0.99}  # whether inputs have their relevance


def fitted_encoder(encoding, data, rows, columns=None, *, relevance=None, stumps=None):
    """Fit an encoding on some rows, and on some columns or all.

    Parameters
    ----------
    encoding : Encoding
        The strategy.
    data : TaskData
        The table.
    rows : ndarray of int or slice
        Which of its rows.
    columns : ndarray of int, optional
        Which columns of X; by default all.
    relevance : ndarray of shape (n_features,), optional
        From :func:`relevance_of`; inputs are scaled by that of their column.
    stumps : Stumps, optional
        From :func:`stumps_of`; they stand behind the other inputs.

    Returns
    -------
    encoder : EncodedColumns
        Reads whole rows of X, whatever the columns.
    """
    X, categories = data.X[rows], data.categories
    weight = data.weight[rows].max(axis=1)
    if columns is not None:
        X = X[:, columns]
        categories = [categories[j] for j in columns] if categories else categories
    fitted = encoding.fit(X, weight, *([categories] if categories else []))
    if columns is not None:
        fitted = fitted.reading(columns)
        stumps = None if stumps is None else stumps.of_columns(columns)
    if stumps is not None:
        fitted = EncodedColumns.join([fitted, stumps.encoded()])
    return fitted if relevance is None else scaled_by_relevance(fitted, relevance)


def fitted_places(data):
    """Fit the coordinates of rows, for distances and for ridge regressions.

    Parameters
    ----------
    data : TaskData
        The rows.

    Returns
    -------
    columns : EncodedColumns
        Of all columns of X, fitted on all rows.
    """
    return fitted_encoder(Places(), data, _ALL)


def relevance_of(data, rows=_ALL):
    """Ask what the columns of X tell about the labels in some rows.

    Parameters
    ----------
    data : TaskData
        The table.
    rows : ndarray of int or slice, default=all
        Which of its rows.

    Returns
    -------
    relevance : ndarray of shape (n_features,)
        From trees, see :mod:`skmtl._relevance`.
    """
    return column_relevance(data.X[rows], *_shown_to_trees(data, rows))


def stumps_of(data, rows, n_stumps):
    """Ask where the labels of some rows step.

    Parameters
    ----------
    data : TaskData
        The table.
    rows : ndarray of int or slice
        Which of its rows.
    n_stumps : int
        How many steps at most.

    Returns
    -------
    stumps : Stumps
        From trees, see :mod:`skmtl._stumps`.
    """
    shown = _shown_to_trees(data, rows)
    return found_stumps(data.X[rows], *shown, _numbers(data), n_stumps)


def stumps_pay(data, *, with_relevance):
    """Ask ridge regressions on held-out rows whether stumps help.

    Parameters
    ----------
    data : TaskData
        The table.
    with_relevance : bool
        Whether the inputs of networks are scaled by relevance, too. Stumps also say
        which columns count, which networks then know; and of two comparisons one may be
        led astray by a wild value.

    Returns
    -------
    pay : bool
        In every comparison.
    """
    # Beside lines alone, as those of Standard, any curve would look like steps.
    encoding, shown = PiecewiseLinear(), _shown_to_trees(data, _ALL)

    def pay(scaled):
        def encoder_of(rows):
            relevance = relevance_of(data, rows) if scaled else None
            return fitted_encoder(encoding, data, rows, relevance=relevance)

        left = gain_of_stumps(encoder_of, data.X, *shown, _numbers(data), _STUMPS_ASKED)
        return left <= _MOST_LEFT[scaled]

    return pay(False) and (not with_relevance or pay(True))


def _shown_to_trees(data, rows):
    """Labels and weights of some rows; all tasks count alike.

    Candidates of a search that weigh tasks differently share their encoders.
    """
    weight = data.weight[rows]
    targets = data.encoder.perfect(np.where(weight > 0, data.y[rows], np.nan))
    return targets, weight.max(axis=1)


def _numbers(data):
    """Tell which columns of X hold numbers, ndarray of bool."""
    numbers = np.ones(data.X.shape[1], bool)
    numbers[data.category_columns] = False
    return numbers
