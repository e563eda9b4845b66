"""Functions between layers, by name."""

import torch
from torch import nn

ACTIVATIONS = {
    "relu": nn.functional.relu,
    "silu": nn.functional.silu,
    "gelu": nn.functional.gelu,
    "tanh": torch.tanh,
}
