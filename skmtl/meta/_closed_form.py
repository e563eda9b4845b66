"""Bayesian linear regression on features, for many tasks at once."""

import torch


class Posterior:
    r"""The posterior of a linear head a task, and of a prior with mean zero.

    With basis :math:`\Psi` (n_rows, n_basis), residuals r and row weights w,
    the deviation of the head is the ridge solution
    :math:`v = (\Psi^T W \Psi + I)^{-1} \Psi^T W r`; its covariance is
    :math:`(\Psi^T W \Psi + I)^{-1}` times the noise variance. The smaller of the two
    systems is solved, by the identity of Woodbury.

    Parameters
    ----------
    basis : Tensor of shape (..., n_rows, n_basis)
        Features times a root of the prior covariance.
    weights : Tensor of shape (..., n_rows, n_columns)
        0 for padding and missing labels.

    Attributes
    ----------
    rotated : Tensor of shape (..., n_solves, n, n_basis)
        What the rows have taught of the covariance; see :meth:`spread`. There is one
        solve for each column, or a single one when all columns have the same weights.
    dual : bool
        Whether the system of the rows was solved.
    """

    def __init__(self, basis, weights):
        shared = weights.shape[-1] == 1 or bool((weights == weights[..., :1]).all())
        weights = weights[..., :1] if shared else weights
        # (..., n_solves, n_rows, 1)
        root = weights.mT.sqrt().unsqueeze(-1)
        self.root = root
        scaled = basis.unsqueeze(-3) * root
        n_rows, n_basis = basis.shape[-2:]
        self.dual = n_rows < n_basis
        gram = scaled @ scaled.mT if self.dual else scaled.mT @ scaled
        factor, _ = torch.linalg.cholesky_ex(gram + torch.eye(gram.shape[-1]).to(gram))
        self.scaled, self.factor = scaled, factor

    def solve(self, residuals):
        """Find the deviations.

        Parameters
        ----------
        residuals : Tensor of shape (..., n_rows, n_columns)
            Of the prior mean.

        Returns
        -------
        deviation : Tensor of shape (..., n_basis, n_columns)
            0 where a column has no rows.
        """
        columns = residuals.unsqueeze(-3)
        if self.root.shape[-3] > 1:
            columns = residuals.mT.unsqueeze(-1)
        columns = columns * self.root
        if self.dual:
            solved = torch.cholesky_solve(columns, self.factor)
            found = self.scaled.mT @ solved
        else:
            found = torch.cholesky_solve(self.scaled.mT @ columns, self.factor)
        # One solve with all columns side by side, or one a column.
        if self.root.shape[-3] > 1:
            return found.squeeze(-1).mT
        return found.squeeze(-3)

    @property
    def rotated(self):
        """What :func:`spread` needs, Tensor of shape (..., n_solves, n, n_basis)."""
        if self.dual:
            return torch.linalg.solve_triangular(self.factor, self.scaled, upper=False)
        n_basis = self.factor.shape[-1]
        identity = torch.eye(n_basis).to(self.factor).expand_as(self.factor)
        return torch.linalg.solve_triangular(self.factor, identity, upper=False)


def spread(basis, rotated, dual):
    r"""Compute the variance of predictions that comes from the head.

    Parameters
    ----------
    basis : Tensor of shape (..., n_rows, n_basis)
        Of the rows asked about.
    rotated : Tensor of shape (..., n_solves, n, n_basis)
        From a :class:`Posterior`.
    dual : bool
        Likewise.

    Returns
    -------
    spread : Tensor of shape (..., n_rows, n_solves)
        :math:`\psi^T (\Psi^T W \Psi + I)^{-1} \psi`, in units of the noise variance.
    """
    seen = (rotated @ basis.mT.unsqueeze(-3)).square().sum(-2).mT
    if not dual:
        return seen
    return (basis.square().sum(-1, keepdim=True) - seen).clamp(min=0.0)
