"""What the labels of each task are: numbers or classes."""

import numpy as np

from .._per_task import per_task
from ._labels import missing_cells

# What frames call the dtypes whose values can only be classes.
_CLASS_DTYPES = ("bool", "cat", "enum", "str", "large_string")
# A float column of a frame with at most so many whole numbers may be codes of classes.
_MAX_CODES = 20


def task_kinds(y, names, columns, task_types):
    """Tell for every column of the label table whether it holds numbers or classes.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_columns)
        As the user gave it; the dtypes of a frame are looked at.
    names : list, length n_columns
        Column names.
    columns : list of ndarray of shape (n_samples,)
        The columns.
    task_types : "auto", list or dict
        Types by position or by name, "number" or "class"; "auto", and names that a
        dict leaves out, go by the dtype.

    Returns
    -------
    kinds : list of {"number", "class"}, length n_columns
        Of the columns.

    Raises
    ------
    ValueError
        If a column could be either, or `task_types` does not fit the columns.
    """
    given = per_task("task_types", task_types, names)
    kinds = []
    for name, column, kind in zip(names, columns, given, strict=True):
        if kind not in (None, "auto", "number", "class"):
            raise ValueError(
                f"task_types says {kind!r} for task {name!r}; pass 'number', 'class' "
                "or 'auto'."
            )
        by_dtype = kind in (None, "auto")
        kinds.append(_kind_by_dtype(y, name, column) if by_dtype else kind)
    return kinds


def _kind_by_dtype(y, name, column):
    series = y[name] if hasattr(y, "columns") else y
    dtype = str(getattr(series, "dtype", column.dtype)).lower()
    if dtype.startswith(_CLASS_DTYPES) or column.dtype.kind in "bUS":
        return "class"
    labels = column[~missing_cells(column)]
    if column.dtype.kind == "O":
        if any(isinstance(label, (str, bool, np.bool_)) for label in labels):
            return "class"
        try:
            labels = labels.astype(np.float64)
        except (TypeError, ValueError):
            return "class"
    elif not hasattr(y, "columns"):
        return "number"
    if labels.dtype.kind not in "biuf":
        return "number"
    codes = np.unique(labels)
    whole = (codes == np.floor(codes)).all()
    integers = dtype.startswith(("int", "uint"))
    if len(codes) and whole and (integers or len(codes) <= _MAX_CODES):
        shown = ", ".join(f"{code:g}" for code in codes[:5])
        more = ", ..." if len(codes) > 5 else ""
        raise ValueError(
            f"Unknown label type. Column {name!r} of y could be classes "
            f"{{{shown}{more}}} or numbers; pass "
            f"task_types={{{name!r}: 'class'}} or task_types={{{name!r}: 'number'}}."
        )
    return "number"
