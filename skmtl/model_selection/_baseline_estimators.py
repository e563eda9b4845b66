"""The models of the baselines, where the user names none."""

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from .._tasks import as_array

# As for new heads on frozen networks.
_RIDGE_STRENGTHS = [10.0**p for p in range(-3, 5)]


def pooled_estimator(X, classifier, seed):
    """Make gradient boosting for the rows of many tasks.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The table; columns of a frame that hold no numbers are encoded one-hot.
    classifier : bool
        Whether labels are classes.
    seed : int
        Random state.

    Returns
    -------
    estimator : estimator
        Not fitted.
    """
    make = (
        HistGradientBoostingClassifier if classifier else HistGradientBoostingRegressor
    )
    return make_pipeline(*_encoding(X), make(random_state=seed))


def task_estimator(X, classifier):
    """Make a regularised linear model for a handful of rows.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The table; columns of a frame that hold no numbers are encoded one-hot.
    classifier : bool
        Whether labels are classes.

    Returns
    -------
    estimator : estimator
        Not fitted.
    """
    model = LogisticRegression(max_iter=1000)
    if not classifier:
        model = RidgeCV(_RIDGE_STRENGTHS)
    fill = SimpleImputer(keep_empty_features=True)
    return make_pipeline(*_encoding(X), fill, StandardScaler(), model)


def _encoding(X):
    if not hasattr(X, "columns"):
        return []
    text = [name for name in X.columns if as_array(X[name]).dtype.kind not in "biuf"]
    if not text:
        return []
    one_hot = OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=50, sparse_output=False
    )
    return [ColumnTransformer([("one_hot", one_hot, text)], remainder="passthrough")]
