"""Adaptation through the tools of scikit-learn, and as a fit of its own."""

import copy

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted


def adapt(fitted, X, y, **params):
    """Adapt a fitted estimator to a new task, through what is wrapped around it.

    Parameters
    ----------
    fitted : estimator
        An estimator with an ``adapt`` method; or a Pipeline that ends in one, a
        search, a TransformedTargetRegressor or a FrozenEstimator around one, nested in
        any way.
    X : array-like of shape (n_samples, n_features)
        Rows of the new task, as `fitted` takes them.
    y : array-like of shape (n_samples,) or (n_samples, n_new_tasks)
        Their labels.
    **params : dict
        For the ``adapt`` method of the innermost estimator, without any prefix.

    Returns
    -------
    adapted : estimator
        New and fitted; `fitted` is unchanged. A Pipeline gives a Pipeline that shares
        the fitted steps before the last, which transform X and learn nothing. A search
        gives its ``best_estimator_``, adapted, and no search: its scores were those of
        other tasks. A TransformedTargetRegressor gives another with the same fitted
        transformer; a FrozenEstimator gives what was inside, adapted.

    Raises
    ------
    TypeError
        If `fitted` is nothing of this.
    ValueError
        If a search has no ``best_estimator_``, or a TransformedTargetRegressor was
        fitted to another number of columns of y.

    See Also
    --------
    Adapted : Adaptation as the fit of an estimator.

    Notes
    -----
    A clone of what is returned is not fitted, and fitting it trains from scratch: to
    cross-validate the adaptation use :class:`skmtl.Adapted`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skmtl import MultiTaskNetRegressor, adapt
    >>> X, y = load_diabetes(return_X_y=True)
    >>> net = MultiTaskNetRegressor(n_estimators=2, max_epochs=5, random_state=0)
    >>> pipe = make_pipeline(StandardScaler(), net).fit(X[:, 1:], X[:, [0]])
    >>> adapted = adapt(pipe, X[:40, 1:], y[:40])
    >>> adapted.predict(X[:, 1:]).shape
    (442,)
    """
    if hasattr(fitted, "fit"):  # not the string "passthrough" or None
        check_is_fitted(fitted)
    if isinstance(fitted, FrozenEstimator):
        return adapt(fitted.estimator, X, y, **params)
    if hasattr(fitted, "adapt"):
        return fitted.adapt(X, y, **params)
    if isinstance(fitted, Pipeline):
        return _adapt_pipeline(fitted, X, y, params)
    if isinstance(fitted, TransformedTargetRegressor):
        return _adapt_transformed_target(fitted, X, y, params)
    if hasattr(fitted, "cv_results_"):
        return adapt(_best_estimator(fitted), X, y, **params)
    raise TypeError(
        f"{type(fitted).__name__} cannot be adapted. What can is an estimator with an "
        "adapt method, such as MultiTaskNetRegressor; a Pipeline that ends in one; and "
        "a search, a TransformedTargetRegressor or a FrozenEstimator around one."
    )


def _adapt_pipeline(pipe, X, y, params):
    *steps, (name, last) = pipe.steps
    for _, step in steps:
        if step is not None and step != "passthrough":
            X = step.transform(X)
    adapted = copy.copy(pipe)
    # A new list: the one of the pipeline is in the shallow copy, too.
    adapted.steps = [*steps, (name, adapt(last, X, y, **params))]
    return adapted


def _adapt_transformed_target(model, X, y, params):
    y = check_array(y, ensure_2d=False, ensure_all_finite="allow-nan", input_name="y")
    columns = y.reshape(len(y), -1)
    transformer = model.transformer_
    known = getattr(transformer, "n_features_in_", columns.shape[1])
    if known != columns.shape[1]:
        raise ValueError(
            f"The {type(transformer).__name__} of this TransformedTargetRegressor was "
            f"fitted to {known} columns of y and cannot transform "
            f"{columns.shape[1]}. Pass as many, or transform inside the estimator: "
            "with its target_transform, each new task learns its own."
        )
    transformed = transformer.transform(columns)
    if y.ndim == 1:
        transformed = np.asarray(transformed)[:, 0]
    adapted = copy.copy(model)
    adapted.regressor_ = adapt(model.regressor_, X, transformed, **params)
    # By this it decides on the shape of its predictions.
    adapted._training_dim = y.ndim
    return adapted


def _best_estimator(search):
    if not hasattr(search, "best_estimator_"):
        raise ValueError(
            f"This {type(search).__name__} has no best_estimator_ to adapt, because it "
            "was made with refit=False. Search with refit=True, or fit an estimator "
            "with the parameters of your choice and adapt that."
        )
    return search.best_estimator_


def _known_to_prior(method):
    def check(adapted):
        getattr(vars(adapted).get("estimator_", adapted.prior), method)
        return True

    return check


