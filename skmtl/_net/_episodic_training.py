"""Training on episodes: the same course as any training, with other steps."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from skorch.callbacks import EpochScoring

from ._conflict import Conflict
from ._devices import step_work
from ._episodes import (
    EpisodeBatches,
    EpisodeTable,
    stacked_episodes,
)
from ._fingerprint import digest, fingerprint
from ._joint_net import JointNet
from ._learner import masked_mean
from ._samplers import make_sampler
from ._training import BankTraining

# Validation episodes of a network: held-out tasks come in turns until there are enough.
_VALID_EPISODES = (64, 128)


class EpisodicObjective:
    """The mean query loss of the tasks of a meta-batch.

    Parameters
    ----------
    module : EpisodicModule
        In training.
    chunk_size : int, optional
        Episodes computed at a time, which bounds the memory; None is all.

    Attributes
    ----------
    n_batches : Tensor of shape (n_networks, 1)
        Steps of the epoch under way.
    progress : float
        Share of the training that is done.
    seen : list of (losses, tasks)
        Of every step of the epoch: whether each episode has a finite loss
        (n_networks, n_episodes), and its task.
    """

    def __init__(self, module, chunk_size=None):
        self.module = module
        self.chunk_size = chunk_size
        self.progress = 0.0
        self.seen = []
        self.begin_epoch(1, 0.0)

    def begin_epoch(self, n_steps, progress):
        """Prepare for the steps of an epoch.

        Parameters
        ----------
        n_steps : int
            How many.
        progress : float
            Share of the training that is done.
        """
        parameter = next(self.module.architecture.parameters())
        self.n_batches = parameter.new_full((len(parameter), 1), float(n_steps))
        self.progress = progress
        self.seen = []
        self.conflict = Conflict()  # nobody adds to it

    def take(self, module, index):
        """Go on with some of the networks.

        Parameters
        ----------
        module : EpisodicModule
            Holds the networks from now on.
        index : Tensor of int64
            Their positions among those of before.
        """
        self.module = module
        self.n_batches = self.n_batches[index]

    def backward(self, episodes, n_steps=None):
        """Compute the gradients of one meta-batch.

        Parameters
        ----------
        episodes : Episodes
            One a network.
        n_steps : ndarray of shape (n_networks,), int, optional
            Not needed.

        Returns
        -------
        losses : Tensor of shape (n_networks, n_columns)
            Means over episodes with a finite loss; NaN where all are infinite.
        weights : None
            There is no weighting.
        """
        inputs = self.module.embed(episodes.inputs)
        # Cut here, so that the graph of each chunk ends with the chunk.
        leaf = inputs.detach().requires_grad_(inputs.requires_grad)
        learner, share = self.module.learner, 1 / inputs.shape[1]
        parts = episodes._replace(inputs=leaf).chunks(self.chunk_size)
        losses = [
            learner.backward(self.module, part, self.progress, share) for part in parts
        ]
        losses = losses[0] if len(losses) == 1 else torch.cat(losses, dim=1)
        if leaf.grad is not None:
            inputs.backward(leaf.grad)
        self.seen.append((losses, episodes.tasks))
        return _finite_mean(losses), None


def _finite_mean(losses):
    """Average over episodes; NaN where all losses are infinite, 0 without any."""
    lost = losses.isinf()
    mean = masked_mean(torch.where(lost, torch.nan, losses), 1, torch.nan)
    return torch.where(mean.isnan() & ~lost.any(1), 0.0, mean)


class EpisodicTraining(BankTraining):
    """Train the networks of some plans on episodes, as one bank.

    Parameters
    ----------
    blueprint : EpisodicBlueprint
        Of the bank.
    plans : sequence of EpisodicPlan
        One a network.
    data : TaskData
        What they train on.
    pool : TaskPool
        Its entries.
    device : str
        Where they train; "auto" goes by the work of a step.

    Attributes
    ----------
    lost : dict
        From network to (epoch, task) where the loss of a task was first not finite.
    """

    def __init__(self, blueprint, plans, data, pool, device):
        self.pool = pool
        self.settings = plans[0].episodes
        self._learner = blueprint.learner
        self.lost = {}
        super().__init__(blueprint, plans, data, device)

    @cached_property
    def fingerprint(self):
        """What the course of the training depends on, dict of str to str."""
        plans, settings = self.plans, vars(self.settings) | vars(self._learner)
        del settings["chunk_size"]  # rounding alone
        return fingerprint(self) | {
            "held-out entries": digest(
                [[p.train_entries, p.valid_entries] for p in plans]
            ),
            **{name: repr(value) for name, value in settings.items()},
        }

    def _start_at_constant_prediction(self):
        # Columns of their own have no constant in common, and slots no meaning.
        if self.pool.column is None and self.settings.n_way is None:
            super()._start_at_constant_prediction()

    def _step_work(self):
        settings = self.settings
        n_rows = settings.n_support[1] + settings.n_query
        n_rows *= settings.meta_batch_size * (settings.n_way or 1)
        # Of one pass: threads wait for each other at every one, however many there are.
        return step_work(self.module, self.plans[:1], n_rows=1) * n_rows

    @property
    def thread_work(self):
        """Multiply-adds of one task of a step, which is an operation, float."""
        return self.work / self.settings.meta_batch_size

    def _prepare_steps(self, dtype):
        self.table = EpisodeTable(
            self.pool, self.data, self.plans, self.module.encoder, self.device, dtype
        )
        self.batches = EpisodeBatches(self.table, self.plans, self.streams)
        self.objective = EpisodicObjective(self.module, self.settings.chunk_size)

    def _take_batches(self, kept):
        self.batches.take(kept.tolist())

    def _take_validation(self, kept, index):
        self._valid_episodes = self._valid_episodes.take(index)

    # -- one epoch ---------------------------------------------------------------

    def begin_epoch(self):
        """Set the learning rates of the epoch and clear its sums."""
        self.batches.epoch = self.epoch
        progress = self.epoch / self.settings.n_epochs
        self.objective.begin_epoch(len(self.batches), progress)
        super().begin_epoch()

    def end_training_epoch(self):
        """Read the epoch's losses, and find tasks and networks that have diverged.

        Returns
        -------
        losses : ndarray of shape (n_live, n_columns), float64
            Mean query losses after adaptation.
        """
        losses = torch.stack([losses for losses, _ in self.objective.seen])
        self._note_lost(losses.isinf().any(-1))
        return super().end_training_epoch()

    def _note_lost(self, lost):
        """Remember the first task of each network whose loss is not finite."""
        if not lost.any():
            return
        tasks = torch.stack([tasks for _, tasks in self.objective.seen])
        for i, k in enumerate(self.live):
            found = tasks[:, i][lost[:, i]]
            if len(found):
                name = self.pool.names[int(found[0])]
                self.lost.setdefault(int(k), (self.epoch, name))

    def _note_divergence(self, losses):
        gone = ~np.isfinite(losses).any(axis=1) & self.counted
        for i in np.flatnonzero(gone):
            k = int(self.live[i])
            _, task = self.lost.get(k, (None, self.pool.names[0]))
            self.diverged.setdefault(k, (self.epoch, task))

    # -- validation --------------------------------------------------------------

    def _prepare_validation(self):
        low, high = _VALID_EPISODES
        drawn = []
        for plan in self.plans:
            # A network without held-out entries is validated for nothing.
            held_out = plan.valid_entries
            entries = plan.train_entries if held_out is None else held_out
            sampler = make_sampler(self.pool, entries, plan)
            n_tasks = len(sampler.tasks)
            generator = self.streams.generator(plan.key, "validation episodes")
            groups = torch.arange(min(max(n_tasks, low), high)) % n_tasks
            drawn.append(sampler.of_groups(groups[None], generator))
        most = max(d.tasks.shape[1] for d in drawn)
        drawn = [_with_episodes(d, most, len(self.pool)) for d in drawn]
        drawn = _trimmed(drawn, len(self.pool))
        (self._valid_episodes,) = stacked_episodes(self.table, drawn)

    @torch.no_grad()
    def validate(self):
        """Score every network on episodes of its held-out entries.

        Returns
        -------
        losses : ndarray of shape (n_live, n_columns), float64
            Mean query losses after adaptation.
        total : ndarray of shape (n_live,), float64
            Their means.
        """
        module, episodes = self._live_module.eval(), self._valid_episodes
        episodes = episodes._replace(inputs=module.embed(episodes.inputs))
        parts = episodes.chunks(self.settings.chunk_size)
        found = [module.learner.validation_losses(module, part) for part in parts]
        found = torch.cat(found, dim=1)
        losses = _finite_mean(found).cpu().double().numpy()
        total = self.weigh(np.nan_to_num(losses), np.isfinite(losses))
        total = np.where(np.isfinite(losses).any(axis=1), total, np.inf)
        self._note_divergence(losses)
        errors = None
        if (total < self.best.loss[self.live]).any():
            errors = [module.learner.standard_errors(module, part) for part in parts]
            errors = None if errors[0] is None else torch.cat(errors, dim=1)
        # Held-out entries that ask nothing choose nothing: each epoch is the best yet.
        silent = found.isnan().flatten(1).all(1).cpu().numpy()
        self._keep_best(np.where(silent, -self.epoch, total), errors)
        return losses, total


def _with_episodes(draw, n_episodes, filler):
    """Add episodes without rows, for the numbers of all networks to agree."""
    added = n_episodes - draw.tasks.shape[1]
    pad = torch.nn.functional.pad
    return draw._replace(
        entries=pad(draw.entries, (0, 0, 0, added), value=filler),
        slots=None if draw.slots is None else pad(draw.slots, (0, 0, 0, added)),
        tasks=pad(draw.tasks, (0, added), value=int(draw.tasks[0, 0])),
    )


def _trimmed(drawn, filler):
    """Leave out rows that are padding in every episode: held-out tasks are few."""
    used = torch.stack([(d.entries < filler).flatten(0, 1).any(0) for d in drawn])
    used = used.any(0)
    n_support = int(used[: drawn[0].n_support].sum())
    return [
        d._replace(
            entries=d.entries[..., used],
            slots=None if d.slots is None else d.slots[..., used],
            n_support=n_support,
        )
        for d in drawn
    ]


class EpisodicNet(JointNet):
    """Train a bank on episodes as one skorch net; see :class:`JointNet`."""

    def initialize_callbacks(self):
        """Refuse callbacks that cannot work on a bank, or on episodes.

        Returns
        -------
        self : EpisodicNet
            The net.

        Raises
        ------
        ValueError
            For callbacks that need single batches, or predictions of validation.
        """
        super().initialize_callbacks()
        for name, callback in self.callbacks_:
            if isinstance(callback, EpochScoring) and callback.use_caching:
                raise ValueError(
                    f"The callback {name!r} scores predictions of validation, and "
                    "episodes leave none of whole rows. Use valid_loss, or pass "
                    "use_caching=False to score the meta-model as it is, unadapted."
                )
        return self

    def validation_step(self, batch, **fit_params):
        """Score every network on episodes of its held-out entries.

        Parameters
        ----------
        batch : RowsDataset
            Unused.
        **fit_params : dict
            Unused.

        Returns
        -------
        losses, total : ndarray of shape (n_live, n_columns) and (n_live,)
            By column, and means.
        """
        return self._training.validate()
