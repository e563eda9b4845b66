"""What a fitted estimator answers, through pipelines and searches, asked once."""

from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline

from .._tasks import check_rows, label_columns
from ._table import class_columns, prediction_columns, probability_columns


class Answers:
    """Predictions of an estimator on a table, each computed when first asked for.

    Parameters
    ----------
    estimator : estimator
        Fitted; a pipeline, a search or a transformed target around it is fine.
    X : array-like of shape (n_samples, n_features)
        The table.
    task : array-like of shape (n_samples,), optional
        Row tasks, handed to the estimator.

    Attributes
    ----------
    mixed : bool
        Whether some tasks may be of numbers and some of classes.
    """

    def __init__(self, estimator, X, task=None):
        # A search predicts by its best estimator, and would not take task.
        self.estimator = getattr(estimator, "best_estimator_", estimator)
        self.X = X
        self.task = task
        self.inner = innermost(self.estimator)
        self.mixed = hasattr(self.inner, "task_types_")
        self._given = {}

    def kinds(self, names):
        """Tell numbers from classes.

        Parameters
        ----------
        names : list
            Columns of y.

        Returns
        -------
        kinds : list of {"number", "class"}
            Of each column.

        Raises
        ------
        ValueError
            If an estimator of mixed tasks does not know a column.
        """
        if not self.mixed:
            kind = "class" if is_classifier(self.estimator) else "number"
            return [kind] * len(names)
        types = self.inner.task_types_
        absent = [name for name in names if name not in types]
        if absent:
            raise ValueError(
                f"y has a column {absent[0]!r}, which is no task of the fitted "
                f"{type(self.inner).__name__}; its tasks are {list(types)[:10]}."
            )
        return [types[name] for name in names]

    def predictions(self, table):
        """Ask for predicted numbers and labels.

        Parameters
        ----------
        table : LabelTable
            The labels they are compared with.

        Returns
        -------
        columns : list of ndarray of shape (n_samples,)
            One array a task.
        """
        return prediction_columns(self._ask("predict"), table, self._order())

    def probabilities(self, table):
        """Ask for class probabilities.

        Parameters
        ----------
        table : LabelTable
            The labels they are compared with.

        Returns
        -------
        columns : list of ndarray of shape (n_samples, n_classes)
            One array a task.
        classes : list of (ndarray of shape (n_classes,) or None)
            What the columns stand for.
        """
        proba = probability_columns(self._ask("predict_proba"), table, self._order())
        classes = getattr(self.inner, "classes_", None)
        return proba, class_columns(classes, table, self._order())

    def row_tasks(self):
        """Find the task of each row.

        Returns
        -------
        ids : ndarray of shape (n_samples,) or None
            None when the columns of y are the tasks.
        """
        if self.task is not None:
            return label_columns(self.task)[1][0]
        if getattr(self.inner, "task_column", None) is None:
            return None
        estimator, X = self.estimator, self.X
        while estimator is not self.inner:
            if isinstance(estimator, Pipeline) and len(estimator.steps) > 1:
                X = estimator[:-1].transform(X)
            estimator = _inside(estimator)
        return check_rows(estimator, X)[1]

    def _ask(self, method):
        if method not in self._given:
            given = {} if self.task is None else {"task": self.task}
            self._given[method] = getattr(self.estimator, method)(self.X, **given)
        return self._given[method]

    def _order(self):
        names = getattr(self.inner, "task_names_", None)
        return None if names is None else list(names)


def innermost(estimator):
    """Find the model inside pipelines, searches and transformed targets.

    Parameters
    ----------
    estimator : estimator
        Fitted or not.

    Returns
    -------
    model : estimator
        The estimator itself when there is nothing around it.
    """
    inside = _inside(estimator)
    return estimator if inside is None else innermost(inside)


def _inside(estimator):
    if isinstance(estimator, Pipeline):
        return estimator.steps[-1][1]
    for name in ("best_estimator_", "regressor_"):
        if hasattr(estimator, name):
            return getattr(estimator, name)
    return None
