"""Estimators with scikit-learn's conventions (needs the extra `learn`)."""

from softmax.learn.calibration import TemperatureScaling
from softmax.learn.evaluation import expected_calibration_error
from softmax.learn.regression import SigmoidRegression, SoftmaxRegression
from softmax.learn.skipgram import SkipGram

__all__ = [
    "SigmoidRegression",
    "SkipGram",
    "SoftmaxRegression",
    "TemperatureScaling",
    "expected_calibration_error",
]
