"""The simplex of weights."""

import torch


def on_simplex(points, counted):
    """Project on the weights that are not negative and sum to one.

    Parameters
    ----------
    points : Tensor of shape (n_networks, n_tasks)
        What to project.
    counted : Tensor of shape (n_networks, n_tasks), bool
        Tasks that may have a weight.

    Returns
    -------
    weights : Tensor of shape (n_networks, n_tasks)
        The nearest ones; zero for a network without counted tasks.

    References
    ----------
    .. [1] J. Duchi, S. Shalev-Shwartz, Y. Singer, T. Chandra (2008). Efficient
       Projections onto the l1-Ball for Learning in High Dimensions. ICML, algorithm 1.
    """
    # So far below the others that it cannot come up, and yet a number.
    low = points.masked_fill(~counted, torch.inf).amin(-1, keepdim=True) - 2
    low = torch.where(low.isfinite(), low, 0.0)
    points = torch.where(counted, points, low)
    ordered = points.sort(-1, descending=True).values
    ranks = torch.arange(1, points.shape[-1] + 1, device=points.device)
    excess = ordered.cumsum(-1) - 1
    positive = ordered - excess / ranks > 0
    last = positive.sum(-1, keepdim=True).clamp(min=1) - 1
    shift = excess.gather(-1, last) / (last + 1)
    return torch.where(counted, (points - shift).clamp(min=0), 0.0)
