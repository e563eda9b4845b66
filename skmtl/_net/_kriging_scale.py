"""What makes rows near: a relevance of each input, learned from held-out errors."""

from __future__ import annotations

import numpy as np
import torch

from ._kriging import TIE, UNKNOWN, distances, nearest

_N_STEPS = 100
# Rows that a step looks at, fewer where there are many to compare them to.
_STEP_ROWS, _LEAST_STEP_ROWS = 256, 128
_STEP_PAIRS = 2**19
_STEP_NEIGHBORS = 16
_LR = 0.1
# With fewer rows an input, distances stay as they are.
_ROWS_AN_INPUT = 5


def learned_scale(inputs, cells, folds, rng):
    """Learn how much each input counts in distances.

    The relevances of the inputs descend the error of kriging on rows that are drawn for
    each step (automatic relevance determination). Their logarithms have a standard
    normal prior, so that few rows leave distances as they are. Range and nugget are
    learned in the second half of the steps only: where nothing is near yet, they would
    rather make the correction vanish. All columns count alike; range and nugget of each
    column are chosen afterwards.

    Parameters
    ----------
    inputs : Tensor of shape (n_rows, n_inputs)
        Places of the rows.
    cells : HeldOutCells
        What was predicted for them.
    folds : Folds
        Who held them out.
    rng : Generator
        Draws rows.

    Returns
    -------
    scale : Tensor of shape (n_inputs,)
        Of the inputs, so that the range is 1.
    """
    rows, errors = _largest_block(cells)
    inputs, folds = inputs[rows], folds.take(rows)
    n_rows, n_inputs = inputs.shape
    log_scale = inputs.new_zeros(n_inputs)
    log_range, log_nugget = inputs.new_ones(()), inputs.new_zeros(())
    if n_rows >= _ROWS_AN_INPUT * n_inputs and errors.shape[1]:
        log_scale = _serial_relevance(inputs, errors, rng).requires_grad_()
        errors = torch.from_numpy(errors)
        parameters = [log_scale]
        n_drawn = np.clip(
            min(_STEP_PAIRS // n_rows, n_rows // 2), _LEAST_STEP_ROWS, _STEP_ROWS
        )
        for step in range(_N_STEPS):
            if step % (_N_STEPS // 2) == 0:
                if step:
                    parameters += [
                        log_range.requires_grad_(),
                        log_nugget.requires_grad_(),
                    ]
                optimizer = torch.optim.Adam(parameters, lr=_LR)
            progress = 2 * step / _N_STEPS % 1
            for group in optimizer.param_groups:
                group["lr"] = _LR * (1 + np.cos(np.pi * progress)) / 2
            drawn = torch.from_numpy(rng.permutation(n_rows)[:n_drawn])
            left = _left_over(
                log_scale, log_range, log_nugget, drawn, inputs, errors, folds
            )
            loss = left.log() + log_scale.square().sum() / n_rows
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    scale = log_scale.detach().exp()
    points = inputs * scale
    second = nearest(points[:_STEP_ROWS], points, min(2, n_rows))[0][:, -1]
    gaps = (points[second] - points[:_STEP_ROWS]).norm(dim=1)
    return scale / (_reach(gaps) * log_range.detach().exp())


def _reach(gaps):
    """Take the usual distance to the nearest row, but for rows that are equal."""
    gaps = gaps[gaps > np.sqrt(TIE)]
    return gaps.median() if len(gaps) else torch.ones(())


def _serial_relevance(inputs, errors, rng):
    """Guess relevances from how alike errors are in rows that follow in an input.

    Relevances that start alike stay where they are when errors are alike only in rows
    that are near in two inputs out of twenty.
    """
    n_rows, n_inputs = inputs.shape
    guess = inputs.new_zeros(n_inputs)
    if errors.shape[1]:
        shuffled = rng.permutation(n_rows)  # or ties would be in the order of the table
        for i, column in enumerate(inputs.T):
            order = shuffled[np.argsort(column.numpy()[shuffled], kind="stable")]
            alike = (errors[order[1:]] * errors[order[:-1]]).mean()
            # About normal with variance 1 where they are independent.
            guess[i] = np.log1p(max(np.sqrt(n_rows) * alike - 1, 0))
    return guess


def _largest_block(cells):
    """Find rows and columns without gaps; give their errors, of unit variance."""
    known = cells.weight > 0
    order = np.argsort(-known.sum(axis=0), kind="stable")
    complete = np.cumprod(known[:, order], axis=1).sum(axis=0)
    n_columns = 1 + np.argmax(complete * np.arange(1, len(order) + 1))
    columns = np.sort(order[:n_columns])
    rows = np.flatnonzero(known[:, columns].all(axis=1))
    errors = cells.take(rows).errors()
    errors = np.concatenate([errors[:, cells.slices[j]] for j in columns], axis=1)
    spread = errors.std(axis=0)
    return rows, errors[:, spread > 0] / spread[spread > 0]


def _left_over(log_scale, log_range, log_nugget, rows, inputs, errors, folds):
    """Compute what share of the squared errors of some rows kriging leaves."""
    with torch.no_grad():
        points = inputs * log_scale.exp()
        excluded = folds.exclude(rows, slice(None))
        n_used = min(_STEP_NEIGHBORS, len(inputs))
        index, known = nearest(points[rows], points, n_used, excluded)
    offsets = (inputs[index] - inputs[rows, None]) * log_scale.exp()
    # The root of 0 has no slope; rows that are equal are all but equal here.
    away, between = distances(offsets, least=1e-12)
    range_ = _reach(away[:, 0]) * log_range.exp()
    away, between = away / range_, between / range_
    own = log_nugget.exp() + torch.where(known, 0.0, UNKNOWN)
    covariance = torch.exp(-between) + torch.diag_embed(own)
    weights = torch.linalg.solve(covariance, torch.exp(-away))
    shift = (weights.unsqueeze(1) @ errors[index]).squeeze(1)
    truth = errors[rows]
    least = 1e-12  # of sums of squares, which a column of rare errors may lack
    left = (truth - shift).square().sum() + least
    return left / (truth.square().sum() + least)
