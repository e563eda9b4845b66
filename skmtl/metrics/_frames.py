"""pandas, which is no dependency of the package, and rows of any table."""

import numpy as np


def import_pandas(caller):
    """Import pandas where a frame is returned.

    Parameters
    ----------
    caller : str
        The function that needs it, for the message.

    Returns
    -------
    pandas : module
        The module.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            f"{caller} returns a pandas DataFrame, and pandas is not installed. Run "
            "`pip install pandas`."
        ) from error
    return pandas


def take_rows(table, rows):
    """Select rows of an array, a frame or nested lists.

    Parameters
    ----------
    table : array-like of shape (n_samples,) or (n_samples, n_columns)
        The table.
    rows : ndarray of int
        Which rows.

    Returns
    -------
    table : array-like
        In the form given, or an array of nested lists.
    """
    if hasattr(table, "iloc"):
        return table.iloc[rows]
    if isinstance(table, (list, tuple)):
        return [table[row] for row in rows]
    return table[rows] if hasattr(table, "shape") else np.asarray(table)[rows]
