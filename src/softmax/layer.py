"""The softmax layer x -> softmax(W x + b): its derivatives in closed form, and its loss.

The loss never holds the logits of all rows; see `linear_cross_entropy`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from softmax._inputs import FLOAT32, Array, as_floating, refuse_mask
from softmax._logit_chunks import Layer, layer_losses
from softmax._targets import (
    IgnoreIndex,
    Target,
    check_counts,
    check_options,
    class_weights,
    matrix_target,
    read_target,
    read_weights,
    reduced,
    scale_for,
)
from softmax.derivatives import softmax_jacobian, softmax_vjp
from softmax.functions import softmax

SCRATCH_BYTES = 64 << 20


def softmax_layer(
    X: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    *,
    temperature: npt.ArrayLike = 1.0,
) -> Any:
    r"""Return softmax(X W' + b): the probabilities of K classes for each row of features.

    Parameters
    ----------
    X : array_like, shape (n, d)
        Features.
    weight : array_like, shape (K, d)
        Weights W. Products are taken in the common dtype of `X` and `weight`, at least float32.
    bias : array_like, shape (K,), optional
        Intercepts b.
    temperature : float or array_like, default 1.0
        As in `softmax`; an array has shape (n, 1).

    Returns
    -------
    ndarray, shape (n, K)
        Probabilities.

    Raises
    ------
    TypeError, ValueError
        If an argument does not hold real numbers, or a shape does not fit.

    Examples
    --------
    >>> from softmax import softmax_layer
    >>> softmax_layer([[1.0, 2.0]], [[14.0, 0.0], [0.0, 6.0]]).round(8)
    array([[0.88079708, 0.11920292]])
    """
    x, w, b = read_layer(X, weight, bias)
    logits = layer_logits(x, w, b)
    return softmax(logits, temperature=temperature, out=logits)


def read_layer(
    X: npt.ArrayLike, weight: npt.ArrayLike, bias: npt.ArrayLike | None, n_axes: int = 2
) -> tuple[Array, Array, Array | None]:
    """Return features, weights and bias in one dtype that products are taken in."""
    arrays = [("X", X), ("weight", weight)] + ([] if bias is None else [("bias", bias)])
    for name, value in arrays:
        refuse_mask(value, name)
    x, w, *rest = (as_floating(value, name) for name, value in arrays)
    b = rest[0] if rest else None
    if x.ndim != n_axes:
        shape = "(n, d)" if n_axes == 2 else "(d,)"
        raise ValueError(f"{'X' if n_axes == 2 else 'x'} must have shape {shape}, got {x.shape}")
    if w.ndim != 2 or w.shape[1] != x.shape[-1]:
        raise ValueError(f"weight must have shape (K, {x.shape[-1]}), got {w.shape}")
    if b is not None and b.shape != w.shape[:1]:
        raise ValueError(f"bias must have shape {w.shape[:1]}, got {b.shape}")
    dtype = np.result_type(FLOAT32, x, w, *rest)
    return (
        np.asarray(x, dtype),
        np.asarray(w, dtype),
        None if b is None else np.asarray(b, dtype),
    )


def layer_logits(x: Array, weight: Array, bias: Array | None) -> Array:
    """Return x W' + b."""
    logits: Array = x @ weight.T
    if bias is not None:
        logits += bias
    return logits


def softmax_layer_jacobian(
    x: npt.ArrayLike, weight: npt.ArrayLike, bias: npt.ArrayLike | None = None
) -> Any:
    r"""Return the Jacobian of softmax(W x + b) with respect to W, linearised row by row.

    Parameters
    ----------
    x : array_like, shape (d,)
        Features.
    weight : array_like, shape (K, d)
        Weights W.
    bias : array_like, shape (K,), optional
        Intercepts b.

    Returns
    -------
    ndarray, shape (K, K * d)
        Column i * d + j of row t is dS_t / dW_ij.

    Raises
    ------
    TypeError, ValueError
        As `softmax_layer` does.

    Notes
    -----
    .. math:: \partial S_t / \partial W_{ij} = S_t (\delta_{ti} - S_i) x_j

    The derivative with respect to b is `softmax_jacobian` of the logits. To multiply by the
    Jacobian use `softmax_layer_vjp`, which never forms it.

    Examples
    --------
    >>> from softmax import softmax_layer_jacobian
    >>> softmax_layer_jacobian([1.0, 2.0], [[0.0, 0.0], [0.0, 0.0]])
    array([[ 0.25,  0.5 , -0.25, -0.5 ],
           [-0.25, -0.5 ,  0.25,  0.5 ]])
    """
    features, w, b = read_layer(x, weight, bias, 1)
    by_logit = softmax_jacobian(layer_logits(features, w, b))
    return (by_logit[:, :, None] * features).reshape(len(w), w.size)


def softmax_layer_vjp(
    X: npt.ArrayLike, weight: npt.ArrayLike, dp: npt.ArrayLike, bias: npt.ArrayLike | None = None
) -> Any:
    """Return the gradients with respect to X, W and b, given that with respect to the result.

    Parameters
    ----------
    X, weight, bias
        As in `softmax_layer`.
    dp : array_like, shape (n, K)
        The gradient with respect to the probabilities.

    Returns
    -------
    dX : ndarray, shape (n, d)
    dweight : ndarray, shape (K, d)
    dbias : ndarray, shape (K,), or None
        None where there is no bias.

    Raises
    ------
    TypeError, ValueError
        As `softmax_layer` does.

    Examples
    --------
    >>> from softmax import softmax_layer_vjp
    >>> dX, dweight, dbias = softmax_layer_vjp([[1.0]], [[0.0], [0.0]], [[1.0, 0.0]], [0.0, 0.0])
    >>> dweight
    array([[ 0.25],
           [-0.25]])
    >>> dbias
    array([ 0.25, -0.25])
    """
    x, w, b = read_layer(X, weight, bias)
    logits = layer_logits(x, w, b)
    refuse_mask(dp, "dp")
    given = as_floating(dp, "dp")
    if given.shape != logits.shape:
        raise ValueError(f"dp must have shape {logits.shape}, got {given.shape}")
    slopes = softmax_vjp(logits, given.astype(logits.dtype, copy=False))
    return slopes @ w, slopes.T @ x, None if b is None else slopes.sum(0)


def linear_cross_entropy(
    X: npt.ArrayLike,
    weight: npt.ArrayLike,
    target: Any,
    bias: npt.ArrayLike | None = None,
    *,
    class_weight: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    ignore_index: IgnoreIndex = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    reduction: str = "mean",
    return_grad: bool = False,
    scratch_bytes: int = SCRATCH_BYTES,
) -> Any:
    r"""Return the cross-entropy of the logits X W' + b, which never exist all at once.

    Parameters
    ----------
    X : array_like, shape (n, d)
        Features.
    weight : array_like, shape (K, d)
        Weights W. Products are taken in the common dtype of `X` and `weight`, at least float32.
    target : array_like or sparse matrix
        Labels, shape (n,); probabilities, shape (n, K); or a scipy.sparse matrix of counts, shape
        (n, K), at least 0, whose rows may have any sum. A row of nothing but zeros does not count.
    bias : array_like, shape (K,), optional
        Intercepts b.
    class_weight, sample_weight, ignore_index, label_smoothing, z_loss, reduction
        As in `cross_entropy`. A row of counts is a sum of losses, one for each count, and in a
        mean it is one row.
    return_grad : bool, default False
        Also return the gradients; not with the reduction "none".
    scratch_bytes : int, default 64 MiB
        The most memory that is held beside the arguments, the gradients and one loss for each row.

    Returns
    -------
    loss : ndarray or scalar
        In the dtype of the products, summed in float64.
    gradients : tuple of ndarray
        With respect to X, W and b (None without bias), in the dtype of the products. Only with
        `return_grad`.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `cross_entropy` does, and if the gradients of single rows are asked for.

    Notes
    -----
    Rows are taken in chunks, as many as fit the scratch with the logits of all classes: the
    logits by one matrix product, their losses and gradient G = p - t in place, then G W and G' X.
    Where not even a few rows fit, classes are chunked too, and the logits computed twice.

    Nearly all of the time is NumPy's matrix products. `threadpoolctl.threadpool_info()` names the
    kernels that its BLAS has chosen: where it took "Haswell" on a processor with AVX-512, the
    environment variable ``OPENBLAS_CORETYPE=SKYLAKEX``, set before NumPy was imported, made them
    1.7 to 2 times as fast.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax import linear_cross_entropy
    >>> X, weight = np.eye(2), np.zeros((3, 2))
    >>> loss, (dX, dweight, dbias) = linear_cross_entropy(X, weight, [0, 2], return_grad=True)
    >>> print(round(loss, 6))
    1.098612
    >>> dweight.round(4)
    array([[-0.3333,  0.1667],
           [ 0.1667,  0.1667],
           [ 0.1667, -0.3333]])
    """
    check_options(reduction, label_smoothing=label_smoothing, z_loss=z_loss)
    if return_grad and reduction == "none":
        raise ValueError('reduction must be "sum" or "mean" with return_grad=True, got "none"')
    if scratch_bytes < 1:
        raise ValueError(f"scratch_bytes must be at least 1, got {scratch_bytes!r}")
    x, w, b = read_layer(X, weight, bias)
    shape = len(x), len(w)
    if hasattr(target, "tocsr"):
        t = count_target(target, shape, class_weight, sample_weight, float(label_smoothing))
    else:
        logits = np.broadcast_to(x[:0].sum(), shape)  # their shape, for the checks
        smoothing = float(label_smoothing)
        t = read_target(logits, target, 1, class_weight, sample_weight, ignore_index, smoothing)
    layer = Layer(x, w, b, t)
    if return_grad:
        layer.grad_x, layer.grad_weight = np.zeros(x.shape, x.dtype), np.zeros(w.shape, w.dtype)
        layer.grad_bias = None if b is None else np.zeros(len(w))
    losses = layer_losses(layer, scale_for(reduction, t.total), float(z_loss), int(scratch_bytes))
    loss = reduced(losses, reduction, (len(x),), x.dtype)
    if not return_grad:
        return loss
    grad_bias = None if layer.grad_bias is None else layer.grad_bias.astype(x.dtype)
    return loss, (layer.grad_x, layer.grad_weight, grad_bias)


def count_target(
    counts: Any,
    shape: tuple[int, int],
    class_weight: npt.ArrayLike | None,
    sample_weight: npt.ArrayLike | None,
    smoothing: float,
) -> Target:
    """Return sparse counts as a target."""
    matrix = counts.tocsr()
    counted = check_counts(matrix, shape)
    of_classes = class_weights(class_weight, shape[1])
    of_rows = read_weights(sample_weight, shape[:1], "sample_weight")
    return matrix_target(matrix, counted, of_classes, of_rows, smoothing)
