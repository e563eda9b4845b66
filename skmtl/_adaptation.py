"""New heads on frozen networks."""

from dataclasses import replace

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, RidgeCV

from ._moments import weighted_moments
from ._tasks import (
    TaskEncoder,
    check_sample_weight,
    class_labels,
    label_columns,
    number_labels,
)

# Strengths tried by leave-one-out for a new column task; features are of order one.
_RIDGE_STRENGTHS = np.logspace(-3, 4, 15)


def adapted_net(net, table, y, sample_weight, kind, row_tasks):
    """Make a net whose heads are fitted to new labels, on the same frozen trunk.

    Parameters
    ----------
    net : JointNet
        Fitted.
    table : ndarray of shape (n_rows, n_features)
        Raw rows.
    y : array-like of shape (n_rows,) or (n_rows, n_columns)
        New labels.
    sample_weight : array-like of shape (n_rows,) or None
        Weights.
    kind : {"number", "class"}
        What the labels are.
    row_tasks : bool
        Whether the rows are a new group of the tasks that the net knows.

    Returns
    -------
    net : JointNet
        For column tasks, with linear heads.
    names : list
        Of the new tasks.
    """
    names, columns, ndim = label_columns(y)
    if len(columns[0]) != len(table):
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            f"{[len(table), len(columns[0])]}"
        )
    weight = check_sample_weight(sample_weight, len(table), len(names), names)
    if row_tasks:
        targets = net.blueprint.targets
        if len(names) != len(targets.classes):
            raise ValueError(
                f"y has {len(names)} columns; the tasks known have "
                f"{len(targets.classes)}."
            )
        labels = _encode(names, columns, kind, targets.classes)
    else:
        targets, labels = _new_targets(names, columns, kind, ndim, weight)
    weight = np.where(np.isnan(labels), 0.0, weight)
    empty = np.flatnonzero(~weight.any(axis=0))
    if len(empty):
        raise ValueError(
            f"Task {names[empty[0]]!r} has no labels in y; adapt needs at least one."
        )
    encoded = targets.encode(labels)
    features = net.features(table)
    if row_tasks:
        heads = _deviating_heads(net, features, encoded, weight)
    else:
        heads = _free_heads(net.blueprint.loss, features, encoded, weight, targets)
    blueprint = replace(
        net.blueprint,
        targets=targets,
        n_tasks=len(names),
        row_tasks=False,
        dtype="float64",
    )
    return net.with_heads(blueprint, *heads), names


def _encode(names, columns, kind, classes):
    if kind == "number":
        labels = [number_labels(n, c) for n, c in zip(names, columns, strict=True)]
    else:
        triples = zip(names, columns, classes, strict=True)
        labels = [class_labels(n, c, known)[0] for n, c, known in triples]
    return np.stack(labels, axis=1)


def _new_targets(names, columns, kind, ndim, weight):
    labels = _encode(names, columns, kind, [None] * len(names))
    classes = [None] * len(names)
    if kind == "class":
        pairs = zip(names, columns, strict=True)
        classes = [class_labels(n, c)[1] for n, c in pairs]
    targets = TaskEncoder(classes, ndim)
    return targets.fit(
        *weighted_moments(labels, np.where(np.isnan(labels), 0, weight))
    ), labels


def _free_heads(loss, features, targets, weight, encoder):
    """Regress each column on the features of each network."""
    coefs, biases = [], []
    for inputs in features:
        heads = [
            _free_head(loss, inputs, targets[:, j], weight[:, j], encoder.n_classes[j])
            for j in range(targets.shape[1])
        ]
        coefs.append(np.concatenate([coef for coef, _ in heads], axis=1))
        biases.append(np.concatenate([bias for _, bias in heads]))
    return np.stack(coefs), np.stack(biases)


def _free_head(loss, inputs, target, weight, n_classes):
    used = weight > 0
    inputs, target, weight = inputs[used], target[used], weight[used]
    constant = loss.initial_bias(target, weight, n_classes)
    if len(np.unique(target)) < 2:
        return np.zeros((inputs.shape[1], len(constant))), constant
    if n_classes is None:
        model = RidgeCV(_RIDGE_STRENGTHS).fit(inputs, target, sample_weight=weight)
        return model.coef_[:, None], np.array([model.intercept_])
    model = LogisticRegression(max_iter=1000).fit(inputs, target, sample_weight=weight)
    return model.coef_.T, model.intercept_


def _deviating_heads(net, features, targets, weight):
    """Move the shared head by a deviation, shrunk as in training."""
    coef, bias, shrinkage = (
        part.detach().cpu().double().numpy()
        for part in net.module_.architecture.pooled_head()
    )
    ones = np.ones((*features.shape[:2], 1))
    inputs = np.concatenate([features, ones], axis=-1)
    start = np.concatenate([coef, bias[:, None]], axis=1)
    moved = []
    for k in range(len(inputs)):
        if all(n is None for n in net.blueprint.targets.n_classes):
            solved = _ridge_deviation(
                inputs[k], targets, weight, start[k], shrinkage[k]
            )
        else:
            solved = _convex_deviation(
                net.module_.losses, inputs[k], targets, weight, start[k], shrinkage[k]
            )
        moved.append(start[k] + solved)
    moved = np.stack(moved)
    return moved[:, :-1], moved[:, -1]


def _ridge_deviation(inputs, targets, weight, start, shrinkage):
    """Minimise sum_i w_i (y_i - f_i (h + d))^2 + shrinkage |d|^2, by column."""
    residual = targets - inputs @ start
    columns = []
    for j in range(targets.shape[1]):
        weighted = inputs * weight[:, [j]]
        # The smaller of the two systems, by the push-through identity.
        if len(inputs) < inputs.shape[1] and shrinkage > 0:
            root = np.sqrt(weight[:, [j]])
            kernel = (inputs * root) @ (inputs * root).T
            kernel[np.diag_indices_from(kernel)] += shrinkage
            dual = np.linalg.solve(kernel, root[:, 0] * residual[:, j])
            columns.append((inputs * root).T @ dual)
        else:
            normal = inputs.T @ weighted
            normal[np.diag_indices_from(normal)] += max(shrinkage, 1e-10)
            columns.append(np.linalg.solve(normal, weighted.T @ residual[:, j]))
    return np.stack(columns, axis=1)


def _convex_deviation(losses, inputs, targets, weight, start, shrinkage):
    """Minimise the loss plus the ridge by L-BFGS; the problem is convex."""
    inputs, targets, weight, start = (
        torch.from_numpy(a)[None] for a in (inputs, targets, weight, start)
    )
    deviation = torch.zeros_like(start, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [deviation], max_iter=200, line_search_fn="strong_wolfe", tolerance_change=1e-12
    )

    def closure():
        optimizer.zero_grad()
        cells = losses.cells(inputs @ (start + deviation), targets)
        total = (cells * weight).sum() + shrinkage * deviation.square().sum()
        total.backward()
        return total

    optimizer.step(closure)
    return deviation.detach()[0].numpy()
