r"""
Softmax regression
==================

The simplest model that ends in softmax gives each class a vector of weights and compares:

.. math:: P(i \mid x) = \frac{e^{\theta_i \cdot x}}{\sum_k e^{\theta_k \cdot x}}

Training finds the weights under which the labels that were seen are most probable. It is the
maximum-likelihood model of a categorical outcome, also called multinomial logistic regression.
"""

import numpy as np
from sklearn.datasets import load_iris

from softmax import plot
from softmax.learn import SoftmaxRegression

iris = load_iris()
X, y = iris.data[:, 2:], iris.target_names[iris.target]
model = SoftmaxRegression().fit(X, y)
print(model.classes_)
print(model.predict_proba(X[:1]).round(4))
print(f"accuracy on the rows it saw: {model.score(X, y):.3f}")

# %%
# Borders between classes are straight, because logits are linear in x. The colour fades where the
# model is less sure.

plot.decision_regions(model, X, y, features=iris.feature_names[2:])

# %%
# How good is the answer?
# -----------------------
#
# The objective is convex: there is one lowest value. Most solvers stop when their steps become
# small, which says little about the distance still to go. Here training ends when that distance is
# known to be small: the *duality gap* bounds it from above, whatever the data.

objective = model.history_["objective"][-1]
print(f"objective {objective:.6f} nats per row")
print(f"at most {model.duality_gap_:.1e} above the optimum")

# %%
plot.training(model.history_, tol=model.tol)

# %%
# One vector too many
# -------------------
#
# Only differences of logits count, so that adding one vector to every :math:`\theta_i` changes
# nothing. One of them is redundant:

moved = SoftmaxRegression().fit(X, y)
moved.coef_ = model.coef_ + np.array([10.0, -3.0])
print(f"{np.abs(moved.predict_proba(X) - model.predict_proba(X)).max():.1e}")

# %%
# Of all these equal models the penalty picks the one whose rows sum to zero, since its squares are
# the smallest.

print(model.coef_)
print(f"{np.abs(model.coef_.sum(axis=0)).max():.1e}")

# %%
# Two classes: logistic regression
# --------------------------------
#
# With two classes the redundant vector is half of all parameters. The probability of the second is
# :math:`\sigma(\theta' \cdot x)` with :math:`\theta' = \theta_2 - \theta_1`, and models convert
# both ways without loss.

two = iris.target < 2
pair = SoftmaxRegression().fit(X[two], y[two])
one = pair.to_sigmoid()
print("two rows:", pair.coef_.shape, " one row:", one.coef_.shape)
print(one.coef_ - (pair.coef_[1] - pair.coef_[0]))
print(f"{np.abs(one.to_softmax().predict_proba(X) - pair.predict_proba(X)).max():.1e}")

# %%
# Without a penalty
# -----------------
#
# ``C=np.inf`` gives the estimates of maximum likelihood, and with them standard errors, here of
# telling versicolor from virginica.

rest = iris.target > 0
free = SoftmaxRegression(C=np.inf).fit(X[rest], y[rest])
print(free.summary())
