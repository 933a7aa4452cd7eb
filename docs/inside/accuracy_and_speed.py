"""
Accuracy and speed
==================

The same functions of SciPy, PyTorch, JAX and ONNX Runtime, on the same arrays, in the same process,
taking turns. What this page shows was measured by ``make accuracy`` and ``make bench``, and put
here by ``make results``. Run them to see your own machine.
"""

import measured

# %%
# Accuracy
# --------
#
# Largest errors in ulp, units in the last place of the correctly rounded result, in the dtype of
# the input. The judge is arithmetic in a wider type, itself held against hundreds of digits. The
# first figure is over rows of N(0, 3), what scores usually look like; the second adds near ties,
# one dominant entry, large numbers, subnormal results and the extremes of the dtype. inf stands for
# a nan or an infinity where the result is finite. "promised" is the bound that the tests hold this
# package to; in double precision, sums of terms of both signs are measured at the size of the
# terms.

print(measured.circumstances(measured.ACCURACY))
measured.errors("float32")

# %%
# The same with options, where a peer that has none of its own gets what its users would write:

measured.errors("float32", options=True)

# %%
# Double precision:

measured.errors("float64")

# %%
# Half precision, float16 and bfloat16. Peers that answer in a wider type are rounded to that of the
# input.

measured.errors("float16")

# %%

measured.errors("bfloat16")

# %%
# Speed
# -----
#
# Every ratio is the time of the fastest peer over the time of this package: above 1, this package
# is faster. The mean is geometric.

print(measured.circumstances(measured.SPEED))
measured.ratios()

# %%
# Softmax in single precision on one thread, in microseconds a call:

measured.times("softmax", "float32")

# %%
# Bandwidth
# ---------
#
# Rows of every length, cut from one array of 64 MiB. A plain copy is as fast as memory allows.

measured.bandwidth()

# %%
# Training
# --------
#
# :class:`softmax.learn.SoftmaxRegression` beside scikit-learn's ``LogisticRegression``: the same
# objective, the default tolerance here, and for scikit-learn the fastest of its solvers with the
# loosest tolerance that comes within 1e-4 of the optimum.

print(measured.circumstances(measured.TRAINING))
print("threads:", measured.TRAINING["threads"], end="\n\n")
print(*(row["line"] for row in measured.TRAINING["rows"]), sep="\n")
