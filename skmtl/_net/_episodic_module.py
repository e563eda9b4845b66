"""The module of a bank that learns from episodes."""

from __future__ import annotations

from dataclasses import dataclass

from ._learner import Learner
from ._module import BankModule, Blueprint


@dataclass(frozen=True, eq=False)
class EpisodicBlueprint(Blueprint):
    """All that it takes to build a bank that learns from episodes.

    Parameters
    ----------
    learner : Learner, default=None
        How tasks are learned from their support rows.
    slots : list, default=None
        Classes that the heads tell apart, by label column of an entry; None for
        numbers.
    """

    learner: Learner = None
    slots: list | None = None

    @classmethod
    def of_episodes(cls, plans, data, pool, dtype, learner, slots):
        """Join the plans of the networks of a bank.

        Parameters
        ----------
        plans : sequence of EpisodicPlan
            One a network.
        data : TaskData
            What they train on.
        pool : TaskPool
            Its entries.
        dtype : {"float32", "float64"}
            Of the parameters.
        learner : Learner
            How tasks are learned.
        slots : list
            Classes of the heads.

        Returns
        -------
        blueprint : EpisodicBlueprint
            Of the bank. No head belongs to a task.
        """
        parts = dict(vars(Blueprint.from_plans(plans, data, dtype)))
        parts |= {"n_tasks": pool.n_columns, "row_tasks": False}
        return cls(**parts, learner=learner, slots=slots)

    @property
    def n_classes(self):
        """Classes that the heads tell apart by column, None for numbers; list."""
        return self.slots

    def build(self, streams=None):
        """Make the module.

        Parameters
        ----------
        streams : Streams, optional
            Source of the initial weights.

        Returns
        -------
        module : EpisodicModule
            On the CPU.
        """
        return EpisodicModule(self, streams)


class EpisodicModule(BankModule):
    """A bank with a way to learn tasks from their support rows.

    Parameters
    ----------
    blueprint : EpisodicBlueprint
        What to build.
    streams : Streams or None
        Source of the initial weights.

    Attributes
    ----------
    learner : LearnerModule
        From supports to adapted tasks.
    """

    def __init__(self, blueprint, streams=None):
        super().__init__(blueprint, streams)
        learner = blueprint.learner
        if learner.reads_features and self.architecture.linear_head() is None:
            raise ValueError(
                f"{type(learner).__name__.removesuffix('Learner')} learns linear heads "
                f"on one representation, and the heads of {self.architecture.name} are "
                "more than that. Take HardSharing or TorchModule, or adapt by "
                "gradients: MAML and Reptile start from any architecture."
            )
        self.learner = blueprint.learner.build(self, streams)
        self.use_streams(streams)

    @property
    def optimizer_class(self):
        """What trains it, type."""
        return self.learner.optimizer_class

    def undecayed_parameters(self):
        """List the parameters of the learner, on which no decay acts.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, ...).
        """
        return list(self.learner.parameters())

    def embed(self, inputs):
        """Put learned inputs in place.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_tasks, n_rows, n_inputs)
            From the encoder.

        Returns
        -------
        inputs : Tensor of the same shape but for the last axis
            For the architecture.
        """
        return self.embedding(inputs.flatten(1, 2)).unflatten(1, inputs.shape[1:3])

    def task_features(self, inputs):
        """Compute features that all tasks share.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_tasks, n_rows, n_inputs)
            Embedded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_tasks, n_rows, n_features)
            By one pass of each network over the rows of all tasks.
        """
        features = self.architecture.features(inputs.flatten(1, 2))
        return features.unflatten(1, inputs.shape[1:3])
