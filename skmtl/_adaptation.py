"""New heads on frozen networks."""

from dataclasses import replace

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, RidgeCV

from ._net import ColumnLosses
from ._tasks import (
    TaskEncoder,
    check_sample_weight,
    drop_unused_classes,
    encode_columns,
    encode_known,
    frame_library,
    label_columns,
    task_kinds,
)
from .loss import CrossEntropy, SquaredError, resolve

# Strengths tried by leave-one-out for a new column task; features are of order one.
_RIDGE_STRENGTHS = np.logspace(-3, 4, 15)


def adapted_net(net, table, y, sample_weight, kind, task_types="auto", task=None):
    """Make a net whose heads are fitted to new labels, on the same frozen trunk.

    Parameters
    ----------
    net : JointNet
        Fitted. When it knows row tasks, the rows are those of one new group.
    table : ndarray of shape (n_rows, n_features)
        Raw rows.
    y : array-like of shape (n_rows,) or (n_rows, n_columns)
        New labels.
    sample_weight : array-like of shape (n_rows,) or None
        Weights.
    kind : {"number", "class", "mixed"}
        What the labels are.
    task_types : "auto", list or dict, default="auto"
        Types of the new columns when the kind is mixed.
    task : int, optional
        Number by which the architecture knows the new group, if it does.

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
    row_tasks = net.blueprint.row_tasks
    if row_tasks:
        targets, losses = net.blueprint.targets, net.blueprint.losses
        labels = _labels_of_known_columns(targets, names, columns)
        targets.check(labels, losses)
    else:
        kinds = [kind] * len(names)
        if kind == "mixed":
            kinds = task_kinds(y, names, columns, task_types)
        labels, classes = encode_columns(names, columns, kinds)
        labels, classes = drop_unused_classes(labels, classes, weight)
        targets = TaskEncoder(names, classes, ndim, frame_library(y))
        losses = _losses_of_new_columns(net.blueprint, names, kinds)
    weight = np.where(np.isnan(labels), 0.0, weight)
    empty = np.flatnonzero(~weight.any(axis=0))
    if len(empty):
        raise ValueError(
            f"Task {names[empty[0]]!r} has no labels in y; adapt needs at least one."
        )
    if not row_tasks:
        transforms = _transforms_of_new_columns(net.blueprint.targets, kinds)
        targets.fit(labels, weight, losses, transforms)
    encoded = targets.encode(labels)
    blueprint = replace(
        net.blueprint,
        architecture=net.blueprint.architecture.for_new_heads(net.module_.shape),
        targets=targets,
        losses=losses,
        n_tasks=len(names),
        row_tasks=False,
        dtype="float64",
    )
    if blueprint.architecture.learns_tasks:
        task = net.blueprint.n_tasks if task is None else task
        return net.with_learned_task(blueprint, table, encoded, weight, task), names
    features = net.features(table)
    if row_tasks:
        heads = _deviating_heads(net, features, encoded, weight)
    else:
        heads = _free_heads(losses, features, encoded, weight, targets)
    return net.with_heads(blueprint, *heads), names


def _labels_of_known_columns(targets, names, columns):
    if len(names) != len(targets.classes):
        raise ValueError(
            f"y has {len(names)} columns; the tasks known have {len(targets.classes)}."
        )
    return encode_known(names, columns, targets.classes)


def _losses_of_new_columns(blueprint, names, kinds):
    """Give new columns the loss of the known ones, where these agree on one."""
    losses = []
    for kind in kinds:
        known = [loss for loss in blueprint.losses if loss.kind == kind]
        agree = len({repr(loss.get_params()) + type(loss).__name__ for loss in known})
        losses.append(known[0] if agree == 1 else None)
    return resolve(losses, names, kinds)


def _transforms_of_new_columns(known, kinds):
    """Give new numbers the transform of the known ones, where these agree on one."""
    pairs = zip(known.transforms, known.classes, strict=True)
    used = [transform for transform, classes in pairs if classes is None]
    chosen = [None if transform is None else transform.transform for transform in used]
    one = chosen[0] if len(set(map(repr, chosen))) == 1 else None
    return [one if kind == "number" else None for kind in kinds]


def _free_heads(losses, features, targets, weight, encoder):
    """Regress each column on the features of each network."""
    coefs, biases = [], []
    for inputs in features:
        heads = [
            _free_head(loss, inputs, targets[:, j], weight[:, j], encoder.n_classes[j])
            for j, loss in enumerate(losses)
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
    if isinstance(loss, CrossEntropy):
        model = LogisticRegression(max_iter=1000)
        model.fit(inputs, target, sample_weight=weight)
        return model.coef_.T, model.intercept_
    if n_classes is not None:
        return _convex_head(loss, n_classes, inputs, target, weight, constant, 0.5)
    model = RidgeCV(_RIDGE_STRENGTHS).fit(inputs, target, sample_weight=weight)
    if isinstance(loss, SquaredError):
        return model.coef_[:, None], np.array([model.intercept_])
    # The strength that squared errors ask for serves other losses well enough.
    return _convex_head(loss, None, inputs, target, weight, constant, model.alpha_)


def _convex_head(loss, n_classes, inputs, target, weight, constant, strength):
    """Minimise the loss of one column plus a ridge that leaves the intercept free."""
    start = np.zeros((inputs.shape[1] + 1, len(constant)))
    start[-1] = constant
    ridge = np.append(np.full(inputs.shape[1], strength), 0.0)
    moved = start + _convex_deviation(
        ColumnLosses([loss], [n_classes]).eval(),
        np.append(inputs, np.ones((len(inputs), 1)), axis=1),
        target[:, None],
        weight[:, None],
        start,
        ridge,
    )
    return moved[:-1], moved[-1]


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
        if all(isinstance(loss, SquaredError) for loss in net.blueprint.losses):
            solved = _ridge_deviation(
                inputs[k], targets, weight, start[k], shrinkage[k]
            )
        else:
            losses = net.module_.losses.of_networks([k])
            ridge = np.full(inputs.shape[2], shrinkage[k])
            solved = _convex_deviation(
                losses, inputs[k], targets, weight, start[k], ridge
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


def _convex_deviation(losses, inputs, targets, weight, start, ridge):
    """Minimise the loss plus the ridge by L-BFGS; `ridge` is a strength a feature."""
    inputs, targets, weight, start = (
        torch.from_numpy(a)[None] for a in (inputs, targets, weight, start)
    )
    ridge = torch.from_numpy(ridge)[None, :, None]
    deviation = torch.zeros_like(start, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [deviation], max_iter=200, line_search_fn="strong_wolfe", tolerance_change=1e-12
    )

    def closure():
        optimizer.zero_grad()
        cells = losses.cells(inputs @ (start + deviation), targets)
        total = (cells * weight).sum() + (ridge * deviation.square()).sum()
        total.backward()
        return total

    optimizer.step(closure)
    return deviation.detach()[0].numpy()
