"""The members of an ensemble: their seeds, and the rows they hold out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ._tasks import validation_folds

# Bit of a mark that says "held out"; the lower ones count how often a row is trained
# on, for splits may repeat rows.
_HELD_OUT = 128


@dataclass(frozen=True, eq=False)
class Members:
    """Who the networks of an estimator are, so that they can be trained on.

    Parameters
    ----------
    seed : int
        Drawn in the first fit; each member's seed follows from it and the member's
        number.
    numbers : ndarray of shape (n_networks,), int
        Numbers of the members that are there; diverged ones are missing.
    n_members : int
        What n_estimators was, diverged members counted.
    n_drawn : int
        Numbers that have been given out.
    folds : ndarray of shape (n_folds, n_samples), uint8, or None
        What each fold does with each row of the X of fit. None trains on all rows.
    column_share : float
        Share of the columns of X that a member sees.
    n_trainings : int, default=0
        How often the members were trained on, which keeps their draws apart.
    """

    seed: int
    numbers: np.ndarray
    n_members: int
    n_drawn: int
    folds: np.ndarray | None
    column_share: float
    n_trainings: int = 0

    @classmethod
    def draw(cls, n_members, data, early_stopping, cv, column_share, random_state):
        """Draw seeds and folds for a first fit.

        Parameters
        ----------
        n_members : int
            Number of members.
        data : TaskData
            What they train on.
        early_stopping : bool
            Whether rows are held out.
        cv : None, int, splitter or iterable of (train, test)
            For :func:`~skmtl._tasks.validation_folds`.
        column_share : float
            Share of the columns that a member sees.
        random_state : RandomState
            Draws the folds, then the seed.

        Returns
        -------
        members : Members
            All of them.
        """
        folds = None
        if early_stopping:
            folds = _marks(validation_folds(cv, data, random_state), data)
        seed = int(random_state.randint(np.iinfo(np.int32).max))
        numbers = np.arange(n_members)
        return cls(seed, numbers, n_members, n_members, folds, column_share)

    def take(self, index):
        """Keep some members.

        Parameters
        ----------
        index : sequence of int
            Positions among those that are there.

        Returns
        -------
        members : Members
            Fewer.
        """
        return replace(self, numbers=self.numbers[list(index)])

    def alone(self, position):
        """Make a member an ensemble of its own.

        Parameters
        ----------
        position : int
            Among those that are there.

        Returns
        -------
        members : Members
            One.
        """
        return replace(self, numbers=self.numbers[[position]], n_members=1)

    def with_folds_of(self, other):
        """Hold out the rows that others hold out.

        Parameters
        ----------
        other : Members
            Of other data.

        Returns
        -------
        members : Members
            With the seeds and numbers of these.
        """
        return replace(self, folds=other.folds)

    def trained_on(self):
        """Go into another training.

        Returns
        -------
        members : Members
            With draws of their own.
        """
        return replace(self, n_trainings=self.n_trainings + 1)

    def added(self, n_members):
        """Give out new numbers.

        Parameters
        ----------
        n_members : int
            How many.

        Returns
        -------
        members : Members
            The new ones alone, as a first fit would have drawn them.
        """
        return replace(
            self,
            numbers=self.n_drawn + np.arange(n_members),
            n_members=n_members,
            n_drawn=self.n_drawn + n_members,
            n_trainings=0,
        )

    def joined(self, new):
        """Put new members behind these.

        Parameters
        ----------
        new : Members
            From :meth:`added`.

        Returns
        -------
        members : Members
            All of them.
        """
        return replace(
            self,
            numbers=np.concatenate([self.numbers, new.numbers]),
            n_members=self.n_members + new.n_members,
            n_drawn=new.n_drawn,
            folds=new.folds,
        )

    def without_folds(self):
        """Forget the folds, after training on all rows.

        Returns
        -------
        members : Members
            That hold out nothing.
        """
        return replace(self, folds=None)

    @property
    def fold_numbers(self):
        """The fold of each member, ndarray of int; 0 without folds."""
        return self.numbers % (1 if self.folds is None else len(self.folds))

    @property
    def seeds(self):
        """The seed of each member's streams, list of int."""
        again = (self.n_trainings,) if self.n_trainings else ()
        entropies = [(self.seed, int(number), *again) for number in self.numbers]
        return [
            int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
            for entropy in entropies
        ]

    def rows(self, fold, data):
        """List the rows that a fold trains on, and those that it holds out.

        Parameters
        ----------
        fold : int
            Number of the fold.
        data : TaskData
            With as many samples as the data of the fit.

        Returns
        -------
        train, valid : ndarray of int
            Rows of `data`; the second is None without folds.

        Raises
        ------
        ValueError
            If one of them is empty.
        """
        if self.folds is None:
            return np.arange(len(data.X)), None
        marks = self.folds[fold][data.rows]
        train = np.repeat(np.arange(len(marks)), marks % _HELD_OUT)
        valid = np.flatnonzero(marks >= _HELD_OUT)
        if not len(train) or not len(valid):
            raise ValueError(
                f"Fold {fold} of the fit before has {len(train)} training and "
                f"{len(valid)} held-out rows with labels and weight in this data; each "
                "needs at least one. Fit with warm_start=False."
            )
        return train, valid

    def n_holding_out(self):
        """Count the members that hold out each row.

        Returns
        -------
        counts : ndarray of shape (n_samples,), int
            Over the X of fit.
        """
        return (self.folds[self.fold_numbers] >= _HELD_OUT).sum(axis=0)


def _marks(folds, data):
    # Rows without labels belong to no fold yet; with labels they would be trained on.
    marks = np.ones((len(folds), data.n_samples), np.uint8)
    for mark, (train, valid) in zip(marks, folds, strict=True):
        times = np.bincount(train, minlength=len(data.rows))
        mark[data.rows] = np.minimum(times, _HELD_OUT - 1)
        mark[data.rows[valid]] += _HELD_OUT
    return marks
