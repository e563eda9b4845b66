"""Tables: any mixture of columns in, numbers and codes of categories out."""

import datetime

import numpy as np

from ._labels import missing_cells

UNSEEN = -1
_DATES = (datetime.date, datetime.time)
_DATE_TYPES = {"Period"}


class TableReader:
    """Know which columns are numbers and which are categories, and read both.

    Columns of strings and of category dtype are categories; numbers and booleans are
    numbers. The types decide and not the values, so that integers stay numbers. Only
    the columns of a frame have types of their own: an array is one table of numbers.

    Attributes
    ----------
    codes : list of (dict or None), length n_features
        From each category of a column, in sorted order, to its position; None for
        numbers. Empty when all columns are numbers.
    """

    def __init__(self):
        self.codes = []

    @property
    def categories(self):
        """Sorted categories of each column, list of (list or None)."""
        return [None if code is None else list(code) for code in self.codes]

    @property
    def n_categories(self):
        """Number of categories of each column, list of (int or None)."""
        return [None if code is None else len(code) for code in self.codes]

    def reads(self, X):
        """Tell whether a table needs reading before it is an array of numbers.

        Parameters
        ----------
        X : array-like
            Any.

        Returns
        -------
        reads : bool
            False for tables that scikit-learn turns into numbers as they are.
        """
        if hasattr(X, "columns"):
            return bool(self.codes) or not _is_plain(X)
        if getattr(X, "dtype", None) is not None and np.dtype(X.dtype).kind in "mM":
            _refuse_dates("The array X", np.asarray(X))
        return bool(self.codes) and np.ndim(X) == 2

    def fit(self, X):
        """Find out what the columns are.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.

        Returns
        -------
        self : TableReader
            The reader.
        """
        self.codes = []
        if hasattr(X, "columns") and not _is_plain(X):
            found = [_categories(*column) for column in _columns(X)]
            if any(categories is not None for categories in found):
                self.codes = [None if c is None else _numbered(c) for c in found]
        return self

    def read(self, X):
        """Turn a table into numbers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            With the columns seen in fit.

        Returns
        -------
        table : ndarray of shape (n_samples, n_features), float64
            NaN where a value is missing. Categories are codes: their positions in
            `categories`, and -1 for those that fit did not see.

        Raises
        ------
        ValueError
            If a column holds dates, complex numbers, or text where numbers are due.
        TypeError
            If a cell is neither a number nor can be a category.
        """
        columns = _columns(X)
        known = self.codes or [None] * len(columns)
        table = np.empty((len(X), len(columns)))
        for j, (name, values, _) in enumerate(columns):
            if known[j] is None:
                table[:, j] = _numbers(name, values)
            else:
                table[:, j] = _codes(name, values, known[j])
        return table


def _is_plain(X):
    """Tell whether all columns of a frame have NumPy's dtypes of numbers."""
    dtypes = getattr(X, "dtypes", [None])
    return all(isinstance(d, np.dtype) and d.kind in "biuf" for d in dtypes)


def _columns(X):
    """List each column: its name, values and whether its dtype says category."""
    if hasattr(X, "iloc"):
        series = [X.iloc[:, j] for j in range(X.shape[1])]
    elif hasattr(X, "columns"):
        series = [X[name] for name in X.columns]
    else:
        X = X if isinstance(X, np.ndarray) else np.asarray(X, dtype=object)
        return [(f"Column {j} of X", X[:, j], False) for j in range(X.shape[1])]
    return [
        (f"Column {s.name!r} of X", s.to_numpy(), str(s.dtype) == "category")
        for s in series
    ]


def _categories(name, values, declared):
    """List the sorted categories of a column; None when it holds numbers."""
    kind = values.dtype.kind
    if kind not in "OUT" and not declared:
        return None
    known = values[~missing_cells(values)].tolist()
    if not declared:
        _refuse_dates(name, known)
        if kind == "O" and not all(isinstance(value, str) for value in known):
            return None
    try:
        found = set(known)
    except TypeError as error:
        raise _not_a_cell(name, known) from error
    try:
        return sorted(found)
    except TypeError:
        return sorted(found, key=lambda value: (type(value).__name__, str(value)))


def _numbered(categories):
    return {category: i for i, category in enumerate(categories)}


def _codes(name, values, code):
    cells = values.tolist()
    try:
        codes = [code.get(cell, UNSEEN) for cell in cells]
    except TypeError as error:
        raise _not_a_cell(name, cells) from error
    return np.where(missing_cells(values), np.nan, np.array(codes, dtype=float))


def _numbers(name, values):
    kind = values.dtype.kind
    if kind in "biuf" and values.ndim == 1:
        return values
    if kind == "c":
        raise ValueError(f"Complex data not supported\n{name} is complex.")
    _refuse_dates(name, values)
    if values.ndim > 1:
        raise _not_a_cell(name, values)
    missing = missing_cells(values)
    numbers = np.full(len(values), np.nan)
    try:
        numbers[~missing] = values[~missing].astype(np.float64)
    except ValueError as error:
        text = next((v for v in values[~missing] if isinstance(v, str)), None)
        if text is None:
            raise _not_a_cell(name, values[~missing]) from error
        raise ValueError(
            f"could not convert string to float: {text!r}. {name} mixes text with "
            "numbers, or held numbers in fit. Make it numbers, for example by "
            "pandas.to_numeric(..., errors='coerce'), or text by astype(str)."
        ) from error
    except TypeError as error:
        raise _not_a_cell(name, values[~missing]) from error
    return numbers


def _refuse_dates(name, values):
    kind = getattr(getattr(values, "dtype", None), "kind", "O")
    if kind == "O":
        found = {
            type(v) for v in values if isinstance(v, (*_DATES, datetime.timedelta))
        }
        found |= {type(v) for v in values if type(v).__name__ in _DATE_TYPES}
        if not found:
            return
        kind = "m" if all(issubclass(t, datetime.timedelta) for t in found) else "M"
    if kind == "m":
        raise ValueError(
            f"{name} holds durations, which have no unit to be learned in. Turn it "
            "into a number, for example by .dt.total_seconds()."
        )
    if kind == "M":
        raise ValueError(
            f"{name} holds dates, which are neither numbers nor categories. Turn them "
            "into numbers first: by skrub.DatetimeEncoder in a pipeline, into columns "
            "of year, month and weekday, or into the days elapsed since a fixed date."
        )


def _not_a_cell(name, values):
    kinds = sorted(
        {type(v).__name__ for v in values if not isinstance(v, (str, float))}
    )
    return TypeError(
        f"{name} holds cells of type {', '.join(kinds)}: the argument must be a string "
        "or a number. Spread them over columns of their own, or drop the column."
    )
