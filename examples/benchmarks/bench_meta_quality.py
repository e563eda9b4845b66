"""What the meta-learners reach: sinusoids, drawn characters, held-out groups.

Three parts, each a module of its own with its protocol: ``_meta_sinusoid`` (the first
examples of MAML and of Meta-SGD, and the band of the closed-form head),
``_meta_omniglot`` (characters of alphabets that training never saw), and
``_meta_groups`` (schools, counties and patients that training never saw, beside the
honest baselines). Every part prints intervals of 95 % over at least 600 test tasks, or
over all groups there are, and ends in asserts. Run one by ``--parts``.
"""

import argparse
from pathlib import Path

import _meta_groups
import _meta_omniglot
import _meta_sinusoid
from _report import print_setting
from _tables import DATA

PARTS = ("sinusoid", "omniglot", "groups")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="run everything, briefly")
    arguments = parser.parse_args()
    print_setting()
    if "sinusoid" in arguments.parts:
        _meta_sinusoid.check(arguments.quick)
    if "omniglot" in arguments.parts:
        _meta_omniglot.check(arguments.data, arguments.quick)
    if "groups" in arguments.parts:
        _meta_groups.check(arguments.data, arguments.quick)


if __name__ == "__main__":
    main()
