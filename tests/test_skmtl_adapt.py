"""Adaptation through scikit-learn's tools, and as the fit of an estimator."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import VotingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.metrics import get_scorer
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import (
    check_dict_unchanged,
    check_estimator_cloneable,
    check_estimator_repr,
    check_estimators_overwrite_params,
    check_estimators_unfitted,
    check_fit_check_is_fitted,
    check_fit_score_takes_y,
    check_get_params_invariance,
    check_no_attributes_set_in_init,
    check_set_params,
    check_valid_tag_types,
)
from sklearn.utils.validation import check_is_fitted

from skmtl import Adapted, MultiTaskNetRegressor, adapt

from .instances import classification_data, regression_data, row_task_data, small

CV = KFold(3, shuffle=True, random_state=0)


def cheap(kind="regressor", **changes):
    return small(kind, **{"n_estimators": 1, "max_epochs": 15} | changes)


class Anywhere(BaseEstimator):
    """A prior that learns all it is given, for checks that draw tables of any width."""

    def adapt(self, X, y, *, sample_weight=None):
        return cheap(max_epochs=1).fit(X, y, sample_weight=sample_weight)

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.zeros(len(X))

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        return get_tags(MultiTaskNetRegressor())


def new_column(n_samples=40):
    """Draw rows and a target that mixes what the others share, in another way."""
    X, y = regression_data(n_samples, n_tasks=5, seed=3)
    return X, y[:, 4]


def _wrapped(wrapping):
    """Fit an estimator inside of something; give both."""
    X, y = regression_data()
    net = cheap()
    if wrapping == "pipeline":
        outer = make_pipeline(StandardScaler(), None, "passthrough", net).fit(X, y)
        return outer, outer[-1]
    if wrapping == "pipeline of one":
        outer = Pipeline([("net", net)]).fit(X, y)
        return outer, outer[-1]
    if wrapping == "frozen":
        return FrozenEstimator(net.fit(X, y)), net
    if wrapping == "transformed target":
        outer = TransformedTargetRegressor(net, transformer=StandardScaler())
        outer.fit(X, y[:, 0])
        return outer, outer.regressor_
    searches = {
        "grid": lambda e: GridSearchCV(e, {"lr": [0.01, 0.02]}, cv=2),
        "random": lambda e: RandomizedSearchCV(e, {"lr": [0.01]}, n_iter=1, cv=2),
        "halving": lambda e: HalvingGridSearchCV(e, {"lr": [0.01, 0.02]}, cv=2),
    }
    if wrapping in searches:
        outer = searches[wrapping](net).fit(X, y)
        return outer, outer.best_estimator_
    inner = TransformedTargetRegressor(net, func=np.arcsinh, inverse_func=np.sinh)
    pipe = make_pipeline(StandardScaler(), inner)
    name = "transformedtargetregressor__regressor__lr"
    outer = GridSearchCV(pipe, {name: [0.01]}, cv=2).fit(X, y[:, [0]])
    return outer, outer.best_estimator_[-1].regressor_


WRAPPINGS = [
    "pipeline",
    "pipeline of one",
    "frozen",
    "transformed target",
    "grid",
    "random",
    "halving",
    "search of a pipeline of a transformed target",
]


@pytest.fixture(scope="module", params=WRAPPINGS)
def wrapped(request):
    return _wrapped(request.param)


# -- adapt -----------------------------------------------------------------------


def test_an_estimator_is_adapted_by_its_method():
    X, y = regression_data()
    model = cheap().fit(X, y)
    X, y = new_column()
    np.testing.assert_array_equal(
        adapt(model, X, y).predict(X), model.adapt(X, y).predict(X)
    )


def test_what_is_adapted_is_left_as_it_was(wrapped):
    fitted, net = wrapped
    X, y = new_column()
    before = pickle.dumps(fitted)
    parts = {name: id(value) for name, value in vars(fitted).items()}
    known = net.predict(X)
    adapted = adapt(fitted, X, y)
    adapted.predict(X)
    assert pickle.dumps(fitted) == before
    assert {name: id(value) for name, value in vars(fitted).items()} == parts
    np.testing.assert_array_equal(net.predict(X), known)
    assert adapted is not fitted


def test_what_is_adapted_learns_the_new_task(wrapped):
    fitted, _ = wrapped
    X, y = new_column(200)
    adapted = adapt(fitted, X[:100], y[:100])
    check_is_fitted(adapted)
    assert adapted.predict(X).shape == (200,)
    assert adapted.score(X[100:], y[100:]) > 0.8
    other = pickle.loads(pickle.dumps(adapted))
    np.testing.assert_array_equal(other.predict(X), adapted.predict(X))


def test_parameters_reach_the_innermost_estimator(wrapped):
    fitted, _ = wrapped
    X, y = new_column()
    weight = (np.arange(40) < 20).astype(float)
    weighted = adapt(fitted, X, y, sample_weight=weight)
    np.testing.assert_allclose(
        weighted.predict(X), adapt(fitted, X[:20], y[:20]).predict(X), rtol=1e-6
    )


def test_a_pipeline_transforms_and_shares_its_steps():
    pipe, net = _wrapped("pipeline")
    X, y = new_column()
    adapted = adapt(pipe, X, y)
    assert isinstance(adapted, Pipeline)
    assert adapted.steps is not pipe.steps
    assert adapted[0] is pipe[0]
    assert [name for name, _ in adapted.steps] == [name for name, _ in pipe.steps]
    by_hand = net.adapt(pipe[0].transform(X), y)
    np.testing.assert_array_equal(
        adapted.predict(X), by_hand.predict(pipe[0].transform(X))
    )


def test_a_pipeline_keeps_frames_between_its_steps():
    X, y, task = row_task_data()
    frame = pd.DataFrame(X, columns=list("abc")).assign(store=task)
    scale = make_column_transformer(
        (StandardScaler(), list("abc")),
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    pipe = make_pipeline(scale, cheap(task_column="store")).fit(frame, y)
    new = frame[:20].assign(store=99)
    with config_context(enable_metadata_routing=True):
        adapted = adapt(pipe, new, y[:20])
    assert adapted[-1].task_names_.tolist() == [99]
    assert adapted.feature_names_in_.tolist() == ["a", "b", "c", "store"]
    assert np.isfinite(adapted.predict(new)).all()


def test_a_search_gives_its_best_estimator():
    search, best = _wrapped("grid")
    X, y = new_column()
    adapted = adapt(search, X, y)
    assert isinstance(adapted, MultiTaskNetRegressor)
    assert adapted.lr == best.lr
    np.testing.assert_array_equal(adapted.predict(X), best.adapt(X, y).predict(X))


def test_a_search_without_refit_has_nothing_to_adapt():
    X, y = regression_data()
    search = GridSearchCV(cheap(max_epochs=1), {"lr": [0.1]}, cv=2, refit=False)
    with pytest.raises(ValueError, match=r"GridSearchCV has no best_estimator_.*refit"):
        adapt(search.fit(X, y), X, y)


@pytest.mark.parametrize(
    "transform",
    [
        {"transformer": StandardScaler()},
        {"func": np.log1p, "inverse_func": np.expm1},
        {"transformer": FunctionTransformer(np.log1p, np.expm1, validate=True)},
    ],
    ids=str,
)
@pytest.mark.parametrize("old", [(60,), (60, 1)])
@pytest.mark.parametrize("new", [(40,), (40, 1)])
def test_a_transformed_target_comes_back_in_the_shape_of_the_new(transform, old, new):
    X, y = regression_data()
    y = np.exp(0.1 * y[:, 0])
    model = TransformedTargetRegressor(cheap(max_epochs=5), **transform)
    model.fit(X, y.reshape(old))
    X, y = new_column()
    y = np.exp(0.1 * y)
    adapted = adapt(model, X, y.reshape(new))
    assert adapted.predict(X).shape == new
    assert adapted.transformer_ is model.transformer_
    scaled = model.transformer_.transform(y.reshape(-1, 1))[:, 0]
    inner = model.regressor_.adapt(X, scaled).predict(X)
    expected = model.transformer_.inverse_transform(inner.reshape(-1, 1))
    np.testing.assert_allclose(adapted.predict(X), expected.reshape(new))


def test_a_transformed_target_of_other_columns_is_an_error():
    X, y = regression_data()
    model = TransformedTargetRegressor(
        cheap(max_epochs=1), transformer=StandardScaler()
    )
    model.fit(X, y)
    with pytest.raises(
        ValueError, match=r"StandardScaler.*3 columns of y.*cannot.*1.*target_transform"
    ):
        adapt(model, X, y[:, 0])
    assert adapt(model, X, y[:, ::-1]).predict(X).shape == (60, 3)


def test_missing_labels_of_a_transformed_target_are_left_out():
    model, _ = _wrapped("transformed target")
    X, y = new_column()
    hidden = np.where(np.arange(40) < 20, y, np.nan)
    np.testing.assert_allclose(
        adapt(model, X, hidden).predict(X), adapt(model, X[:20], y[:20]).predict(X)
    )


def test_what_cannot_be_adapted_is_told_what_can():
    X, y = regression_data()
    X, y = np.array(X), y[:, 0]
    supported = (
        r"cannot be adapted.*adapt method.*Pipeline.*search.*Transformed.*Frozen"
    )
    for fitted in (
        Ridge().fit(X, y),
        make_pipeline(StandardScaler(), Ridge()).fit(X, y),
        GridSearchCV(Ridge(), {"alpha": [1.0]}).fit(X, y),
        VotingRegressor([("net", cheap(max_epochs=1))]).fit(X, y),
        make_pipeline(cheap(), "passthrough").set_params(multitasknetregressor=None),
    ):
        with pytest.raises(TypeError, match=supported):
            adapt(fitted, X, y)
    with pytest.raises(TypeError, match=supported):
        adapt("a name", X, y)
    with pytest.raises(TypeError, match="class"):
        adapt(MultiTaskNetRegressor, X, y)


@pytest.mark.parametrize(
    "unfitted",
    [
        MultiTaskNetRegressor(),
        make_pipeline(StandardScaler(), MultiTaskNetRegressor()),
        GridSearchCV(MultiTaskNetRegressor(), {"lr": [0.1]}),
        TransformedTargetRegressor(MultiTaskNetRegressor()),
        FrozenEstimator(MultiTaskNetRegressor()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_what_is_not_fitted_is_not_adapted(unfitted):
    X, y = new_column()
    with pytest.raises(NotFittedError):
        adapt(unfitted, X, y)


# -- Adapted ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def prior():
    X, y = regression_data(200)
    return small("regressor").fit(X, y)


@pytest.fixture(scope="module")
def class_prior():
    X, y = classification_data(200)
    return small("classifier").fit(X, y)


def test_fit_is_adaptation(prior, class_prior):
    X, y = new_column()
    weight = np.random.default_rng(0).uniform(size=40)
    model = Adapted(prior)
    assert model.fit(X, y, sample_weight=weight) is model
    expected = prior.adapt(X, y, sample_weight=weight)
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))
    assert model.score(X, y) == expected.score(X, y)
    assert model.score(X, y, sample_weight=weight) == expected.score(
        X, y, sample_weight=weight
    )
    assert model.n_features_in_ == 4
    assert not hasattr(model, "predict_proba")
    assert not hasattr(model, "classes_")
    assert not hasattr(model, "feature_names_in_")
    labels = np.where(y > y.mean(), "high", "low")
    model = Adapted(class_prior).fit(X, labels)
    assert model.classes_.tolist() == ["high", "low"]
    proba = model.predict_proba(X)
    np.testing.assert_array_equal(proba, class_prior.adapt(X, labels).predict_proba(X))
    assert get_scorer("roc_auc")(model, X, labels) > 0.9


def test_parameters_of_adaptation_are_passed_on():
    class Prior(BaseEstimator):
        def fit(self, X, y):
            self.steps_ = 0
            return self

        def adapt(self, X, y, *, n_steps=1):
            other = Prior()
            other.steps_ = n_steps
            return other

        def predict(self, X):
            return np.full(len(X), float(self.steps_))

        def decision_function(self, X):
            return self.predict(X)

        def score(self, X, y):
            return -abs(float(self.steps_) - 3)

    X, y = new_column()
    prior = Prior().fit(X, y)
    assert Adapted(prior).fit(X, y).predict(X)[0] == 1
    model = Adapted(prior, {"n_steps": 5})
    assert model.fit(X, y).decision_function(X)[0] == 5
    assert model.adapt_params == {"n_steps": 5}
    grid = {"adapt_params": [None, {"n_steps": 3}, {"n_steps": 10}]}
    search = GridSearchCV(Adapted(prior), grid, cv=2).fit(X, y)
    assert search.best_params_ == {"adapt_params": {"n_steps": 3}}


def test_a_clone_keeps_the_prior_and_forgets_the_task(prior):
    X, y = new_column()
    model = Adapted(prior, {"sample_weight": None})
    with config_context(enable_metadata_routing=True):
        model.set_fit_request(sample_weight=True)
    twin = clone(model.fit(X, y))
    assert type(twin) is Adapted
    assert twin.prior is prior
    assert twin.adapt_params == model.adapt_params
    assert twin.adapt_params is not model.adapt_params
    assert twin.get_metadata_routing().fit.requests["sample_weight"] is True
    check_is_fitted(model)
    with pytest.raises(NotFittedError, match="Adapted instance is not fitted"):
        twin.predict(X)
    np.testing.assert_array_equal(twin.fit(X, y).predict(X), model.predict(X))


def test_parameters_of_the_prior_are_out_of_reach(prior):
    model = Adapted(prior)
    assert model.get_params() == {"prior": prior, "adapt_params": None}
    with pytest.raises(ValueError, match="'prior__lr' belongs to the prior"):
        model.set_params(prior__lr=1.0)
    assert prior.lr == 0.01
    other = clone(prior)
    assert model.set_params(prior=other).prior is other
    with pytest.raises(ValueError, match="Invalid parameter"):
        model.set_params(lr=1.0)


def test_cross_validation_is_of_the_adaptation(prior):
    X, y = new_column(90)
    before = pickle.dumps(prior)
    scores = cross_val_score(Adapted(prior), X, y, cv=CV, error_score="raise")
    by_hand = [
        prior.adapt(X[train], y[train]).score(X[test], y[test])
        for train, test in CV.split(X)
    ]
    np.testing.assert_allclose(scores, by_hand, rtol=1e-12)
    assert scores.min() > 0.9
    predicted = cross_val_predict(Adapted(prior), X, y, cv=CV)
    assert np.corrcoef(predicted, y)[0, 1] > 0.9
    by_name = cross_validate(
        Adapted(prior), X, y, cv=CV, scoring=["r2", "neg_max_error"]
    )
    np.testing.assert_allclose(by_name["test_r2"], by_hand)
    _, _, curve = learning_curve(
        Adapted(prior), X, y, cv=CV, train_sizes=[3, 60], error_score="raise"
    )
    assert curve[1].mean() > curve[0].mean()
    assert pickle.dumps(prior) == before


def test_cross_validation_of_classes_may_be_stratified(class_prior):
    X, _ = classification_data(90, seed=3)
    y = np.where(X[:, 0] > 0, "sick", "well")
    found = cross_validate(
        Adapted(class_prior), X, y, cv=3, scoring=["roc_auc", "accuracy"]
    )
    assert found["test_roc_auc"].min() > 0.8
    assert found["test_accuracy"].min() > 0.7


def test_a_search_over_priors_freezes_them(prior):
    X, y = new_column(60)
    poor = cheap(max_epochs=1).fit(X, -y)
    frozen = [FrozenEstimator(poor), FrozenEstimator(prior)]
    search = GridSearchCV(Adapted(poor), {"prior": frozen}, cv=CV).fit(X, y)
    assert search.best_params_["prior"].estimator is prior
    with pytest.raises(ValueError, match="wrap it in sklearn"):
        GridSearchCV(Adapted(poor), {"prior": [poor, prior]}, cv=CV).fit(X, y)


def test_priors_of_other_kinds(wrapped):
    fitted, net = wrapped
    X, y = new_column(60)
    model = Adapted(fitted)
    assert is_regressor(model)
    scores = cross_val_score(model, X, y, cv=CV, error_score="raise")
    # One of the priors knows a single column, and little of what others need.
    assert scores.min() > 0.4
    np.testing.assert_array_equal(
        model.fit(X, y).predict(X), adapt(fitted, X, y).predict(X)
    )
    assert model.n_features_in_ == net.n_features_in_


def test_an_adapted_estimator_is_a_step_of_a_pipeline(prior):
    X, y = new_column(60)
    pipe = make_pipeline(FunctionTransformer(lambda X: 1 * X), Adapted(prior))
    assert cross_val_score(pipe, X, y, cv=CV).min() > 0.8


def test_rows_of_a_new_group_cross_validate():
    X, y, task = row_task_data(240)
    frame = pd.DataFrame(X, columns=list("abc")).assign(store=task)
    known = task < 15
    prior = small("regressor", task_column="store").fit(frame[known], y[known])
    scores = cross_val_score(
        Adapted(prior), frame[~known], y[~known], cv=CV, scoring="r2"
    )
    assert scores.min() > 0.8
    model = Adapted(prior).fit(frame[~known], y[~known])
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "store"]


def test_weights_are_routed_on_request(prior):
    X, y = new_column(60)
    weight = np.random.default_rng(0).uniform(size=60)
    with config_context(enable_metadata_routing=True):
        model = Adapted(prior).set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        scores = cross_val_score(model, X, y, cv=CV, params={"sample_weight": weight})
    by_hand = [
        prior.adapt(X[train], y[train], sample_weight=weight[train]).score(
            X[test], y[test], sample_weight=weight[test]
        )
        for train, test in CV.split(X)
    ]
    np.testing.assert_allclose(scores, by_hand)


def test_tags_are_those_of_the_prior(prior, class_prior):
    assert is_regressor(Adapted(prior))
    assert is_classifier(Adapted(class_prior))
    assert get_tags(Adapted(prior)) == get_tags(prior)
    assert get_tags(Adapted(class_prior)) == get_tags(class_prior)


def test_an_unfitted_prior_is_an_error():
    X, y = new_column()
    with pytest.raises(NotFittedError, match="prior of Adapted, a MultiTaskNetReg"):
        Adapted(MultiTaskNetRegressor()).fit(X, y)


def test_it_pickles_and_prints(prior):
    X, y = new_column()
    for model in (Adapted(prior), Adapted(prior).fit(X, y)):
        other = pickle.loads(pickle.dumps(model))
        assert "Adapted" in model._repr_html_()
        assert repr(model).startswith("Adapted(prior=MultiTaskNetRegressor(")
    np.testing.assert_array_equal(other.predict(X), model.predict(X))


@pytest.mark.parametrize(
    "check",
    [
        check_dict_unchanged,
        check_estimator_cloneable,
        check_estimator_repr,
        check_estimators_overwrite_params,
        check_estimators_unfitted,
        check_fit_check_is_fitted,
        check_fit_score_takes_y,
        check_get_params_invariance,
        check_set_params,
        check_valid_tag_types,
    ],
    ids=lambda check: check.__name__,
)
def test_it_passes_checks_of_scikit_learn(check):
    check("Adapted", Adapted(Anywhere()))


def test_the_constructor_only_remembers(prior):
    model = Adapted(prior)
    assert vars(model) == {"prior": prior, "adapt_params": None}
    check_no_attributes_set_in_init("Adapted", model)
