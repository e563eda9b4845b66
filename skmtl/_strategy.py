"""Strategies: the objects a user hands to ``architecture=``, ``weighting=`` and kin."""

from numbers import Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone


class PerNetwork:
    """One value of a continuous hyperparameter for each network of a bank.

    Parameters
    ----------
    values : sequence of float, shape (n_networks,)
        The value each network uses.
    """

    def __init__(self, values):
        self.values = tuple(float(value) for value in values)

    def __repr__(self):
        return f"PerNetwork({list(self.values)})"


class Strategy(BaseEstimator):
    """Remember hyperparameters, and build the module that does the work.

    A strategy is a plain scikit-learn object: it clones, prints and is searched through
    (``architecture__dropout``). It is never a torch module itself, so that an argument
    that *is* a module cannot become its child and be trained in place. ``build``
    returns the :class:`torch.nn.Module` that works.

    Continuous hyperparameters that may differ between the networks of one bank are
    named in ``_fusable`` and read through :meth:`per_network`.
    """

    _parameter_constraints: dict = {}
    _fusable: tuple[str, ...] = ()

    def per_network(self, name: str, n_networks: int) -> torch.Tensor:
        """Read a continuous hyperparameter as one value a network.

        Parameters
        ----------
        name : str
            The hyperparameter; one of the class's fusable ones.
        n_networks : int
            Length of the network axis.

        Returns
        -------
        values : Tensor of shape (n_networks,), float64
            The same value n_networks times, or the bank of values that
            :meth:`stack` put there.
        """
        value = getattr(self, name)
        if isinstance(value, PerNetwork):
            return torch.tensor(value.values, dtype=torch.float64)
        return torch.full((n_networks,), float(value), dtype=torch.float64)

    def check(self):
        """Check the hyperparameters against ``_parameter_constraints``.

        Returns
        -------
        self : Strategy
            The strategy itself.
        """
        banks = {n: v for n, v in vars(self).items() if isinstance(v, PerNetwork)}
        if not banks:
            self._validate_params()
            return self
        for k in range(max(len(bank.values) for bank in banks.values())):
            values = {name: bank.values[k] for name, bank in banks.items()}
            clone(self).set_params(**values)._validate_params()
        return self

    def take(self, index):
        """Keep the values of some networks.

        Parameters
        ----------
        index : sequence of int
            Positions of the networks.

        Returns
        -------
        strategy : Strategy
            A clone; values that are not one a network stay as they are.
        """
        banks = {
            name: PerNetwork([value.values[k] for k in index])
            for name, value in self.get_params(deep=True).items()
            if isinstance(value, PerNetwork)
        }
        return clone(self).set_params(**banks)

    def of_network(self, k):
        """Read the strategy of one network of a bank.

        Parameters
        ----------
        k : int
            Position of the network.

        Returns
        -------
        strategy : Strategy
            A clone without banks of values, for :meth:`stack`.
        """
        values = {
            name: value.values[k]
            for name, value in self.get_params(deep=True).items()
            if isinstance(value, PerNetwork)
        }
        return clone(self).set_params(**values)

    @classmethod
    def stack(cls, strategies):
        """Join one strategy a network into the strategy of their bank.

        Parameters
        ----------
        strategies : sequence of Strategy, length n_networks
            Strategies of one class that agree in all but fusable hyperparameters.

        Returns
        -------
        strategy : Strategy
            A clone whose fusable hyperparameters are banks where they differ.

        Raises
        ------
        ValueError
            If the strategies differ in class or in a hyperparameter that does not fuse.
        """
        first = strategies[0]
        if all(strategy is first for strategy in strategies):
            return clone(first)
        params = [_flat(strategy) for strategy in strategies]
        joined = {}
        for name in params[0]:
            values = [p.get(name) for p in params]
            if all(_equal(values[0], value) for value in values[1:]):
                continue
            fuses = name in first._fusable and all(isinstance(v, Real) for v in values)
            if not fuses:
                raise ValueError(
                    f"Networks of one bank must agree in {type(first).__name__}"
                    f"({name}=...); got {values[0]!r} and others. Train them in banks "
                    "of their own."
                )
            joined[name] = PerNetwork(values)
        if any(p.keys() != params[0].keys() for p in params):
            raise ValueError("Networks of one bank must use strategies of one class.")
        return clone(first).set_params(**joined)


def _flat(strategy):
    params = strategy.get_params(deep=True)
    return {"": type(strategy)} | {
        name: value
        for name, value in params.items()
        if not isinstance(value, BaseEstimator)
    }


def _equal(a, b):
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    return type(a) is type(b) and a == b
