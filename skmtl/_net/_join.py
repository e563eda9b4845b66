"""Putting the networks of several nets into one."""

from dataclasses import replace

from skorch.history import History

from .._bank import join_networks
from .._strategy import Strategy
from ._module import distinct, stacked_losses


def joined_net(cls, nets):
    """Make a net of the networks of several.

    Parameters
    ----------
    cls : type
        Of the new net.
    nets : sequence of BankNet
        Of the same tasks and of strategies that fuse.

    Returns
    -------
    net : BankNet
        With copies of their weights.
    """
    first = nets[0]
    blueprint = joined_blueprint([net.blueprint for net in nets])
    net = cls(blueprint, decode=first.decode, device=first.device, verbose=0)
    net.initialize()
    for name in ("embedding", "architecture", "weighting"):
        parts = [getattr(part.module_, name) for part in nets]
        join_networks(parts, getattr(net.module_, name))
    net.module_.eval()
    net.history = joined_history([part.history for part in nets])
    net.interrupted_ = any(part.interrupted_ for part in nets)
    return net


def joined_blueprint(blueprints):
    """Join the blueprints of several banks.

    Parameters
    ----------
    blueprints : sequence of Blueprint
        Of the same tasks.

    Returns
    -------
    blueprint : Blueprint
        Of all networks, with the targets of the first.

    Raises
    ------
    ValueError
        If strategies differ in hyperparameters that do not fuse.
    """
    strategies = {
        name: Strategy.stack(
            [
                getattr(blueprint, name).of_network(k)
                for blueprint in blueprints
                for k in range(len(blueprint.encoder_index))
            ]
        )
        for name in ("architecture", "weighting")
    }
    strategies["losses"] = stacked_losses(
        [
            [loss.of_network(k) for loss in blueprint.losses]
            for blueprint in blueprints
            for k in range(len(blueprint.encoder_index))
        ]
    )
    encoders, places = distinct([e for b in blueprints for e in b.encoders])
    index, start = [], 0
    for blueprint in blueprints:
        index += [places[start + e] for e in blueprint.encoder_index]
        start += len(blueprint.encoders)
    dtypes = {blueprint.dtype for blueprint in blueprints}
    return replace(
        blueprints[0],
        encoders=encoders,
        encoder_index=index,
        dtype=max(dtypes),  # "float64" where there is one
        **strategies,
    )


def joined_history(histories):
    """Copy the epochs of several histories one after the other.

    Parameters
    ----------
    histories : sequence of list of dict
        Epochs.

    Returns
    -------
    history : History
        Epochs are numbered through.
    """
    rows = [dict(row) for history in histories for row in history or []]
    numbered = [row | {"epoch": i + 1} for i, row in enumerate(rows)]
    return History(numbered)
