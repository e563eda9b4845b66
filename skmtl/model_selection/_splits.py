"""Which rows a cross-validation trains on and scores, where labels may be missing."""

from numbers import Integral

from sklearn.base import is_classifier
from sklearn.model_selection import check_cv
from sklearn.utils.metadata_routing import get_routing_for_object

from .._tasks import label_columns, missing_cells
from ._task_kfold import TaskKFold


def own_splitter(estimator, n_splits):
    """Make a splitter that knows the task column of an estimator.

    Parameters
    ----------
    estimator : estimator
        Or a pipeline that ends in one.
    n_splits : int or None
        Number of folds; None is 5.

    Returns
    -------
    splitter : TaskKFold
        Without shuffling.
    """
    column = getattr(estimator, "task_column", None)
    if column is None:
        # A position may be another one before the steps of a pipeline.
        inner = estimator.get_params().items()
        named = [v for name, v in inner if name.endswith("__task_column")]
        column = next((v for v in named if isinstance(v, str)), None)
    n_splits = 5 if n_splits is None else n_splits
    return TaskKFold(n_splits, task_column=column, shuffle=False)


def checked_splitter(cv, y, estimator):
    """Choose the splitter as scikit-learn does, also where class labels are missing.

    Parameters
    ----------
    cv : int, splitter, iterable or None
        As given.
    y : array-like
        Labels.
    estimator : estimator
        A classifier or not.

    Returns
    -------
    splitter : splitter
        That of :func:`sklearn.model_selection.check_cv`, which looks at the labels of
        a classifier and refuses missing ones; then a TaskKFold.
    """
    counts = cv is None or isinstance(cv, Integral)
    if counts and y is not None and is_classifier(estimator) and _lacks_labels(y):
        return own_splitter(estimator, cv)
    return check_cv(cv, y, classifier=is_classifier(estimator))


def _lacks_labels(y):
    _, columns, _ = label_columns(y)
    return any(missing_cells(column).any() for column in columns)


class KnownSplits:
    """Splits that were made before, in the place of their splitter.

    Parameters
    ----------
    cv : splitter
        What made them, whose requests for metadata stay.
    splits : list of (train, test), ndarray of int
        Rows.
    """

    def __init__(self, cv, splits):
        self.cv = cv
        self.splits = splits

    def split(self, X=None, y=None, **params):
        """Give the splits.

        Parameters
        ----------
        X, y, **params : object
            Ignored.

        Returns
        -------
        splits : iterator of (train, test)
            As they were made.
        """
        return iter(self.splits)

    def get_n_splits(self, X=None, y=None, **params):
        """Tell the number of splits.

        Parameters
        ----------
        X, y, **params : object
            Ignored.

        Returns
        -------
        n_splits : int
            How many there are.
        """
        return len(self.splits)

    def get_metadata_routing(self):
        """Ask for what the splitter asks for.

        Returns
        -------
        routing : MetadataRequest
            Of the splitter.
        """
        return get_routing_for_object(self.cv)
