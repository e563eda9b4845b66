"""Sinusoids: the first example of MAML, for every learner of regression tasks.

Protocol F (Finn et al. 2017): amplitude in [0.1, 5], phase in [0, pi], x in [-5, 5], no
noise, a network of 1-40-40-1, trained with 10 support rows and one inner step, tested
with 5 on tasks that training never saw, after 1, 5 and 10 steps. The table printed in
the paper is 0.67, 0.38 and 0.35. Its tasks are drawn without end; here they come from a
pool of 20,000 of 40 rows.

Protocol M (Li et al. 2017, Meta-SGD): the frequency lies in [0.8, 1.2], too.

Queries are 100 rows of each of 600 tasks; intervals are of the mean over tasks.
"""

import numpy as np
from _report import print_table

from skmtl import MAMLRegressor, MetaRidgeRegressor
from skmtl.architecture import HardSharing
from skmtl.datasets import make_sinusoid_tasks
from skmtl.encoding import Raw, Standard

N_TEST, N_QUERY = 600, 100
BAND = 0.9
NORMAL_QUANTILE = 1.6449  # of a two-sided band of 90 %


def draw(n_tasks, n_rows, seed, *, frequencies=None, noise=0.0):
    """Draw tasks; with a range of frequencies those of protocol M."""
    X, y, task, oracle = make_sinusoid_tasks(
        n_tasks, n_rows, noise=noise, return_oracle=True, random_state=seed
    )
    if frequencies is None:
        return X, y, task
    rng = np.random.default_rng(seed)
    frequency = rng.uniform(*frequencies, size=n_tasks)
    wave = np.sin(frequency[task] * X[:, 0] + oracle.phase[task])
    return X, oracle.amplitude[task] * wave, task


class TestTasks:
    """Tasks that training never saw, with up to 20 support rows each."""

    def __init__(self, seed=1, **kwargs):
        self.X, self.y, self.task = draw(N_TEST, 20 + N_QUERY, seed, **kwargs)
        self.row = np.tile(np.arange(20 + N_QUERY), N_TEST)

    def support(self, n_shots):
        rows = self.row < n_shots
        return self.X[rows], self.y[rows], self.task[rows]

    def query(self):
        rows = self.row >= 20
        return self.X[rows], self.y[rows], self.task[rows]

    def errors(self, model, n_shots, **options):
        """Compute the mean squared error of each task after adaptation."""
        X, y, task = self.support(n_shots)
        adapted = model.adapt(X, y, task=task, **options)
        X, y, task = self.query()
        squares = (adapted.predict(X, task=task) - y) ** 2
        return squares.reshape(N_TEST, -1).mean(axis=1)

    def coverage(self, model, n_shots):
        """Compute the share of labels in the normal band of 90 %."""
        X, y, task = self.support(n_shots)
        adapted = model.adapt(X, y, task=task)
        X, y, task = self.query()
        mean, std = adapted.predict(X, task=task, return_std=True)
        return np.mean(np.abs(y - mean) <= NORMAL_QUANTILE * std)


def interval(errors):
    """Write a mean with its interval of 95 %."""
    half = 1.96 * errors.std(ddof=1) / np.sqrt(len(errors))
    return f"{errors.mean():.4f} +- {half:.4f}"


def run_maml(n_iter):
    """Protocol F for MAML: trained with 10 rows and one step, tested with 5."""
    model = MAMLRegressor(
        HardSharing((40, 40)),
        Raw(),
        n_support=10,
        n_query=10,
        n_inner_steps=1,
        inner_lr=0.03,
        max_iter=n_iter,
        early_stopping=False,
        random_state=0,
    )
    X, y, task = draw(20_000, 40, 0)
    model.fit(X, y, task=task)
    tests = TestTasks()
    errors = {k: tests.errors(model, 5, n_steps=k) for k in (1, 5, 10)}
    paper = {1: 0.67, 5: 0.38, 10: 0.35}
    print_table(
        ["steps at 5 rows", "MSE", "median task", "paper"],
        [[k, interval(e), f"{np.median(e):.4f}", paper[k]] for k, e in errors.items()],
    )
    return {k: e.mean() for k, e in errors.items()}


def run_ridge(n_iter):
    """One closed-form model for all numbers of rows, and its band."""
    rows, means, coverages = [], {}, {}
    for noise in (0.0, 0.3):
        model = MetaRidgeRegressor(
            HardSharing((40, 40)), Standard(), max_iter=n_iter, lr=0.003, random_state=0
        )
        X, y, task = draw(5_000, 40, 0, noise=noise)
        model.fit(X, y, task=task)
        tests = TestTasks(noise=noise)
        for k in (5, 10):
            errors = tests.errors(model, k)
            coverage = tests.coverage(model, k)
            rows.append([noise, k, interval(errors), f"{coverage:.3f}"])
            means[noise, k], coverages[noise, k] = errors.mean(), coverage
    print_table(["noise", "rows", "MetaRidge MSE", "in the 90 % band"], rows)
    return means, coverages


def run_meta_sgd(n_iter):
    """Protocol M: learned inner rates against fixed ones, at 5 rows and one step."""
    X, y, task = draw(20_000, 40, 0, frequencies=(0.8, 1.2))
    tests = TestTasks(frequencies=(0.8, 1.2))
    rows, means = [], {}
    for name, learned in (("MAML", False), ("Meta-SGD", "weight")):
        model = MAMLRegressor(
            HardSharing((40, 40)),
            Raw(),
            n_support=5,
            n_query=10,
            n_inner_steps=1,
            inner_lr=0.02,
            learn_inner_lr=learned,
            max_iter=n_iter,
            early_stopping=False,
            random_state=0,
        )
        model.fit(X, y, task=task)
        found = {k: tests.errors(model, k) for k in (5, 10, 20)}
        rows.append([name, *map(interval, found.values())])
        means[name] = {k: e.mean() for k, e in found.items()}
    rows.append(["paper: MAML", "1.13 +- 0.18", "0.85 +- 0.14", "0.71 +- 0.12"])
    rows.append(["paper: Meta-SGD", "0.90 +- 0.16", "0.63 +- 0.12", "0.50 +- 0.10"])
    print_table(["trained at 5 rows", "5 rows", "10 rows", "20 rows"], rows)
    return means


def check(quick=False):
    """Run all parts, and compare with the floors."""
    scale = 20 if quick else 1
    maml = run_maml(70_000 // scale)
    ridge, coverage = run_ridge(4_000 // scale)
    sgd = run_meta_sgd(40_000 // scale)
    if quick:
        return
    assert maml[1] <= 0.75, f"MAML after one step: {maml[1]:.3f}"
    assert max(maml[5], maml[10]) <= maml[1], "more steps are worse than one"
    assert ridge[0.0, 5] <= 0.045, f"MetaRidge at 5 rows: {ridge[0.0, 5]:.4f}"
    assert ridge[0.0, 10] <= 0.015, f"MetaRidge at 10 rows: {ridge[0.0, 10]:.4f}"
    assert sgd["Meta-SGD"][5] < sgd["MAML"][5], "learned rates are no better"
    by_noise = {n: np.mean([coverage[n, k] for k in (5, 10)]) for n in (0.0, 0.3)}
    for noise, found in by_noise.items():
        assert abs(found - BAND) <= 0.03, f"the band at noise {noise} holds {found:.3f}"
