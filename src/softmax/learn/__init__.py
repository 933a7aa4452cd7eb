"""Estimators with scikit-learn's conventions (needs the extra `learn`)."""

from softmax.learn.regression import SigmoidRegression, SoftmaxRegression

__all__ = ["SigmoidRegression", "SoftmaxRegression"]
