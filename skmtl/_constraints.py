"""The one door to scikit-learn's declarative parameter checks.

They are private in scikit-learn, and used by every estimator that wants its messages.
Importing them here alone keeps a rename upstream a change of one file.
"""

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

__all__ = ["HasMethods", "Interval", "StrOptions"]
