"""Functions between layers, by name."""

import torch
from torch import nn

ACTIVATIONS = {
    "relu": nn.functional.relu,
    "silu": nn.functional.silu,
    "gelu": nn.functional.gelu,
    "tanh": torch.tanh,
}

# The same functions, written over their argument where autograd allows that: a pass
# over memory less, and a tensor less that the cache has to hold.
OVERWRITING = {**ACTIVATIONS, "relu": torch.relu_, "tanh": torch.tanh_}