class Adapted(BaseEstimator):
    """Adapt a fitted estimator by ``fit``, as any estimator learns.

    ``fit(X, y)`` calls :func:`skmtl.adapt` on the prior. Cross-validation, learning
    curves and searches on the rows of a new task thereby measure adaptation to it, and
    not a training from scratch.

    Parameters
    ----------
    prior : estimator
        Fitted, and of any kind that :func:`skmtl.adapt` takes. A clone of this
        estimator holds the same prior, and nothing changes it.
    adapt_params : dict, default=None
        Keyword arguments for the ``adapt`` method of the prior.

    Attributes
    ----------
    estimator_ : estimator
        The prior adapted to X and y.
    classes_ : ndarray or list of ndarray
        Class labels, for classifiers.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X, when the prior knows them.

    See Also
    --------
    adapt : The function behind it.

    Notes
    -----
    A search clones the values of its grid, fitted or not. To search over priors, wrap
    each in FrozenEstimator.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import cross_val_score
    >>> from skmtl import Adapted, MultiTaskNetRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> prior = MultiTaskNetRegressor(n_estimators=2, max_epochs=5, random_state=0)
    >>> prior = prior.fit(X[:, 1:], X[:, [0]])
    >>> cross_val_score(Adapted(prior), X[:60, 1:], y[:60], cv=3).shape
    (3,)
    """

    def __init__(self, prior, adapt_params=None):
        self.prior = prior
        self.adapt_params = adapt_params

    # -- parameters --------------------------------------------------------------

    def get_params(self, deep=True):
        """Get the parameters; those of the prior are its own.

        Parameters
        ----------
        deep : bool, default=True
            Unused.

        Returns
        -------
        params : dict
            ``prior`` and ``adapt_params``.
        """
        return super().get_params(deep=False)

    def set_params(self, **params):
        """Set parameters.

        Parameters
        ----------
        **params : dict
            ``prior`` and ``adapt_params``.

        Returns
        -------
        self : Adapted
            The estimator.

        Raises
        ------
        ValueError
            For parameters of the prior, which is fitted and shared.
        """
        nested = [name for name in params if name.startswith("prior__")]
        if nested:
            raise ValueError(
                f"{nested[0]!r} belongs to the prior, which is fitted and stays as it "
                "is. Fit another prior, or set adapt_params."
            )
        return super().set_params(**params)

    def __sklearn_clone__(self):
        # While the prior is frozen, all else is cloned in scikit-learn's way.
        held = copy.copy(self)
        held.prior = FrozenEstimator(self.prior)
        twin = super(Adapted, held).__sklearn_clone__()
        twin.prior = self.prior
        return twin

    def __sklearn_tags__(self):
        return copy.deepcopy(get_tags(self.prior))

    def __sklearn_is_fitted__(self):
        return "estimator_" in vars(self)

    # -- fit and predict ---------------------------------------------------------

    def fit(self, X, y, *, sample_weight=None):
        """Adapt the prior.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of the new task, as the prior takes them.
        y : array-like of shape (n_samples,) or (n_samples, n_new_tasks)
            Their labels.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row.

        Returns
        -------
        self : Adapted
            Fitted.

        Raises
        ------
        NotFittedError
            If the prior is not fitted.
        """
        try:
            check_is_fitted(self.prior)
        except NotFittedError as error:
            raise NotFittedError(
                f"The prior of Adapted, a {type(self.prior).__name__}, is not fitted. "
                "Fit it on the earlier tasks first; where it comes from the grid of a "
                "search, which clones it, wrap it in sklearn.frozen.FrozenEstimator."
            ) from error
        params = dict(self.adapt_params or {})
        if sample_weight is not None:
            params["sample_weight"] = sample_weight
        self.estimator_ = adapt(self.prior, X, y, **params)
        return self

    def _adapted(self):
        check_is_fitted(self)
        return self.estimator_

    def predict(self, X):
        """Predict the new task.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_new_tasks)
            As the adapted prior predicts.
        """
        return self._adapted().predict(X)

    @available_if(_known_to_prior("predict_proba"))
    def predict_proba(self, X):
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes) or list of ndarray
            In the order of ``classes_``.
        """
        return self._adapted().predict_proba(X)

    @available_if(_known_to_prior("decision_function"))
    def decision_function(self, X):
        """Compute the decision function of the prior.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            As the adapted prior decides.
        """
        return self._adapted().decision_function(X)

    def score(self, X, y, *, sample_weight=None):
        """Score the new task as the prior scores its tasks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.
        y : array-like of shape (n_samples,) or (n_samples, n_new_tasks)
            True labels.
        sample_weight : array-like of shape (n_samples,), optional
            Weights.

        Returns
        -------
        score : float
            Larger is better.
        """
        weight = {} if sample_weight is None else {"sample_weight": sample_weight}
        return self._adapted().score(X, y, **weight)

    # -- what was learned --------------------------------------------------------

    def _learned(self, name):
        if "estimator_" not in vars(self):
            raise AttributeError(f"Adapted has no attribute {name!r} before fit.")
        return getattr(self.estimator_, name)

    @property
    def classes_(self):
        """Class labels, ndarray or list of them."""
        return self._learned("classes_")

    @property
    def n_features_in_(self):
        """Columns of X, int."""
        return self._learned("n_features_in_")

    @property
    def feature_names_in_(self):
        """Names of the columns of X, ndarray."""
        return self._learned("feature_names_in_")
