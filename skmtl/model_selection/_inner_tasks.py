"""Row tasks of estimators, through what is wrapped around them."""

import inspect

import numpy as np
from sklearn import get_config
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline

from .._tasks import as_array, check_ids, task_ids


def innermost(estimator):
    """Find the model inside pipelines, searches, transformed targets and frozen ones.

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


def task_argument(estimator):
    """Say under which name ``fit`` takes the task of each row.

    Parameters
    ----------
    estimator : estimator
        Not fitted.

    Returns
    -------
    name : str or None
        None where it takes none, or where a column of X holds the tasks.
    """
    model = innermost(estimator)
    if getattr(model, "task_column", None) is not None or not _takes_task(model, "fit"):
        return None
    steps = []
    if not get_config()["enable_metadata_routing"]:
        while estimator is not model:
            if isinstance(estimator, Pipeline):
                steps.append(estimator.steps[-1][0])
            estimator = _inside(estimator)
    return "__".join([*steps, "task"])


def takes_task_to_predict(fitted):
    """Tell whether predictions need the task of each row as an argument.

    Parameters
    ----------
    fitted : estimator
        Fitted.

    Returns
    -------
    takes : bool
        False where a column of X holds the tasks, or columns of y are the tasks.
    """
    model = innermost(fitted)
    return (
        getattr(model, "task_column", None) is None
        and _takes_task(model, "predict")
        and not _has_column_tasks(model)
    )


def tasks_of_rows(fitted, X, task):
    """Find the task of each row.

    Parameters
    ----------
    fitted : estimator
        Fitted; a pipeline's steps are applied before its last one is asked for the
        column.
    X : array-like of shape (n_samples, n_features)
        The table.
    task : array-like of shape (n_samples,) or None
        The tasks, where they are given.

    Returns
    -------
    ids : ndarray of shape (n_samples,)
        Task ids.

    Raises
    ------
    ValueError
        If nothing says which they are, or a row has none.
    """
    if task is not None:
        ids = as_array(task)
    else:
        model = innermost(fitted)
        if getattr(model, "task_column", None) is None:
            raise ValueError(
                f"The task of each row is not known: the task_column of "
                f"{type(model).__name__} is not set, and the scorer was given no task. "
                "Put the ids into a column of X and name it by task_column; or set "
                "sklearn.set_config(enable_metadata_routing=True) and pass "
                "params={'task': ids} to the cross-validation, or task=ids to the fit "
                "of a search."
            )
        while fitted is not model:
            if isinstance(fitted, Pipeline) and len(fitted.steps) > 1:
                X = fitted[:-1].transform(X)
            fitted = _inside(fitted)
        ids = task_ids(X if hasattr(X, "shape") else np.asarray(X), model.task_column)
    check_ids(ids)
    return ids


def refuse_known_tasks(fitted, ids):
    """Refuse held-out tasks that the estimator was trained on.

    Parameters
    ----------
    fitted : estimator
        Fitted.
    ids : ndarray of shape (n_samples,)
        Held-out tasks.

    Raises
    ------
    ValueError
        If there is such a task.
    """
    model = innermost(fitted)
    if _has_column_tasks(model):
        return
    known = set(np.asarray(getattr(model, "task_names_", [])).tolist())
    found = [name for name in np.unique(ids).tolist() if name in known]
    if found:
        raise ValueError(
            f"Task {found[0]!r} of the test fold was in training, as were "
            f"{len(found) - 1} more of its tasks. Few-shot scores are of tasks that "
            "are new: hold out whole tasks by cv=GroupKFold() with groups=ids, or by "
            "cv=TaskKFold(grouped=True, task_column=...)."
        )


def _inside(estimator):
    if isinstance(estimator, Pipeline):
        return estimator.steps[-1][1]
    if isinstance(estimator, FrozenEstimator):
        return estimator.estimator
    if isinstance(estimator, TransformedTargetRegressor):
        fitted = getattr(estimator, "regressor_", estimator.regressor)
        return LinearRegression() if fitted is None else fitted
    if hasattr(estimator, "refit"):  # a search, of scikit-learn or not
        return getattr(estimator, "best_estimator_", estimator.estimator)
    return None


def _takes_task(model, method):
    method = getattr(model, method, None)
    return method is not None and "task" in inspect.signature(method).parameters


def _has_column_tasks(model):
    # Estimators of this package are told apart by how they were fitted.
    return getattr(model, "_task_codes", ()) is None
