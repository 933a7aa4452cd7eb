"""
From PyTorch
============

For serving, sampling, post-processing and evaluation a framework is a lot to install for one
function. The functions here take and return NumPy arrays; ``tensor.numpy()`` and
``torch.from_numpy`` share memory with tensors on the CPU, so that going back and forth costs
nothing. There is no autograd: losses return their gradient on request, and derivatives have names.
"""

import numpy as np

import measured
import softmax
from benchmarks import migration
from figures import Table

# %%
# Names
# -----
#
# ``F`` stands for ``torch.nn.functional``.
#
# .. list-table::
#    :header-rows: 1
#    :widths: 38 32 30
#
#    * - PyTorch
#      - softmax
#      - what to mind
#    * - ``torch.softmax(x, dim)``, ``nn.Softmax``
#      - ``softmax(x, axis=-1)``
#      - the axis has a default; no dtype=
#    * - ``torch.log_softmax(x, dim)``
#      - ``log_softmax(x, axis=-1)``
#      - as above
#    * - ``torch.logsumexp(x, dim, keepdim)``
#      - ``logsumexp(x, axis=-1, keepdims=...)``
#      - keepdims, as in NumPy
#    * - ``torch.logcumsumexp(x, dim)``
#      - ``cumulative_logsumexp(x, axis=-1)``
#      - also in reverse
#    * - ``torch.sigmoid``, ``F.logsigmoid``, ``torch.logit``
#      - ``sigmoid``, ``log_sigmoid``, ``logit``
#      - logit has no eps=
#    * - ``F.softplus(x, beta, threshold=20)``
#      - ``softplus(x)``
#      - no threshold above which it is x itself
#    * - ``F.cross_entropy(x, y, weight=...)``
#      - ``cross_entropy(x, y, class_weight=...)``
#      - classes on the last axis; nothing is ignored by default
#    * - ``F.binary_cross_entropy_with_logits``
#      - ``binary_cross_entropy``
#      - logits, not probabilities
#    * - ``F.kl_div(log_q, p)``
#      - ``kl_divergence(p_logits, q_logits)``
#      - p first; both are logits; the mean is over slices
#    * - ``F.gumbel_softmax(x, tau, hard)``
#      - ``gumbel_softmax(x, temperature=..., hard=...)``
#      - a generator in place of the global seed
#    * - ``torch.multinomial(p, n, replacement=True)``
#      - ``sample(logits, n)``
#      - logits; temperature, top-k, top-p and min-p are options
#    * - ``distributions.Categorical(logits=x).entropy()``
#      - ``entropy(x)``
#      -
#    * - ``F.one_hot(x.argmax(-1), K)``
#      - ``hardmax(x)``
#      - ties share, unless ties='first'
#    * - ``loss.backward()``; ``x.grad``
#      - ``cross_entropy(..., return_grad=True)``
#      - loss and gradient in one pass
#    * - ``torch.func.jvp``, ``vjp`` of softmax
#      - ``softmax_jvp``, ``softmax_vjp``
#      -
#    * - ``F.cross_entropy(F.linear(X, W), y)``
#      - ``linear_cross_entropy(X, W, y)``
#      - logits are never kept
#    * - ``x.masked_fill(mask, -inf)``
#      - ``where=~mask``
#      - True takes part, as in NumPy
#    * - ``torch.set_num_threads``
#      - ``set_num_threads``, ``num_threads``
#      - also as a context

# %%
# Differences that can be seen
# ----------------------------
#
# PyTorch's answers were recorded with the version named below; those of this package were computed
# when the page was built. x, q, X are logits, y and Y labels, w class weights:

for name, array in migration.ARRAYS.items():
    print(f"{name} = {np.array2string(array, prefix='    ') if array.size < 9 else array.shape}")

# %%

recorded = measured.read("pytorch")
assert [row["call"] for row in recorded["rows"]] == [call for call, _ in migration.CALLS]
Table(
    (f"PyTorch {recorded['machine']['packages']['torch']}", "answers", "softmax", "answers"),
    [
        (f"`{row['call']}`", row["answer"], f"`{ours}`", answer)
        for row, (_, ours), answer in zip(
            recorded["rows"], migration.CALLS, migration.own_answers(), strict=True
        )
    ],
)

# %%
# In words:
#
# * Integers are scores like any others.
# * A limit is given where there is one: all for the entry at plus infinity.
# * Log-probabilities and losses next to 0 keep their digits.
# * The classes are on the last axis, not the second; ``axis=1`` where they are.
# * Nothing is ignored unless ``ignore_index`` says so, and a negative label is an error that names
#   its position. Where nothing counts the mean is 0, with a gradient of 0, not nan.
# * ``kl_div``'s mean is over entries; the one over slices is called ``batchmean`` there.
#
# Gradients
# ---------
#
# ``return_grad=True`` gives the gradient with respect to the logits; the layer and its weights are
# then one product away, or :func:`softmax.linear_cross_entropy` does it all.

logits = np.array([[2.0, 1.0, 0.1]], dtype=np.float32)
loss, gradient = softmax.cross_entropy(logits, [0], return_grad=True)
print(loss, gradient)

# %%
# Half precision
# --------------
#
# float16 and bfloat16 are computed in float32 and rounded once, as PyTorch does for softmax; NumPy
# has bfloat16 from ``ml_dtypes``, which is understood where it is installed.
