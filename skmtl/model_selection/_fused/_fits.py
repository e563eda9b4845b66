"""The fits of a search: which can share a bank, and their training."""

import copy
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from warnings import warn

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.parallel import delayed

from ..._net import fit_shares
from ..._tasks import SharedRows, check_task_data
from .._rows import own_rows, take
from ._alike import Kinds
from ._around import fit_around, innermost, with_innermost
from ._networks import most_networks, n_banks
from ._outcome import Outcome
from ._progress import Progress


@dataclass
class _Fit:
    """One candidate on one split: where it stands, and what it becomes."""

    place: tuple[int, int]
    settings: dict
    around: BaseEstimator
    inner: BaseEstimator
    work: tuple
    plans: list
    shared: SharedRows
    number: int

    @property
    def share(self):
        return self.plans, self.shared.places(self.number)

    def fitted(self, bank, number):
        """Give the fitted estimator, once."""
        net = bank.net_of(number)
        try:
            self.inner._take_over(net, bank.shares[number], self.work)
        except FloatingPointError as error:
            _name(error, self.settings)
            raise
        return with_innermost(self.around, self.inner)


class FusedFits:
    """Do all fits of a search, in as few banks as there can be.

    Parameters
    ----------
    X, y : array-like
        As given to the search.
    splits : list of (train, test), ndarray of int
        The splits; test rows are not looked at.
    params : dict
        For ``fit``; what has one entry a row is split.
    workers : Workers
        What banks and single fits are spread over.
    max_networks : int or None
        Networks of a bank at most; None goes by their size.
    fallback : {"warn", "error"}
        What to do about candidates that cannot share a bank.
    verbose : int
        Whether to tell of the progress.
    """

    def __init__(
        self,
        X,
        y,
        splits,
        params,
        *,
        workers,
        max_networks,
        fallback,
        verbose,
    ):
        self.X, self.y = X, y
        self.splits = splits
        self.params = params
        self.workers = workers
        self.max_networks = max_networks
        self.fallback = fallback
        self.verbose = verbose
        # One draw for the whole search where the candidates name none.
        self._seed = int(np.random.SeedSequence().generate_state(1)[0] >> 1)

    def run(self, estimator, candidates):
        """Fit every candidate on every split.

        Parameters
        ----------
        estimator : estimator
            What is searched over.
        candidates : list of dict
            Its parameters.

        Returns
        -------
        fits : list of callable, length n_candidates * n_splits
            Split by split of one candidate after the other. Each gives a fitted
            estimator, once, or raises what its fit raised.
        seconds : ndarray of shape (n_candidates, n_splits)
            Time of the fits; those that share a bank share its time evenly.
        """
        start = perf_counter()
        n_splits = len(self.splits)
        estimators = [
            clone(estimator).set_params(**clone(params, safe=False))
            for params in candidates
        ]
        reasons = [_reason_against(candidate) for candidate in estimators]
        self._complain(reasons)
        places = [(c, s) for c in range(len(candidates)) for s in range(n_splits)]
        self._results = dict.fromkeys(places)
        self._seconds = np.zeros((len(candidates), n_splits))
        fusing = [c for c, reason in enumerate(reasons) if reason is None]
        planned = self._planned(estimators, candidates, fusing)
        alone = [place for place in places if reasons[place[0]] is not None]
        self._seconds[fusing] = (perf_counter() - start) / max(1, len(planned))
        self._train(planned, [(place, estimators[place[0]]) for place in alone])
        return [self._results[place] for place in places], self._seconds

    def _complain(self, reasons):
        against = [reason for reason in reasons if reason is not None]
        if not against:
            return
        message = (
            f"{len(against)} of {len(reasons)} candidates cannot be trained in a bank "
            f"with others: {against[0]}"
        )
        if self.fallback == "error":
            raise ValueError(
                f"{message} Search over estimators that can, or pass fallback='warn' "
                "to fit such candidates one by one."
            )
        warn(
            f"{message} They are fitted one by one.",
            UserWarning,
            stacklevel=9,  # the caller of fit
        )

    # -- plans -------------------------------------------------------------------

    def _planned(self, estimators, candidates, fusing):
        """List the fits that can be trained in banks; note those that fail at once."""
        kinds, outer = Kinds(), Kinds()
        around, prepared, tables, planned = {}, {}, {}, []
        for c in fusing:
            inner = innermost(estimators[c])
            try:
                settings = inner._bank_settings()
            except ValueError as error:
                _name(error, candidates[c])
                for s in range(len(self.splits)):
                    self._results[c, s] = Outcome(error=error)
                continue
            o = outer.number(with_innermost(estimators[c], None))
            kind = kinds.number((o, type(inner), settings))
            for s in range(len(self.splits)):
                if (o, s) not in around:
                    around[o, s] = Outcome.of(self._fit_around, estimators[c], s)
                if around[o, s].error is not None:
                    self._results[c, s] = around[o, s]
                    continue
                shell, args, kwargs = around[o, s]()
                key = kind, s, _seed_key(inner.random_state)
                if key not in prepared:
                    prepared[key] = Outcome.of(
                        self._prepare, inner, args, kwargs, s, tables, kind
                    )
                if prepared[key].error is not None:
                    self._results[c, s] = prepared[key]
                    continue
                template, work, encoders, shared, number = prepared[key]()
                own = copy.copy(inner)
                vars(own).update(template)
                plans = Outcome.of(own._make_plans, work.data, work.members, encoders)
                if plans.error is not None:
                    _name(plans.error, candidates[c])
                    self._results[c, s] = plans
                    continue
                fit = (candidates[c], shell, own, work, plans(), shared, number)
                planned.append(_Fit((c, s), *fit))
        return planned

    def _fit_around(self, estimator, s):
        train, n_samples = self.splits[s][0], _n_samples(self.X)
        params = {n: own_rows(v, train, n_samples) for n, v in self.params.items()}
        y = None if self.y is None else take(self.y, train)
        return fit_around(clone(estimator), take(self.X, train), y, params)

    def _prepare(self, inner, args, kwargs, s, tables, kind):
        template = clone(inner)
        # What belongs to single candidates, and may not be valid, is left to them.
        usual = type(inner)().get_params(deep=False)
        own = set(inner._fusable) - {"random_state"}
        template.set_params(**{n: v for n, v in usual.items() if n in own})
        if template.random_state is None:
            template.random_state = self._seed
        work = template._prepare(_checked(template, *args, **kwargs))
        plans = template._make_plans(work.data, work.members)
        encoders = [plan.encoder for plan in plans]
        of_kind = tables.setdefault(kind, [])
        shared = next((t for t in of_kind if t.takes(work.data)), None)
        if shared is None:
            shared = SharedRows()
            of_kind.append(shared)
        train = np.arange(_n_samples(self.X))[self.splits[s][0]]
        # A step that adds or drops rows leaves no trace of where they came from.
        number = shared.add(
            work.data, train if len(train) == work.data.n_samples else None
        )
        names = template.get_params(deep=False)
        learned = {n: v for n, v in vars(template).items() if n not in names}
        return learned, work, encoders, shared, number

    # -- training ----------------------------------------------------------------

    def _train(self, planned, alone):
        banks = self._banks(planned)
        jobs = [
            delayed(_fit_bank)(
                [fit.share for fit in bank],
                data,
                device=bank[0].inner.device,
                dtype=bank[0].inner.dtype,
                decode=bank[0].inner._decode,
                on_epoch=Progress(b, len(banks)) if self.verbose else None,
            )
            for b, (bank, data) in enumerate(banks)
        ]
        jobs += [
            delayed(_fit_alone)(
                clone(estimator), self.X, self.y, self.splits[s][0], self.params
            )
            for (_, s), estimator in alone
        ]
        done = self.workers.run(jobs)
        for (bank, _), parts in zip(banks, done, strict=False):
            fits = iter(bank)
            for trained, n_fits in parts:
                self._note(trained, [next(fits) for _ in range(n_fits)])
        for (place, _), (result, seconds) in zip(
            alone, done[len(banks) :], strict=True
        ):
            self._results[place] = result
            self._seconds[place] = seconds

    def _note(self, trained, fits):
        """Note what came of the fits of one bank."""
        if trained.error is not None:
            for fit in fits:
                _name(trained.error, fit.settings)
                self._results[fit.place] = trained
            return
        bank = trained()
        n_networks = sum(len(fit.plans) for fit in fits)
        for number, fit in enumerate(fits):
            self._results[fit.place] = partial(fit.fitted, bank, number)
            self._seconds[fit.place] += bank.seconds * len(fit.plans) / n_networks

    def _banks(self, planned):
        """Deal the fits to banks: those that can share one, as many as it may hold."""
        together, settled = {}, Kinds()
        for fit in planned:
            # Some architectures look at the data, and differ from fold to fold then.
            number = settled.number(fit.plans[0].hyperparameters.architecture)
            together.setdefault((id(fit.shared), number), []).append(fit)
        n_workers = -(-self.workers.number // max(1, len(together)))
        banks = []
        for fits in together.values():
            data = fits[0].shared.joined()
            _with_one_class_weight_each(fits)
            per_fit, inner = len(fits[0].plans), fits[0].inner
            if self.max_networks is None:
                most = most_networks(fits[0].plans[0], data, inner.device, inner.dtype)
                number = n_banks(len(fits) * per_fit, max(most, per_fit), n_workers)
            else:
                number = -(-len(fits) // max(1, self.max_networks // per_fit))
            number = min(number, len(fits))
            for part in np.array_split(np.arange(len(fits)), number):
                banks.append(([fits[i] for i in part], data))
        return banks


def _fit_bank(shares, data, **settings):
    """Train the networks of some fits; where that fails, find the fits that fail.

    Parameters
    ----------
    shares, data, **settings : object
        As for :func:`fit_shares`.

    Returns
    -------
    parts : list of (Outcome, int)
        Banks, or the errors of single fits, and how many of the fits each is for.
    """
    trained = Outcome.of(fit_shares, shares, data, **settings)
    if trained.error is None or len(shares) == 1:
        return [(trained, len(shares))]
    half = len(shares) // 2
    return [
        part
        for some in (shares[:half], shares[half:])
        for part in _fit_bank(some, data, **settings)
    ]


def _name(error, candidate):
    """Let the traceback of an error end with the parameters that it is about."""
    note = f"The parameters were {candidate}."
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def _with_one_class_weight_each(fits):
    """Let equal class weights be one object, by which their tables are shared."""
    known = {}
    for fit in fits:
        weights = fit.plans[0].hyperparameters.class_weights
        if weights is not None:
            key = tuple(None if w is None else w.tobytes() for w in weights)
            one = known.setdefault(key, weights)
            fit.plans = [
                replace(
                    p, hyperparameters=replace(p.hyperparameters, class_weights=one)
                )
                for p in fit.plans
            ]


def _reason_against(estimator):
    """Say why an estimator cannot be trained in a bank with others, or None."""
    inner = innermost(estimator)
    name = type(inner).__name__
    if not getattr(inner, "_fusable", ()):
        return (
            f"{name} is none of MultiTaskNetRegressor, MultiTaskNetClassifier and "
            "MixedTaskNet, alone, at the end of a Pipeline or inside a "
            "TransformedTargetRegressor."
        )
    if inner.skorch_callbacks:
        return "skorch_callbacks would see the networks of all candidates as one net."
    if getattr(inner, "_skl_callbacks", None):
        return "its callbacks watch fits one by one; set them on the search."
    return None


def _checked(estimator, X, y, task=None, sample_weight=None):
    return check_task_data(estimator, X, y, task, sample_weight, kind=estimator._kind)


def _fit_alone(estimator, X, y, train, params):
    start = perf_counter()
    n_samples = _n_samples(X)
    params = {n: own_rows(value, train, n_samples) for n, value in params.items()}
    y = () if y is None else (take(y, train),)
    result = Outcome.of(estimator.fit, take(X, train), *y, **params)
    return result, perf_counter() - start


def _seed_key(random_state):
    if isinstance(random_state, np.random.RandomState):
        name, keys, *rest = random_state.get_state()
        return (name, keys.tobytes(), *rest)
    return random_state


def _n_samples(X):
    return X.shape[0] if hasattr(X, "shape") else len(X)
