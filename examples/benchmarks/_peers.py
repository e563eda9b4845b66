"""The peers of the suite, at settings one would reach for; each is written out once.

A peer is called with a `SuiteTable` and its training rows, and returns a function from
inputs to one prediction a target: numbers, or (probabilities, classes). A peer that has
no such model for the labels returns None.
"""

from importlib.util import find_spec

import numpy as np
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.multioutput import ClassifierChain, RegressorChain
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

# Peers from packages that may be absent, and what to install.
PACKAGES = {
    "xgboost": "xgboost",
    "xgboost_multi": "xgboost",
    "xgboost_tuned": "xgboost",
    "catboost": "catboost",
    "catboost_tuned": "catboost",
    "lightgbm": "lightgbm",
    "realmlp": "pytabkit",
    "tabm": "pytabkit",
}
ROUNDS = {"n_estimators": 400, "learning_rate": 0.05, "random_state": 0}


def n_threads():
    """As many for the peers as torch has."""
    return torch.get_num_threads()


def lacking(name):
    """Name the package that a peer lacks, or None."""
    package = PACKAGES.get(name)
    return package if package and find_spec(package) is None else None


class ByTarget:
    """Fit an estimator to all targets at once, or one at a time where it must.

    Labels that are missing ask for one at a time; so do estimators of one target.
    """

    def __init__(self, estimator, joint=False):
        self.estimator, self.joint = estimator, joint

    def fit(self, X, y):
        self.together = self.joint and not np.isnan(y).any()
        if self.together:
            self.fitted = [
                clone(self.estimator).fit(X, y if y.shape[1] > 1 else y[:, 0])
            ]
            return self
        known = ~np.isnan(y)
        self.fitted = [
            clone(self.estimator).fit(X[known[:, j]], y[known[:, j], j])
            for j in range(y.shape[1])
        ]
        return self

    def predict(self, X):
        columns = [np.asarray(fitted.predict(X)) for fitted in self.fitted]
        return list(np.column_stack(columns).T)

    def predict_proba(self, X):
        """Return (probabilities, classes) of every target."""
        if not self.together:
            return [
                (fitted.predict_proba(X), fitted.classes_) for fitted in self.fitted
            ]
        fitted = self.fitted[0]
        found = fitted.predict_proba(X)
        if isinstance(found, list):
            classes = getattr(fitted, "classes_", None)
            return list(zip(found, classes, strict=True))
        if hasattr(fitted, "order_"):  # a chain: probabilities of the second class
            return [(_two(column), np.array([0.0, 1.0])) for column in found.T]
        return [(found, fitted.classes_)]


# From a frame to an array: one-hot and filled, or with codes and holes.


def dense(table):
    """Fill, scale and one-hot, for models that need it."""
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = [("categories", encoder, table.categories)]
    return ColumnTransformer(columns, remainder=numbers)


def coded(table):
    """Number the categories and leave holes, for trees that take them."""
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = [("categories", encoder, table.categories)]
    return ColumnTransformer(columns, remainder="passthrough")


def fit_predict(make, encode=dense, joint=False):
    """Make a peer of a pair of estimators, (for numbers, for classes)."""

    def peer(table, train):
        columns = encode(table).fit(table.X.iloc[train])
        X = np.asarray(columns.transform(table.X.iloc[train]))
        model = ByTarget(make(table), joint).fit(X, table.y[train])
        predict = model.predict if table.kind == "number" else model.predict_proba
        return lambda X: predict(np.asarray(columns.transform(X)))

    return peer


def of_kind(number, classes):
    """Choose an estimator by what the labels are."""
    return lambda table: number() if table.kind == "number" else classes()


def ridge():
    return RidgeCV(np.logspace(-3, 6, 37), alpha_per_target=True)


def logistic():
    return LogisticRegressionCV(
        Cs=np.logspace(-3, 1, 5), l1_ratios=(0,), use_legacy_attributes=False,
        scoring="neg_log_loss", max_iter=300, cv=3
    )  # fmt: skip


def forest(estimator, **settings):
    return lambda: estimator(500, n_jobs=n_threads(), random_state=0, **settings)


def xgboost(name, **settings):
    def make():
        import xgboost

        untuned = ROUNDS | {
            "max_depth": 4,
            "subsample": 0.8,
            "colsample_bytree": 0.8,
            "n_jobs": n_threads(),
        }
        return getattr(xgboost, name)(**untuned | settings)

    return make


def lightgbm(name):
    def make():
        import lightgbm

        return getattr(lightgbm, name)(
            **ROUNDS,
            num_leaves=15,
            min_child_samples=10,
            subsample=0.8,
            subsample_freq=1,
            colsample_bytree=0.8,
            n_jobs=n_threads(),
            verbose=-1,
        )

    return make


