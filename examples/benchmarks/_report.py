"""What the benchmarks print: the machine, the versions, and markdown tables."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

PACKAGES = ("skmtl", "torch", "skorch", "scikit-learn", "numpy", "xgboost", "catboost")


def print_setting():
    """Print where and with what the numbers below were measured."""
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    print(f"machine: {_processor()}, {os.cpu_count()} cores, {platform.system()}")
    print(f"versions: python {platform.python_version()}, {versions}")
    print(f"threads: {torch.get_num_threads()} (torch)\n")


def print_table(header, rows):
    """Print a markdown table whose columns line up in a terminal, too."""
    lines = [list(map(str, line)) for line in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print(f"| {' | '.join(cells)} |")
    print()


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _processor():
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":")[1] for line in lines if "model name" in line]
        return names[0].strip()
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
