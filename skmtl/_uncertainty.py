"""How far numbers may lie from their predictions."""

import warnings

import numpy as np

# Rows on which the disagreement of the members is measured; a mean needs no more.
_SAMPLE_ROWS = 1000


def noise_variance(net, rows, residuals):
    """Measure what is left of the held-out errors beside the members' disagreement.

    The squared error of a member on rows that it held out holds its own deviation
    from the other members; this part is subtracted, because it is added back where
    the members are asked about new rows.

    Parameters
    ----------
    net : BankNet
        Fitted.
    rows : RowsDataset
        Rows of the training table.
    residuals : ndarray of shape (n_samples, n_columns)
        Held-out errors in units of the labels, NaN where there are none.

    Returns
    -------
    variance : ndarray of shape (n_columns,)
        In squared units of the labels; NaN for columns without held-out labels.
    """
    known = ~np.isnan(residuals)
    squares = np.where(known, residuals, 0.0) ** 2
    n_known = known.sum(axis=0)
    held_out = np.where(n_known > 0, squares.sum(axis=0), np.nan)
    held_out = held_out / np.maximum(n_known, 1)
    n_sampled = min(len(rows), _SAMPLE_ROWS)
    chosen = np.linspace(0, len(rows) - 1, n_sampled).astype(int)
    disagreement = member_variance(net, rows.take(chosen)).mean(axis=0)
    return np.maximum(held_out - disagreement, 0.0)


def member_variance(net, rows):
    """Compute the variance of the members' predictions.

    Parameters
    ----------
    net : BankNet
        Fitted.
    rows : RowsDataset
        Raw rows.

    Returns
    -------
    variance : ndarray of shape (n_rows, n_columns)
        Unbiased, in squared units of the labels; 0 for a single member.
    """
    members = net.member_numbers(rows)
    if len(members) == 1:
        return np.zeros(members.shape[1:])
    return members.var(axis=0, ddof=1)


class Calibration:
    """Errors on rows that no network saw, for split-conformal intervals.

    Parameters
    ----------
    errors : ndarray of shape (n_rows, n_columns)
        Absolute errors in units of the labels, NaN where a label is missing.
    task : ndarray of shape (n_rows,), int, or None
        Row tasks.
    names : list
        Of the columns, for messages.

    References
    ----------
    .. [1] J. Lei, M. G'Sell, A. Rinaldo, R. Tibshirani, L. Wasserman (2018).
       Distribution-Free Predictive Inference for Regression. JASA 113, 1094-1111,
       algorithm 2.
    .. [2] V. Vovk (2012). Conditional Validity of Inductive Conformal Predictors.
       ACML (intervals by group).
    """

    def __init__(self, errors, task, names):
        self.errors = errors
        self.task = task
        self.names = names

    def half_width(self, coverage, task):
        """Find the half width of the intervals of rows.

        Parameters
        ----------
        coverage : float
            Wanted share of labels inside, in (0, 1).
        task : ndarray of shape (n_rows,), int, or None
            Row tasks of the rows asked about.

        Returns
        -------
        half_width : ndarray of shape (1, n_columns) or (n_rows, n_columns)
            In units of the labels; infinite, with a warning, for columns with too few
            calibration labels. A row task with too few takes the errors of all tasks.
        """
        pooled = _upper_quantiles(self.errors, coverage)
        short = np.flatnonzero(np.isinf(pooled))
        if len(short):
            needed = int(np.ceil(np.round(coverage / (1 - coverage), 9)))
            warnings.warn(
                f"Task {self.names[short[0]]!r} has fewer than {needed} calibration "
                f"labels, too few for a coverage of {coverage:g}; its interval is "
                "infinite. Ask for less coverage, or fit with more rows or a larger "
                "calibration_size.",
                UserWarning,
                stacklevel=3,
            )
        if task is None or self.task is None:
            return pooled[None]
        widths = np.tile(pooled, (len(task), 1))
        for one in np.unique(task):
            own = _upper_quantiles(self.errors[self.task == one], coverage)
            rows = np.flatnonzero(task == one)
            widths[rows] = np.where(np.isinf(own), pooled, own)
        return widths


def _upper_quantiles(errors, coverage):
    """Take the ceil((n + 1) coverage)-th smallest error of each column."""
    n_known = (~np.isnan(errors)).sum(axis=0)
    # Rounded before the ceiling: 0.9 * 10 must not become 10.
    rank = np.ceil(np.round((n_known + 1) * coverage, 9)).astype(int)
    ordered = np.sort(errors, axis=0)  # NaN comes last
    enough = rank <= n_known
    position = np.where(enough, rank - 1, 0)
    columns = np.arange(errors.shape[1])
    if not len(ordered):
        return np.full(errors.shape[1], np.inf)
    return np.where(enough, ordered[position, columns], np.inf)
