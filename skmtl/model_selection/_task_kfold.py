"""K-fold that knows tasks and missing labels."""

from numbers import Integral

import numpy as np
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_random_state, indexable

from .._tasks import (
    as_array,
    balanced_folds,
    check_ids,
    distinct_ids,
    grouped_folds,
    kinds_of_labels,
    kinds_of_rows,
    mean_ranks,
    task_ids,
)


class TaskKFold(BaseCrossValidator):
    """Split rows into folds that hold every task, class and label in proportion.

    Labels may be missing, in any form that the estimators take, so that this is the
    splitter for classifiers with missing labels: with ``cv=5`` scikit-learn stops at
    the first missing label.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    task_column : str or int, default=None
        Name or position of the column of X that holds row tasks. `groups`, where
        given, take its place.
    grouped : bool, default=False
        Whether tasks are held out whole, as for scores on tasks that were not seen in
        training. The folds are then balanced in size, and in labels only as far as
        that leaves a choice.
    shuffle : bool, default=True
        Whether folds are drawn at random. If False they depend on the order of rows
        alone, and numbers are balanced by where labels are missing only.
    random_state : int, RandomState instance or None, default=None
        Draws the folds when `shuffle` is True. Successive halving asks for an int. As
        ``cv`` of an estimator of this package, None draws from the estimator's state.

    See Also
    --------
    cross_val_predict : Held-out predictions, with missing labels.
    sklearn.model_selection.StratifiedKFold : For one task with complete labels.
    sklearn.model_selection.GroupKFold : Whole groups without regard to labels.

    Notes
    -----
    A row that carries the only label of a column or of a class, or is the only row of
    its task, is in no test set: it stays in the training set of every split, so that
    no training set lacks a label column, a class or a task. With ``grouped=True`` the
    same goes for a task that alone has labels of some column or class. Where chance
    brings the few labels of a kind into one fold, one of them stays in training, too.
    All other rows are held out once.

    Columns of text, booleans, objects and of at most 20 distinct whole numbers are
    taken for classes. Other numbers are balanced by where labels are missing, and then
    by their ranks, averaged over columns.

    Rows are dealt as in iterative stratification [1]_, the rarest kinds first.

    References
    ----------
    .. [1] K. Sechidis, G. Tsoumakas, I. Vlahavas (2011). On the Stratification of
       Multi-Label Data. ECML PKDD. https://doi.org/10.1007/978-3-642-23808-6_10

    Examples
    --------
    >>> import numpy as np
    >>> from skmtl.model_selection import TaskKFold
    >>> y = np.array([["a", 1.5], ["b", None], ["a", 2.5], ["b", None]] * 3, object)
    >>> X = np.zeros((12, 1))
    >>> for train, test in TaskKFold(3, random_state=0).split(X, y):
    ...     print(sorted(y[test, 0]), sum(y[test, 1] != None))
    ['a', 'a', 'b', 'b'] 2
    ['a', 'a', 'b', 'b'] 2
    ['a', 'a', 'b', 'b'] 2
    """

    # As scikit-learn's splitters of groups: groups are used where they are given.
    __metadata_request__split = {"groups": True}

    def __init__(
        self,
        n_splits=5,
        *,
        task_column=None,
        grouped=False,
        shuffle=True,
        random_state=None,
    ):
        if not isinstance(n_splits, Integral) or n_splits < 2:
            raise ValueError(f"n_splits must be an int of at least 2; got {n_splits}.")
        if not shuffle and random_state is not None:
            raise ValueError(
                "random_state has no effect with shuffle=False. Leave it None, or set "
                "shuffle=True."
            )
        self.n_splits = int(n_splits)
        self.task_column = task_column
        self.grouped = grouped
        self.shuffle = shuffle
        self.random_state = random_state

    def get_n_splits(self, X=None, y=None, groups=None):
        """Tell the number of splits.

        Parameters
        ----------
        X, y, groups : object, optional
            Ignored.

        Returns
        -------
        n_splits : int
            As given.
        """
        return self.n_splits

    def split(self, X, y=None, groups=None):
        """Give the rows of every split.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table; its values are not read, but for `task_column`.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks), optional
            Labels, with NaN, None, NaT or pandas' NA where one is missing.
        groups : array-like of shape (n_samples,), optional
            The task of each row.

        Yields
        ------
        train, test : ndarray of int
            Rows.

        Raises
        ------
        ValueError
            If there are too few rows or tasks to hold out, tasks are missing, or
            ``grouped=True`` comes without tasks.
        """
        yield from super().split(X, y, groups)

    def split_task_data(self, data, random_state):
        """Split checked data, where tasks and classes are known.

        Parameters
        ----------
        data : TaskData
            As an estimator of this package checked it.
        random_state : RandomState
            Of the estimator; used when the splitter has none of its own.

        Returns
        -------
        splits : list of (train, test), ndarray of int
            Rows of the checked data.
        """
        if self.random_state is not None:
            random_state = check_random_state(self.random_state)
        columns = kinds_of_rows(data)
        if data.task is not None:
            columns = columns[1:]
        number = [classes is None for classes in data.encoder.classes]
        values = mean_ranks(data.y[:, number]) if any(number) else None
        fold = self._fold(columns, values, data.task, len(data.X), random_state)
        return [
            (np.flatnonzero(fold != k), np.flatnonzero(fold == k))
            for k in range(self.n_splits)
        ]

    def _iter_test_masks(self, X=None, y=None, groups=None):
        X, y, groups = indexable(X, y, groups)
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        columns, values = ([], None) if y is None else kinds_of_labels(y)
        task = self._tasks(X, groups)
        if task is not None and columns and not self.grouped:
            # Rows without any label teach a task nothing, and stand for none of it.
            task = np.where(np.any(np.array(columns) >= 0, axis=0), task, -1)
        random_state = check_random_state(self.random_state)
        fold = self._fold(columns, values, task, n_rows, random_state)
        for k in range(self.n_splits):
            yield fold == k

    def _tasks(self, X, groups):
        if groups is not None:
            ids = as_array(groups)
        elif self.task_column is not None:
            X = X if hasattr(X, "shape") else np.asarray(X)
            ids = task_ids(X, self.task_column)
        else:
            return None
        check_ids(ids)
        return distinct_ids(ids)[1]

    def _fold(self, columns, values, task, n_rows, random_state):
        """Find the fold of each row, -1 for rows that stay in training."""
        if not self.shuffle:
            values = random_state = None
        if self.grouped:
            if task is None:
                raise ValueError(
                    "grouped=True holds out whole tasks, and no tasks are given. Name "
                    "the column of X that holds them in task_column, or pass groups."
                )
            fold = grouped_folds(columns, task, self.n_splits, random_state)
        else:
            columns = columns if task is None else [task, *columns]
            fold = balanced_folds(
                columns, n_rows, self.n_splits, random_state, values=values
            )
        n_filled = len(np.unique(fold[fold >= 0]))
        if n_filled < self.n_splits:
            units = task if self.grouped else np.arange(n_rows)
            what = "tasks" if self.grouped else "rows"
            raise ValueError(
                f"n_splits={self.n_splits} needs as many {what} to hold out. There are "
                f"{len(np.unique(units))}, and {len(np.unique(units[fold < 0]))} of "
                "them stay in training, as they carry the only labels of a column, a "
                "class or a task. Lower n_splits."
            )
        return fold
