"""Estimators with scikit-learn's conventions (needs the extra `learn`)."""

from softmax.learn.regression import SoftmaxRegression

__all__ = ["SoftmaxRegression"]
