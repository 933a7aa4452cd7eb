"""
From SciPy
==========

There are two ways to move. ``softmax.scipy`` has the signatures and defaults of ``scipy.special``,
so that an import is all that changes in a program, and SciPy's own tests of these functions pass
with it. ``softmax`` itself has the same functions with more options, and its axis is the last one
unless another is named.
"""

import numpy as np
import scipy
from scipy import special, stats

import softmax
from figures import Table, answer
from softmax import scipy as drop_in

# %%
# Names
# -----
#
# .. list-table::
#    :header-rows: 1
#    :widths: 27 22 27 24
#
#    * - SciPy
#      - the same call
#      - with more options
#      - what to mind
#    * - ``special.softmax(x, axis=None)``
#      - ``softmax.scipy.softmax``
#      - ``softmax.softmax(x, axis=-1)``
#      - the default axis
#    * - ``special.log_softmax(x, axis=None)``
#      - ``softmax.scipy.log_softmax``
#      - ``softmax.log_softmax(x, axis=-1)``
#      - the default axis
#    * - ``special.logsumexp(a, axis=None, b=None)``
#      - ``softmax.scipy.logsumexp``
#      - ``softmax.logsumexp(x, axis=-1, weights=None)``
#      - the default axis; complex numbers only in softmax.scipy
#    * - ``special.expit``
#      - ``softmax.scipy.expit``
#      - ``softmax.sigmoid``
#      - a function, not a ufunc: out=, but no where= or dtype=
#    * - ``special.log_expit``
#      - ``softmax.scipy.log_expit``
#      - ``softmax.log_sigmoid``
#      - as above
#    * - ``special.logit``
#      - ``softmax.scipy.logit``
#      - ``softmax.logit``
#      - as above
#    * - ``special.softplus``
#      -
#      - ``softmax.softplus``
#      - as above
#    * - ``stats.entropy(pk)``
#      -
#      - ``softmax.entropy(x)``
#      - takes logits, not probabilities
#    * - ``stats.entropy(pk, qk)``, ``special.rel_entr``
#      -
#      - ``softmax.kl_divergence(p_logits, q_logits)``
#      - takes logits

# %%
# Differences that can be seen
# ----------------------------
#
# Both libraries were asked when this page was built; "warns" stands behind an answer that came with
# a warning.

matrix = [[0.0, 0.0], [0.0, 0.0]]
calls = {
    "`softmax` of a 2 x 2 matrix of zeros": ("softmax", matrix),
    "`softmax([1, inf])`": ("softmax", [1.0, np.inf]),
    "`softmax([inf, inf])`": ("softmax", [np.inf, np.inf]),
    "`softmax([-inf, -inf])`": ("softmax", [-np.inf, -np.inf]),
    "`log_softmax([1, inf])`": ("log_softmax", [1.0, np.inf]),
    "`log_softmax([0, -40])`": ("log_softmax", [0.0, -40.0]),
    "`logsumexp([-inf, -inf])`": ("logsumexp", [-np.inf, -np.inf]),
    "`logsumexp([])`": ("logsumexp", []),
    "`softmax([])`": ("softmax", []),
    "`softmax` of `uint8` [0, 255]": ("softmax", np.array([0, 255], np.uint8)),
    "`softmax(['a'])`": ("softmax", ["a"]),
}
Table(
    ("call", f"SciPy {scipy.__version__}", "softmax"),
    [
        (call, answer(getattr(special, name), x), answer(getattr(softmax, name), x))
        for call, (name, x) in calls.items()
    ],
)

# %%
# The first row is the one to look for in a program: without an axis SciPy takes all entries
# together. ``softmax.scipy`` does as SciPy does there:

print(drop_in.softmax(matrix))
print(drop_in.logsumexp([1j, 1j]), special.logsumexp([1j, 1j]))

# %%
# Dtypes
# ------
#
# Floats keep their type in both. float16 is computed in single precision here and rounded once;
# bfloat16, as ``ml_dtypes`` has it, is understood as well; integers become float64 before anything
# is subtracted.

x = np.random.default_rng(0).normal(0, 3, 1000)
rows = []
for dtype in (np.float16, np.float32, np.float64, np.int64):
    given = x.astype(dtype)
    exact = special.softmax(given.astype(np.longdouble))
    row = [f"`{np.dtype(dtype)}`"]
    for result in (special.softmax(given), softmax.softmax(given)):
        units = np.abs(result - exact) / np.spacing(np.abs(exact).astype(result.dtype))
        row += [f"`{result.dtype}`", f"{float(units.max()):.2f}"]
    rows.append(row)
Table(("input", "SciPy gives", "ulp", "softmax gives", "ulp"), rows)

# %%
# Instead of workarounds
# ----------------------
#
# What is usually built around SciPy's functions has a name here, and is as exact as the rest.

mask = np.array([True, False, True])
logits = np.array([1.0, 2.0, 3.0])
print(special.softmax(np.where(mask, logits, -np.inf)), softmax.softmax(logits, where=mask))
print(special.softmax(logits / 0.7), softmax.softmax(logits, temperature=0.7))
print(special.logsumexp(logits) - np.log(3), softmax.logmeanexp(logits))
print(stats.entropy(special.softmax(logits)), softmax.entropy(logits))

# %%
# With ``out=`` a result is written into an array that is there already; SciPy's softmax and
# logsumexp have no such argument.
#
# What stays with SciPy
# ---------------------
#
# Arrays of PyTorch, JAX or CuPy, which recent versions of SciPy pass on to those libraries; here
# everything is NumPy. And all the other special functions.
