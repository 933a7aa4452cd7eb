r"""
The softmax layer
=================

In a network softmax seldom comes alone. Before it stands a matrix product: with N inputs x, T
classes and a T by N matrix W of weights, the layer is

.. math:: P(W) = \operatorname{softmax}(W x).
"""

import numpy as np

import softmax

rng = np.random.default_rng(0)
T, N = 3, 4
W = rng.normal(size=(T, N))
x = rng.normal(size=N)
softmax.softmax_layer(x[None, :], W)

# %%
# Its derivative with respect to the weights
# ------------------------------------------
#
# Weight :math:`W_{ij}` multiplies :math:`x_j` and adds to logit i. So by the chain rule
#
# .. math:: \frac{\partial P_t}{\partial W_{ij}} = S_t (\delta_{ti} - S_i) \, x_j .
#
# To write this as a matrix, W is laid out row by row: counted from 1, :math:`W_{ij}` is column
# :math:`(i - 1) N + j`. The matrix has T rows and T N columns.

J = softmax.softmax_layer_jacobian(x, W)
S = softmax.softmax(W @ x)
t, i, j = 0, 1, 2  # counted from 0 here
print(J.shape)
print(J[t, i * N + j], S[t] * ((t == i) - S[i]) * x[j])

# %%
# A check by differences, for all entries at once:


def layer(weights):
    """Return the probabilities as a function of the weights laid out in a row."""
    return softmax.softmax(weights.reshape(T, N) @ x)


w, step = W.ravel(), 1e-6
moves = step * np.eye(T * N)
by_differences = np.stack([layer(w + h) - layer(w - h) for h in moves], axis=1) / (2 * step)
print(f"largest difference: {np.abs(J - by_differences).max():.1e}")

# %%
# Never formed to be applied
# --------------------------
#
# The matrix is there to look at. To train a layer one needs its product with the gradient that
# arrives from above, and that splits into small steps: through softmax, then an outer product.
# :func:`softmax.softmax_layer_vjp` does it for a batch of rows.

X = rng.normal(size=(2, N))
dp = rng.normal(size=(2, T))
to_inputs, to_weights, to_bias = softmax.softmax_layer_vjp(X, W, dp)
by_matrix = sum(d @ softmax.softmax_layer_jacobian(row, W) for row, d in zip(X, dp, strict=True))
print(f"largest difference: {np.abs(to_weights.ravel() - by_matrix).max():.1e}")

# %%
# A loss without its logits
# -------------------------
#
# With many classes the logits themselves are the largest array there is: 2048 tokens times 50,000
# words are 400 MB in single precision, several times that in training.
# :func:`softmax.linear_cross_entropy` computes loss and gradients a few rows at a time, and never
# holds more than 64 MiB of them.

X, W = rng.normal(size=(64, 8)), rng.normal(size=(100, 8))
labels = rng.integers(100, size=64)
loss, gradients = softmax.linear_cross_entropy(X, W, labels, return_grad=True)
print(loss, softmax.cross_entropy(X @ W.T, labels))
