"""
Calibrating an over-confident classifier
========================================

Logistic regression with hardly any penalty, trained on too few images of digits, is right often and
sure always. One number, the temperature, fitted on images that were held out, mends the confidence
and leaves every prediction as it is.

The images are MNIST where the file is at hand, else the small digits of scikit-learn.
"""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss

from softmax import plot
from softmax.learn import SoftmaxRegression, TemperatureScaling, expected_calibration_error

MNIST = Path(os.environ.get("SOFTMAX_DATA", "../shared/data"), "mnist.npz")

if MNIST.exists():
    with np.load(MNIST) as file:
        X = np.concatenate([file["X_train"][:8000], file["X_test"]]) / np.float32(255)
        y = np.concatenate([file["y_train"][:8000], file["y_test"]])
    train, held_out, test = slice(0, 1500), slice(1500, 8000), slice(8000, None)
else:
    X, y = load_digits(return_X_y=True)
    X = X / 16
    train, held_out, test = slice(0, 300), slice(300, 900), slice(900, None)

# %%
# Train with next to no penalty, then calibrate.

model = SoftmaxRegression(C=100, tol=0.01).fit(X[train], y[train])
one = TemperatureScaling(model).fit(X[held_out], y[held_out])
vector = TemperatureScaling(model, method="vector").fit(X[held_out], y[held_out])

print(f"temperature: {one.temperature_:.4f}, found in {one.n_iter_} Newton steps")
for name, classifier in (("as trained", model), ("one temperature", one), ("vector", vector)):
    p = classifier.predict_proba(X[test])
    print(
        f"{name:16s} accuracy {classifier.score(X[test], y[test]):.4f}  "
        f"log loss {log_loss(y[test], p):.4f} nats  "
        f"calibration error {expected_calibration_error(y[test], p):.4f}"
    )

# %%
# Confidence against accuracy: a calibrated classifier lies on the diagonal.

axes = None
for name, classifier in (("as trained", model), ("one temperature", one)):
    axes = plot.reliability(y[test], classifier.predict_proba(X[test]), label=name, ax=axes)
plt.show()
