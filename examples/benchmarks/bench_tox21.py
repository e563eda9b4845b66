"""Twelve assays of one set of molecules: does one network serve them as well as twelve?

Question
--------
7,823 molecules were tried in twelve toxicity assays, and 17 % of the results are
missing. Does one ``MultiTaskNetClassifier`` rank the molecules of each assay as well as
a model of its own for every assay: gradient boosting, a forest, a network?

Setting
-------
mol_tox21: 119 descriptors with a few missing values, 12 binary tasks, 3 to 16 %
positive. Random 75/25 splits, three seeds. A single model is fitted on the rows that
were tried in its assay. Nobody is tuned; the forest has 500 trees and its missing
values filled with medians, the rest is default.

The score is the ROC AUC of an assay on the test rows tried in it, averaged over assays.

Reading
-------
"skmtl less it" is the paired difference over seeds with its standard error: positive
where skmtl is better. Three splits are few: a difference of two standard errors is a
hint. Random splits are easier than splits by scaffold, so compare only with figures of
random splits.

Scores are kept with ``--out FILE``, each as it comes; a later run computes what the
file lacks.
"""

from functools import cache, partial

import numpy as np
import pandas as pd
from _contest import (
    OURS,
    Contest,
    Probabilities,
    Scores,
    Split,
    parse_arguments,
    report,
    report_tasks,
    threads,
)
from _report import print_setting
from _tables import read_loader
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

METRICS = ("auc",)


# The contestants.


def net(seed):
    from skmtl import MultiTaskNetClassifier

    return MultiTaskNetClassifier(random_state=seed)


def hist_gradient_boosting(seed):
    return HistGradientBoostingClassifier(random_state=seed)


def random_forest(seed):
    forest = RandomForestClassifier(500, n_jobs=threads(), random_state=seed)
    return make_pipeline(SimpleImputer(strategy="median"), forest)


def joint(make, split, seed):
    model = make(seed).fit(split.X, split.y.to_numpy())
    columns = zip(model.predict_proba(split.X_test), model.classes_, strict=True)
    return dict(zip(split.y, map(Probabilities._make, columns), strict=True))


def single(make, X, labels, X_test, kind, seed):
    model = make(seed).fit(X, labels)
    return Probabilities(model.predict_proba(X_test), model.classes_)


JOINT = {OURS: partial(joint, net)}
SINGLE = {
    "hist_gradient_boosting": partial(single, hist_gradient_boosting),
    "random_forest": partial(single, random_forest),
    "single_nets": partial(single, net),
}


# The measurement.


def make_split(data, table, seed):
    loaded = read_loader(data).load(table)
    X = loaded["X"].astype(np.float64)
    y = pd.DataFrame(loaded["Y"].astype(np.float64), columns=loaded["target_names"])
    train, test = train_test_split(np.arange(len(X)), test_size=0.25, random_state=seed)
    kinds = dict.fromkeys(y, "class")
    return Split(X[train], y.iloc[train], X[test], y.iloc[test], kinds)


def auc(split, task, prediction):
    truth = split.y_test[task].to_numpy()
    tried = ~np.isnan(truth)
    return (roc_auc_score(truth[tried], prediction.values[tried, 1]),)


def main():
    table = "mol_tox21"
    models = [*JOINT, *SINGLE]
    arguments = parse_arguments(__doc__.split("\n")[0], models, 3, [table])
    print_setting()
    split = cache(partial(make_split, arguments.data))
    contest = Contest(METRICS, JOINT, SINGLE, split, auc)
    scores = Scores(arguments.out, METRICS, arguments.refit, arguments.tables)
    seeds = range(arguments.seeds)
    contest.run(scores, [table], arguments.models, seeds)

    by_model = report(scores, table, arguments.models, seeds)
    report_tasks(scores, table, arguments.models, seeds)
    means = {model: values.mean() for model, values in by_model.items()}
    if set(means) != set(models):
        print("The bar is for all models; this was a part.")
        return
    ours = means.pop(OURS)
    best = max(means, key=means.get)
    assert ours >= means[best], f"{ours:.4f} < {means[best]:.4f} of {best}"


if __name__ == "__main__":
    main()
