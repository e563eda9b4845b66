"""Held-out predictions where labels may be missing and rows have tasks."""

import inspect
import warnings
from numbers import Integral

import numpy as np
from sklearn import get_config
from sklearn.base import clone
from sklearn.model_selection import check_cv
from sklearn.utils import indexable
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.parallel import Parallel, delayed

from ._predictions import Fold, put_together
from ._rows import own_rows, take
from ._splits import own_splitter

_METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")


def cross_val_predict(
    estimator,
    X,
    y,
    *,
    groups=None,
    cv=None,
    n_jobs=None,
    verbose=0,
    params=None,
    method="predict",
):
    """Predict each row by an estimator that was fitted without it.

    Unlike :func:`sklearn.model_selection.cross_val_predict`, this function hands y to
    the estimator as it is, so that missing labels stay missing, and hands row tasks to
    ``predict`` as well as to ``fit``.

    Parameters
    ----------
    estimator : estimator
        Cloned for every split; the one given is not fitted.
    X : array-like of shape (n_samples, n_features)
        The table.
    y : array-like of shape (n_samples,) or (n_samples, n_tasks)
        Labels, with NaN, None, NaT or pandas' NA where one is missing.
    groups : array-like of shape (n_samples,), default=None
        Handed to the splitter.
    cv : int, cross-validation generator or iterable, default=None
        No row may be in two test sets. An int is the number of folds of an unshuffled
        :class:`TaskKFold`, which knows the task column of the estimator and the task in
        `params`; None is 5.
    n_jobs : int, default=None
        Splits to work on at a time; -1 for one a processor.
    verbose : int, default=0
        How much joblib tells.
    params : dict, default=None
        Arguments of ``fit``; values with one entry a row are split with the rows.
        ``task`` goes to the prediction method as well. With metadata routing, every
        argument goes where it is requested.
    method : {"predict", "predict_proba", "predict_log_proba", "decision_function"}, \
            default="predict"
        What to ask the fitted estimators.

    Returns
    -------
    predictions : ndarray, list of ndarray, dict of ndarray or DataFrame
        In the form in which the estimator predicts. Columns of probabilities belong to
        the sorted classes of y: 0 where a training set lacks the class. Rows that are
        in no test set have NaN, or None where predictions are neither numbers nor
        classes that are numbers.

    Raises
    ------
    ValueError
        If a row is in two test sets, the method is unknown, or decision functions of
        training sets that lack a class are asked for.

    Warns
    -----
    UserWarning
        If rows are in no test set, such as rows with the only label of a class.

    See Also
    --------
    TaskKFold : The default splitter.
    sklearn.model_selection.cross_val_predict : For complete labels.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from skmtl.model_selection import cross_val_predict
    >>> X = np.arange(12.0)[:, None]
    >>> y = np.array(["left"] * 6 + ["right"] * 6)
    >>> proba = cross_val_predict(
    ...     KNeighborsClassifier(3), X, y, cv=3, method="predict_proba"
    ... )
    >>> proba[[0, 11]]
    array([[1., 0.],
           [0., 1.]])
    """
    if method not in _METHODS:
        raise ValueError(f"method must be one of {_METHODS}; got {method!r}.")
    X, y, groups = indexable(X, y, groups)
    params = {} if params is None else params
    n_samples = X.shape[0] if hasattr(X, "shape") else len(X)
    if cv is None or isinstance(cv, Integral):
        cv = own_splitter(estimator, cv)
        if groups is None:
            groups = next((params[name] for name in params if _is_task(name)), None)
    else:
        cv = check_cv(cv)
    for_split, for_fit, for_method = _routed(estimator, cv, method, params)
    if groups is not None:
        for_split = for_split | {"groups": groups}
    splits = list(cv.split(X, y, **for_split))
    _check_tests(np.concatenate([test for _, test in splits]), n_samples)
    parallel = Parallel(n_jobs=n_jobs, verbose=verbose)
    folds = parallel(
        delayed(_fit_and_predict)(
            clone(estimator), X, y, train, test, for_fit, for_method, method
        )
        for train, test in splits
    )
    return put_together(folds, X, y, n_samples, method)


def _routed(estimator, cv, method, params):
    """Decide what goes to ``split``, to ``fit`` and to the prediction method."""
    if get_config()["enable_metadata_routing"]:
        router = MetadataRouter(owner="cross_val_predict")
        router.add(
            splitter=cv,
            method_mapping=MethodMapping().add(caller="fit", callee="split"),
        )
        mapping = MethodMapping().add(caller="fit", callee="fit")
        mapping.add(caller="fit", callee=method)
        router.add(estimator=estimator, method_mapping=mapping)
        routed = process_routing(router, "fit", **params)
        return routed.splitter.split, routed.estimator.fit, routed.estimator[method]
    # A step of a pipeline is addressed as step__task in fit, and as task in predict.
    tasks = [value for name, value in params.items() if _is_task(name)]
    takes_task = tasks and _takes_task(getattr(estimator, method, None))
    return {}, params, {"task": tasks[0]} if takes_task else {}


def _is_task(name):
    return name.rpartition("__")[2] == "task"


def _takes_task(method):
    if method is None:
        return False
    parameters = inspect.signature(method).parameters.values()
    return any(p.name == "task" or p.kind is p.VAR_KEYWORD for p in parameters)


def _check_tests(rows, n_samples):
    times = np.bincount(rows, minlength=n_samples)
    if (times > 1).any():
        raise ValueError(
            f"Row {times.argmax()} is in {times.max()} test sets of cv; each row can "
            "be in one at most. Pass a splitter without repetitions."
        )
    n_missing = (times == 0).sum()
    if n_missing:
        warnings.warn(
            f"{n_missing} of {n_samples} rows are in no test set of cv; their "
            "predictions are missing.",
            UserWarning,
            stacklevel=3,
        )


def _fit_and_predict(estimator, X, y, train, test, for_fit, for_method, method):
    n_samples = X.shape[0] if hasattr(X, "shape") else len(X)
    estimator.fit(
        take(X, train),
        take(y, train),
        **{name: own_rows(value, train, n_samples) for name, value in for_fit.items()},
    )
    predictions = getattr(estimator, method)(
        take(X, test),
        **{
            name: own_rows(value, test, n_samples) for name, value in for_method.items()
        },
    )
    classes = None if method == "predict" else getattr(estimator, "classes_", None)
    names = getattr(estimator, "task_names_", None)
    return Fold(test, predictions, classes, names)
