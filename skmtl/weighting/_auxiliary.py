"""Main tasks, and others that may only help them."""

import numpy as np
import torch

from ._gramian import GramianModule, GramianWeighting


class Auxiliary(GramianWeighting):
    r"""Learn for the main tasks; the others count as far as they agree with these.

    The gradients of the main tasks count fully. Any other counts with the cosine
    between it and the sum of the main ones, and not at all where that is negative. So
    no auxiliary task works against the main ones to first order.

    Parameters
    ----------
    main : str, int or list
        The main tasks, by name: a column of y or an id of a row task. Columns of an
        array are named by their numbers.
    gradients : {"features", "parameters"}, default="features"
        Where gradients are compared; see :class:`PCGrad`.
    update_every : int, default=1
        Steps from one computation of the weights to the next; they are held between.

    See Also
    --------
    UPGrad : Takes all tasks for main tasks.
    HeadRates : Leaves the shared part alone.

    Notes
    -----
    ``task_weights`` multiply these weights. Priority-constrained descent, the method of
    another library for a like purpose, is the reverse: it follows the primary gradient
    as far as every secondary task still gains.

    References
    ----------
    .. [1] Y. Du, W. M. Czarnecki, S. M. Jayakumar, M. Farajtabar, R. Pascanu, B.
       Lakshminarayanan (2018). Adapting Auxiliary Losses Using Gradient Similarity.
       Section 3, the weighted version. https://arxiv.org/abs/1812.02224

    Examples
    --------
    >>> from skmtl.weighting import Auxiliary
    >>> Auxiliary(main=["yield"])
    Auxiliary(main=['yield'])
    """

    _parameter_constraints = {
        **GramianWeighting._parameter_constraints,
        "main": [str, int, np.integer, list, tuple],
    }

    def __init__(self, main, *, gradients="features", update_every=1):
        super().__init__(gradients=gradients, update_every=update_every)
        self.main = main

    def build(self, shape, streams=None):
        """Make the module.

        Parameters
        ----------
        shape : BankShape
            Sizes.
        streams : Streams, optional
            Unused.

        Returns
        -------
        module : WeightingModule
            Knows the main tasks by position.
        """
        return AuxiliaryModule(self, shape, streams)

    def _positions(self, shape):
        """Find the main tasks among all."""
        named = list(self.main) if isinstance(self.main, (list, tuple)) else [self.main]
        names = list(range(shape.n_tasks))
        if shape.task_names is not None:
            names = list(shape.task_names)
        unknown = [name for name in named if name not in names]
        if unknown or not named:
            found = f"{unknown[0]!r}, which is no task" if named else "none"
            raise ValueError(
                f"Auxiliary(main=...) must name main tasks, and names {found}. The "
                f"tasks are {names[:10]}."
            )
        return [names.index(name) for name in named]


class AuxiliaryModule(GramianModule):
    """The module that :class:`Auxiliary` builds.

    Parameters
    ----------
    choice : Auxiliary
        Hyperparameters.
    shape : BankShape
        Sizes.
    streams : Streams, optional
        Unused.
    """

    def __init__(self, choice, shape, streams=None):
        super().__init__(choice, shape, streams)
        main = torch.zeros(shape.n_networks, shape.n_tasks, dtype=torch.bool)
        main[:, choice._positions(shape)] = True
        self.register_buffer("main", main)

    def solve(self, gramian, losses, present, networks):
        """Let auxiliary tasks count by their cosine.

        Parameters
        ----------
        gramian : ndarray of shape (n, n_tasks, n_tasks)
            Inner products of gradients.
        losses : ndarray of shape (n, n_tasks)
            Not needed.
        present : ndarray of shape (n, n_tasks), bool
            Absent tasks take no part.
        networks : ndarray of shape (n,), int
            Whose main tasks are read.

        Returns
        -------
        weights : ndarray of shape (n, n_tasks)
            One for main tasks, the cosine or zero for others.
        """
        main = self.read("main", networks)
        along = (gramian @ main[..., None].astype(float))[..., 0]
        square = gramian.diagonal(axis1=1, axis2=2)
        size = np.sqrt(square * (main * along).sum(1, keepdims=True).clip(0.0))
        cosine = np.divide(along, size, out=np.zeros_like(along), where=size > 0)
        return np.where(main, 1.0, np.clip(cosine, 0.0, 1.0))
