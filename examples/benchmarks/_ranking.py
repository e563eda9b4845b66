"""Models over many tables: ranks, ratios to the best, wins, and a picture of them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from _report import print_table
from scipy.stats import rankdata, studentized_range

N_BOOTSTRAP = 2000


@dataclass(frozen=True)
class Ranking:
    """Mean errors of models on tables.

    Parameters
    ----------
    errors : DataFrame of shape (n_tables, n_models)
        Lower is better; NaN where a model has none.
    ours : str
        The column that is compared with the best of the others.
    """

    errors: pd.DataFrame
    ours: str

    @property
    def peers(self):
        return self.errors.drop(columns=self.ours)

    def ratios(self):
        """Divide our error by that of the best peer, by table."""
        return (self.errors[self.ours] / self.peers.min(axis=1)).dropna()

    def geometric_mean(self, seed=0):
        """Average the ratios, with a 95 % interval by bootstrap over tables."""
        logs = np.log(self.ratios().to_numpy())
        rng = np.random.default_rng(seed)
        drawn = rng.choice(logs, (N_BOOTSTRAP, len(logs))).mean(axis=1)
        low, high = np.quantile(drawn, (0.025, 0.975))
        return tuple(np.exp((logs.mean(), low, high)))

    def of_all_tables(self):
        """Keep the models that have an error on every table."""
        return self.errors.dropna(axis=1)

    def ranks(self):
        """Rank the models that have every table, 1 is best, by table."""
        errors = self.of_all_tables()
        ranks = rankdata(errors.to_numpy(), axis=1)
        return pd.DataFrame(ranks, errors.index, errors.columns)

    def critical_difference(self, alpha=0.05):
        """Mean ranks closer than this may be luck (Nemenyi's test).

        References
        ----------
        .. [1] J. Demsar (2006). Statistical Comparisons of Classifiers over Multiple
           Data Sets. JMLR 7, section 3.2.2.
        """
        n_tables, n_models = self.of_all_tables().shape
        q = studentized_range.ppf(1 - alpha, n_models, np.inf) / np.sqrt(2)
        return q * np.sqrt(n_models * (n_models + 1) / (6 * n_tables))


def report_ranking(ranking, target_errors, seconds):
    """Print one line a model, then errors and ratios by table.

    Parameters
    ----------
    ranking : Ranking
        Of mean errors of tables.
    target_errors : DataFrame of shape (n_targets, n_models)
        The errors that were averaged, for wins by target.
    seconds : DataFrame of shape (n_tables, n_models)
        Fit times.
    """
    _report_models(ranking, target_errors)
    report_ratios(ranking, seconds, "best peer")


def report_ratios(ranking, seconds, rival):
    """Print errors, times and the ratio to the best of the others by table.

    Parameters
    ----------
    ranking : Ranking
        Of mean errors of tables.
    seconds : DataFrame of shape (n_tables, n_models)
        Fit times.
    rival : str
        What the best of the others is called.
    """
    errors, ratios = ranking.errors, ranking.ratios()
    best = ranking.peers.dropna(how="all").idxmin(axis=1)
    lines = [
        [table, *map(_number, row), best.get(table, "-"), _number(ratios.get(table))]
        for table, row in zip(errors.index, errors.to_numpy(), strict=True)
    ]
    print_table(["table", *errors, rival, "ratio"], lines)
    print("seconds a fit:")
    lines = [[t, *(f"{s:.1f}" for s in row)] for t, *row in seconds.itertuples()]
    print_table(["table", *seconds], lines)
    mean, low, high = ranking.geometric_mean()
    print(
        f"{ranking.ours} / {rival} of each table: geometric mean {mean:.3f}, 95 % "
        f"interval {low:.3f} to {high:.3f} over {len(ratios)} tables"
    )


def _report_models(ranking, target_errors):
    errors = ranking.errors
    mean_rank = ranking.ranks().mean()
    wins = errors.idxmin(axis=1).value_counts()
    target_wins = target_errors.idxmin(axis=1).value_counts()
    ours_wins = target_errors.lt(target_errors[ranking.ours], axis=0)
    lines = []
    for model in errors:
        ratio = np.exp(np.log(errors[ranking.ours] / errors[model]).mean())
        lines.append(
            [
                model,
                _number(mean_rank.get(model)),
                f"{wins.get(model, 0)} of {errors[model].count()}",
                f"{target_wins.get(model, 0)} of {target_errors[model].count()}",
                ours_wins[model].sum(),
                f"{ratio:.3f}",
            ]
        )
    head = ["model", "mean rank", "tables won", "targets won"]
    head += [f"targets below {ranking.ours}", f"{ranking.ours} / it"]
    # Models that lack a table have no rank and come last.
    print_table(head, sorted(lines, key=lambda line: (line[1] == "-", line[1])))


def draw_ranking(ranking, path):
    """Draw mean ranks on a line, and bars over models that luck may have ordered."""
    from matplotlib.figure import Figure

    ranks = ranking.ranks().mean().sort_values()
    width = ranking.critical_difference()
    figure = Figure(figsize=(8, 0.5 + 0.3 * len(ranks)), layout="constrained")
    axes = figure.subplots()
    for i, (model, rank) in enumerate(ranks.items()):
        axes.plot([rank, ranks.max() + 0.2], [-i, -i], color="0.8", linewidth=1)
        axes.plot(rank, -i, "o", color="C1" if model == ranking.ours else "C0")
        axes.text(ranks.max() + 0.3, -i, f"{model} ({rank:.2f})", va="center")
    for offset, (first, last) in enumerate(_cliques(ranks.to_numpy(), width)):
        x = [ranks.iloc[first] - 0.05, ranks.iloc[last] + 0.05]
        axes.plot(x, [0.6 + 0.25 * offset] * 2, color="0.3", linewidth=2)
    axes.set(yticks=[], xlim=(0.8, ranks.max() + 3))
    axes.set_xlabel(f"mean rank; differences below {width:.2f} may be luck")
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, dpi=150)


def _cliques(ranks, width):
    """List the longest runs of sorted ranks that lie within a width."""
    ends = [np.flatnonzero(ranks <= rank + width)[-1] for rank in ranks]
    runs, furthest = [], -1
    for first, last in enumerate(ends):
        if last > first and last > furthest:
            runs.append((first, last))
        furthest = max(furthest, last)
    return runs


def _number(value):
    return "-" if value is None or np.isnan(value) else f"{value:.3f}"
