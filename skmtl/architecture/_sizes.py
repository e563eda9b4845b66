"""Numbers of units that users choose."""

from numbers import Integral


def checked_sizes(strategy, name, auto=None, n_least=0):
    """Read a sequence of layer sizes.

    Parameters
    ----------
    strategy : Architecture
        It has the parameter.
    name : str
        Of the parameter.
    auto : tuple of int, optional
        What "auto" stands for.
    n_least : int, default=0
        Number of layers at least.

    Returns
    -------
    sizes : tuple of int
        All positive.

    Raises
    ------
    ValueError
        If a size is not a positive integer, or there are too few.
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
    if len(sizes) < n_least:
        raise ValueError(
            f"The {name!r} parameter of {type(strategy).__name__} must name at least "
            f"{n_least} layer. Got {getattr(strategy, name)!r} instead."
        )
    return sizes
