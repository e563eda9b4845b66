"""Numbers of units that users choose."""

from numbers import Integral


def checked_sizes(strategy, name, auto=None):
    """Read a sequence of layer sizes.

    Parameters
    ----------
    strategy : Architecture
        It has the parameter.
    name : str
        Of the parameter.
    auto : tuple of int, optional
        What "auto" stands for.

    Returns
    -------
    sizes : tuple of int
        All positive.

    Raises
    ------
    ValueError
        If a size is not a positive integer.
    """
    sizes = getattr(strategy, name)
    if isinstance(sizes, str):
        return auto
    sizes = tuple(sizes)
    if not all(isinstance(size, Integral) and size > 0 for size in sizes):
        raise ValueError(
            f"The {name!r} parameter of {type(strategy).__name__} must hold positive "
            f"integers. Got {getattr(strategy, name)!r} instead."
        )
    return sizes
