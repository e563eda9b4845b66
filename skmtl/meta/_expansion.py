"""A network for every task: banks of fast weights."""

import torch


def expanded(tensors, n_tasks):
    """Repeat the tensors of each network, once a task.

    Parameters
    ----------
    tensors : dict of str to Tensor of shape (n_networks, ...)
        By name.
    n_tasks : int
        Tasks of each network.

    Returns
    -------
    expanded : dict of str to Tensor of shape (n_networks * n_tasks, ...)
        Copies, the tasks of a network beside each other.
    """
    return {
        name: tensor.repeat_interleave(n_tasks, dim=0)
        for name, tensor in tensors.items()
    }


def leaves(tensors, n_tasks):
    """Repeat the tensors of each network as leaves of a graph of their own.

    The gradient of a leaf holds every task by itself, so that it can be clipped, or
    left out, task by task.

    Parameters
    ----------
    tensors : dict of str to Parameter of shape (n_networks, ...)
        By name.
    n_tasks : int
        Tasks of each network.

    Returns
    -------
    leaves : dict of str to Tensor of shape (n_networks * n_tasks, ...)
        Requiring gradients where the tensors do.
    """
    found = {}
    for name, tensor in tensors.items():
        # A view for one network: nothing is ever written to a leaf.
        every = tensor.detach().unsqueeze(1)
        every = every.expand(-1, n_tasks, *[-1] * (tensor.ndim - 1)).flatten(0, 1)
        found[name] = every.requires_grad_(tensor.requires_grad)
    return found


def task_norms(gradients):
    """Measure the gradient of each task.

    Parameters
    ----------
    gradients : sequence of Tensor of shape (n_networks * n_tasks, ...)
        Of all leaves.

    Returns
    -------
    norms : Tensor of shape (n_networks * n_tasks,)
        Over all of them.
    """
    return torch.linalg.vector_norm(flattened(gradients), dim=1)


def flattened(gradients):
    """Put the numbers of each task side by side.

    Parameters
    ----------
    gradients : sequence of Tensor of shape (n_networks * n_tasks, ...)
        Of all leaves.

    Returns
    -------
    flat : Tensor of shape (n_networks * n_tasks, n_numbers)
        One row a task.
    """
    return torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)


def per_task(values, gradient):
    """Shape one value a task to multiply a tensor.

    Parameters
    ----------
    values : Tensor of shape (n_networks * n_tasks,)
        One a task.
    gradient : Tensor of shape (n_networks * n_tasks, ...)
        What it goes with.

    Returns
    -------
    values : Tensor of shape (n_networks * n_tasks, 1, ...)
        Ready to broadcast.
    """
    return values.view(-1, *[1] * (gradient.ndim - 1))


def add_gradient(parameter, gradient):
    """Add to the gradient of a parameter, as ``backward`` does.

    Parameters
    ----------
    parameter : Parameter
        Its ``grad`` is set, or added to.
    gradient : Tensor of the same shape
        Kept, not copied.
    """
    if parameter.grad is None:
        parameter.grad = gradient
    else:
        parameter.grad += gradient
