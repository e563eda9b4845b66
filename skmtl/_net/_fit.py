"""The one training primitive, on batches of rows and on episodes."""

import torch

from ._best_epochs import network_tensors
from ._episodic_module import EpisodicBlueprint
from ._episodic_training import EpisodicNet, EpisodicTraining
from ._joint_net import JointNet
from ._module import Blueprint
from ._pooling import validate_pooling
from ._rows_dataset import RowsDataset
from ._threads import threads_for
from ._training import BankTraining


def fit_bank(
    plans,
    data,
    *,
    device="cpu",
    dtype="float32",
    decode="numbers",
    callbacks=None,
    on_epoch=None,
    verbose=0,
    start=None,
    moments=None,
):
    """Train the networks of some plans together.

    Each network comes out as it would alone: ``fit_bank(plans)`` holds the networks of
    ``[fit_bank([plan]) for plan in plans]``, up to rounding.

    Parameters
    ----------
    plans : sequence of NetworkPlan
        One a network.
    data : TaskData
        What they train on.
    device : str, default="cpu"
        Where they train; "auto" goes by the work of a step.
    dtype : {"float32", "float64"}, default="float32"
        Of the parameters.
    decode : {"numbers", "labels"}, default="numbers"
        What ``net.predict`` gives.
    callbacks : list, optional
        Of skorch.
    on_epoch : callable, optional
        Called with the net after each epoch; training ends when it returns true.
    verbose : int, default=0
        Whether to print a line an epoch.
    start : BankNet, optional
        Net whose networks train on, one a plan, by its encoders; by default new ones
        are drawn. It stays as it is.
    moments : dict, optional
        State of an optimizer of the same networks, from ``BankAdamW.state_dict``.

    Returns
    -------
    net : JointNet
        Trained, with the best epoch of every network in place.
    training : BankTraining
        The record: best epochs, divergence, weights, held-out predictions.
    """
    if start is None:
        blueprint, weights = Blueprint.from_plans(plans, data, dtype), None
    else:
        blueprint = start.blueprint.with_settings(plans, dtype)
        weights = _learned(start)
    training = BankTraining(blueprint, plans, data, device, weights)
    if moments is not None:
        training.optimizer.load_state_dict(moments)
    net = JointNet(
        blueprint, training, decode, on_epoch, **_settings(training, callbacks, verbose)
    )
    net = _trained(net, training)
    if data.row_tasks and blueprint.architecture.validates_pooling:
        validate_pooling(net, training)
    net.note_rows(data.X, data.task)
    return net, training


def fit_episodes(
    plans,
    data,
    pool,
    learner,
    slots,
    *,
    device="cpu",
    dtype="float32",
    decode="numbers",
    callbacks=None,
    on_epoch=None,
    verbose=0,
):
    """Train the networks of some plans together, on episodes.

    Parameters
    ----------
    plans : sequence of EpisodicPlan
        One a network.
    data : TaskData
        What they train on.
    pool : TaskPool
        Its entries, by task.
    learner : Learner
        How tasks are learned from their support rows.
    slots : list
        Classes that the heads tell apart by column of an entry, None for numbers.
    device, dtype, decode, callbacks, on_epoch, verbose : optional
        As for :func:`fit_bank`.

    Returns
    -------
    net : EpisodicNet
        Trained, with the best epoch of every network in place.
    training : EpisodicTraining
        The record.
    """
    blueprint = EpisodicBlueprint.of_episodes(plans, data, pool, dtype, learner, slots)
    training = EpisodicTraining(blueprint, plans, data, pool, device)
    settings = _settings(training, callbacks, verbose)
    net = EpisodicNet(blueprint, training, decode, on_epoch, **settings)
    return _trained(net, training), training


def _settings(training, callbacks, verbose):
    choices = [plan.hyperparameters for plan in training.plans]
    return {
        "max_epochs": max(choice.max_epochs for choice in choices),
        "batch_size": max(choice.batch_size for choice in choices),
        "callbacks": callbacks,
        "device": str(training.device),
        "verbose": verbose,
    }


def _trained(net, training):
    data = training.data
    with threads_for(training.thread_work):
        net.partial_fit(RowsDataset(data.X, data.task, _labels(data)))
        training.finish()
        net.settle()
    net._training = net._on_epoch = None
    return net


def _learned(net):
    """Pick the parameters, and the buffers that training has changed.

    The other buffers are hyperparameters, which may have new values by now.
    """
    parameters = dict(net.module_.named_parameters())
    built = network_tensors(net.blueprint.build())
    return {
        name: tensor
        for name, tensor in network_tensors(net.module_).items()
        if name in parameters or not torch.equal(tensor.to(built[name]), built[name])
    }


def _labels(data):
    """Give callbacks the labels in the form that ``net.predict`` has."""
    if data.encoder.ndim == 2:
        return data.y
    classes = data.encoder.classes[0]
    column = data.y[:, 0]
    return column if classes is None else classes[column.astype(int)]
