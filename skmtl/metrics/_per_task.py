"""The scores of each task, in a table."""

import numpy as np

from ._answers import Answers
from ._average import warn_of_unseen_classes
from ._frames import import_pandas
from ._names import named_scorers
from ._scorer import cell_scores, labelled_cells, read_labels

_DEFAULTS = {
    "number": ["r2", "neg_root_mean_squared_error", "neg_mean_absolute_error"],
    "class": ["accuracy", "balanced_accuracy"],
}
_OF_PROBABILITIES = ["roc_auc", "neg_log_loss"]


def per_task_scores(estimator, X, y, *, scoring=None, task=None, sample_weight=None):
    """Score each task by itself.

    Parameters
    ----------
    estimator : estimator
        Fitted; a pipeline or a search around it is fine.
    X : array-like of shape (n_samples, n_features)
        The table.
    y : array-like of shape (n_samples,) or (n_samples, n_tasks)
        True labels; missing ones do not count.
    scoring : str, TaskScorer, list of them, or dict of them by name, default=None
        What to compute. None is a choice by the kind of the tasks.
    task : array-like of shape (n_samples,), optional
        The task of each row, when fit was given ``task``.
    sample_weight : array-like of shape (n_samples,) or (n_samples, n_tasks), optional
        Weights.

    Returns
    -------
    scores : pandas.DataFrame
        A row a task and a column a metric, greater is better, and ``n_labels``, the
        labelled cells with weight. With row tasks each row of the frame is one group,
        scored on its own rows; R2 then compares with the mean of the group. NaN where
        a score is undefined or a metric is not for the task.

    Raises
    ------
    ImportError
        If pandas is not installed.
    ValueError
        If labels and estimator do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_linnerud
    >>> from sklearn.linear_model import LinearRegression
    >>> from skmtl.metrics import per_task_scores
    >>> X, y = load_linnerud(return_X_y=True, as_frame=True)
    >>> model = LinearRegression().fit(X, y)
    >>> y.loc[:4, "Waist"] = np.nan
    >>> per_task_scores(model, X, y, scoring="r2").round(2)
              r2  n_labels
    Weight  0.27        20
    Waist   0.53        15
    Pulse   0.07        20
    """
    pandas = import_pandas("per_task_scores")
    table = read_labels(X, y, sample_weight)
    answers = Answers(estimator, X, task)
    if scoring is None:
        scoring = _default_scoring(answers, table)
    scorers = named_scorers(scoring)
    cells = {
        name: labelled_cells(scorer, answers, table) for name, scorer in scorers.items()
    }
    _warn_once(cells)
    labelled = table.labelled()
    ids = answers.row_tasks()
    if ids is None:
        columns = {
            name: dict(
                zip(
                    [c.name for c in found],
                    cell_scores(scorers[name], found),
                    strict=True,
                )
            )
            for name, found in cells.items()
        }
        columns["n_labels"] = dict(zip(table.names, labelled.sum(axis=0), strict=True))
        return pandas.DataFrame(columns, index=table.names)
    names, codes = np.unique(ids, return_inverse=True)
    columns = {
        name: _group_scores(scorers[name], found, codes, len(names))
        for name, found in cells.items()
    }
    columns["n_labels"] = np.bincount(codes, labelled.sum(axis=1)).astype(int)
    return pandas.DataFrame(columns, index=names)


def _default_scoring(answers, table):
    kinds = set(answers.kinds(table.names))
    names = ["d2"] if answers.mixed else []
    for kind in ("number", "class"):
        names += _DEFAULTS[kind] if kind in kinds else []
    if "class" in kinds and hasattr(answers.estimator, "predict_proba"):
        names += _OF_PROBABILITIES
    return names


def _warn_once(cells):
    for found in cells.values():
        if any(c.unseen for c in found):
            warn_of_unseen_classes(found, stacklevel=4)
            return


def _group_scores(scorer, cells, codes, n_groups):
    """Score the rows of each group, and average over the columns of y."""
    scores = np.full((len(cells), n_groups), np.nan)
    for j, column in enumerate(cells):
        order = np.argsort(codes[column.rows], kind="stable")
        ends = np.cumsum(np.bincount(codes[column.rows], minlength=n_groups))
        for group, positions in enumerate(np.split(order, ends[:-1])):
            scores[j, group] = cell_scores(scorer, [column.take(positions)])[0]
    defined = ~np.isnan(scores)
    total = np.where(defined, scores, 0.0).sum(axis=0)
    count = defined.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
