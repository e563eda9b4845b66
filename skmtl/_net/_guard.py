"""Networks of single tasks that are blended into those that share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from ._bank_net import BankNet


@dataclass(frozen=True, eq=False)
class Guard:
    """Networks that learned one column each, and how much of them is used.

    Parameters
    ----------
    net : BankNet
        The networks of one column after another; inside, as many as there are members,
        in their order.
    columns : tuple of int
        The columns.
    shares : tuple of float
        How much of the output of a column comes from its own networks, in (0, 1].
    """

    net: BankNet
    columns: tuple
    shares: tuple

    def blend(self, outputs, inputs):
        """Move the outputs of some columns towards those of their own networks.

        Parameters
        ----------
        outputs : Tensor of shape (n_members, n_rows, n_outputs)
            Of the members.
        inputs : Tensor of shape (n_members or 1, n_rows, n_inputs)
            What they read.

        Returns
        -------
        outputs : Tensor of shape (n_members, n_rows, n_outputs)
            New.
        """
        module, n_columns = self.net.module_, len(self.columns)
        if len(inputs) > 1:
            inputs = inputs.repeat(n_columns, 1, 1)
        alone = module(inputs).unflatten(0, (n_columns, -1))
        blended = outputs.clone()
        for own, column, share in zip(alone, self.columns, self.shares, strict=True):
            where = module.losses.slices[column]
            blended[..., where] = torch.lerp(
                outputs[..., where], own[..., where], share
            )
        return blended

    def take(self, index):
        """Guard some of the members.

        Parameters
        ----------
        index : sequence of int
            Their positions.

        Returns
        -------
        guard : Guard
            With copies of their networks.
        """
        n_members = len(self.net.module_.encoder.order) // len(self.columns)
        taken = [c * n_members + k for c in range(len(self.columns)) for k in index]
        return replace(self, net=self.net.take(taken))