def mlp_number():
    perceptron = MLPRegressor(
        hidden_layer_sizes=(128, 128),
        early_stopping=True,
        n_iter_no_change=50,  # small tables: an epoch is a step or two
        max_iter=1000,
        random_state=0,
    )
    return TransformedTargetRegressor(perceptron, transformer=StandardScaler())


def mlp_class():
    # Without early stopping, which fails on targets with one example of a class.
    return MLPClassifier((128, 128), alpha=1.0, max_iter=100, tol=1e-3, random_state=0)


def pytabkit(number, classes):
    def make(table):
        import pytabkit

        name = number if table.kind == "number" else classes
        return getattr(pytabkit, name)(
            random_state=0, device="cpu", n_threads=n_threads(), verbosity=0
        )

    return make


def chain(table):
    if table.kind == "number":
        return RegressorChain(HistGradientBoostingRegressor(random_state=0))
    return ClassifierChain(make_pipeline(StandardScaler(), logistic()))


def chained(table, train):
    """A chain needs all labels, and two targets of numbers or of two classes."""
    y = table.y[train]
    two_classes = all(len(np.unique(column)) == 2 for column in y.T)
    if (
        np.isnan(y).any()
        or y.shape[1] < 2
        or (table.kind == "class" and not two_classes)
    ):
        return None
    return fit_predict(chain, joint=True)(table, train)


def multi_output_tree(table, train):
    """One tree a round for all targets; there must be several, with all labels."""
    y = table.y[train]
    if table.kind == "class" or np.isnan(y).any() or y.shape[1] < 2:
        return None
    settings = {"multi_strategy": "multi_output_tree", "tree_method": "hist"}
    make = xgboost("XGBRegressor", **settings)
    return fit_predict(lambda table: make(), joint=True)(table, train)


def catboost(table, train, **settings):
    """A joint loss where there is one for the labels, else a model a target."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    y, single = table.y[train], table.y.shape[1] == 1
    settings |= {
        "cat_features": table.categories,
        "thread_count": n_threads(),
        "random_seed": 0,
        "verbose": False,
        "allow_writing_files": False,
    }
    X = _as_text(table.X.iloc[train], table)
    if table.kind == "number":
        holes = np.isnan(y).any()
        loss = "MultiRMSEWithMissingValues" if holes else "MultiRMSE"
        if holes:
            # Without it, an empty first cell is taken for a constant target.
            settings["allow_const_label"] = True
        loss = "RMSE" if single else loss
        model = CatBoostRegressor(loss_function=loss, **settings).fit(X, y)
        return lambda X: list(
            np.asarray(model.predict(_as_text(X, table))).reshape(len(X), -1).T
        )
    if not np.isnan(y).any() and set(np.unique(y)) == {0.0, 1.0} and not single:
        model = CatBoostClassifier(loss_function="MultiLogloss", **settings).fit(X, y)
        return lambda X: [
            (_two(column), np.array([0.0, 1.0]))
            for column in model.predict_proba(_as_text(X, table)).T
        ]
    models = []
    for column in y.T:
        known = ~np.isnan(column)
        models.append(CatBoostClassifier(**settings).fit(X[known], column[known]))
    return lambda X: [
        (model.predict_proba(_as_text(X, table)), model.classes_) for model in models
    ]


def _two(probability):
    return np.column_stack([1 - probability, probability])


def _as_text(X, table):
    filled = {name: X[name].fillna("missing") for name in table.categories}
    return X.assign(**filled)


PEERS = {
    "ridge": fit_predict(of_kind(ridge, logistic)),
    "random_forest": fit_predict(
        of_kind(forest(RandomForestRegressor), forest(RandomForestClassifier)),
        joint=True,
    ),
    "extra_trees": fit_predict(
        of_kind(forest(ExtraTreesRegressor), forest(ExtraTreesClassifier)), joint=True
    ),
    "hist_boosting": fit_predict(
        of_kind(HistGradientBoostingRegressor, HistGradientBoostingClassifier), coded
    ),
    "xgboost": fit_predict(
        of_kind(xgboost("XGBRegressor"), xgboost("XGBClassifier")), coded
    ),
    "xgboost_multi": multi_output_tree,
    "lightgbm": fit_predict(
        of_kind(lightgbm("LGBMRegressor"), lightgbm("LGBMClassifier")), coded
    ),
    "catboost": catboost,
    "chain": chained,
    "mlp": fit_predict(of_kind(mlp_number, mlp_class), joint=False),
    "realmlp": fit_predict(pytabkit("RealMLP_TD_Regressor", "RealMLP_TD_Classifier")),
    "tabm": fit_predict(pytabkit("TabM_D_Regressor", "TabM_D_Classifier")),
}
