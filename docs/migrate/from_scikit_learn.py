"""
From scikit-learn
=================

:class:`softmax.learn.SoftmaxRegression` is multinomial logistic regression with the names,
defaults and habits of ``LogisticRegression``: it goes into pipelines, grid searches and
cross-validation, and for three or more classes the same ``C`` gives the same model.
"""

import numpy as np
import sklearn
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import softmax
from figures import Table
from softmax.learn import SigmoidRegression, SoftmaxRegression

X, y = load_digits(return_X_y=True)
X = X / 16
theirs = LogisticRegression(solver="newton-cg", tol=1e-8).fit(X, y)
ours = SoftmaxRegression(tol=1e-8).fit(X, y)
print("scikit-learn", sklearn.__version__)
print(f"largest difference of a probability: "
      f"{np.abs(theirs.predict_proba(X) - ours.predict_proba(X)).max():.1e}")  # fmt: skip

# %%
# Names
# -----
#
# .. list-table::
#    :header-rows: 1
#    :widths: 38 32 30
#
#    * - scikit-learn
#      - softmax
#      - what to mind
#    * - ``LogisticRegression()``
#      - ``softmax.learn.SoftmaxRegression()``
#      - two classes: see below
#    * - ``OneVsRestClassifier(LogisticRegression())``
#      - ``softmax.learn.SigmoidRegression()``
#      - also for labels that hold together
#    * - ``SGDClassifier(loss='log_loss').partial_fit``
#      - ``SoftmaxRegression().partial_fit``
#      - a class never seen before may come later
#    * - ``CalibratedClassifierCV(method='temperature')``
#      - ``softmax.learn.TemperatureScaling(model)``
#      - fitted on rows held out; no refitting in folds
#    * - ``metrics.log_loss(y, p)``
#      - ``softmax.cross_entropy(logits, y)``
#      - takes logits and positions of classes
#    * - ``utils.extmath.softmax(X)``
#      - ``softmax.softmax(X)``
#      - any shape and axis; X is never changed
#    * - ``joblib.dump(model)``
#      - ``model.save(path)``
#      - safetensors: no code is run when a file is read

# %%
# Parameters
# ----------

default, own = LogisticRegression().get_params(), SoftmaxRegression().get_params()
remarks = {
    "tol": "share of the optimum that the answer is certified to be within; theirs is a gradient",
    "max_iter": "most steps",
    "solver": "there is one, for every penalty and size",
    "penalty": "deprecated there; l1_ratio and C=np.inf say it",
    "l1_ratio": "0 is L2, 1 is L1, between is elastic net",
    "dual": "chooses between solvers there",
    "intercept_scaling": "intercepts carry no penalty",
    "n_jobs": "threads: `softmax.set_num_threads`, OMP_NUM_THREADS",
    "class_weight": "the same, as mapping or 'balanced'",
    "C": "the same, also np.inf",
    "fit_intercept": "the same",
    "random_state": "moves the result within tol",
    "verbose": "1 shows a bar",
    "warm_start": "the same",
    "early_stopping": "as in SGDClassifier",
    "validation_fraction": "as in SGDClassifier",
    "label_smoothing": "as in neural networks",
    "callback": "called at each step; returning True ends the training",
}
Table(
    ("parameter", "LogisticRegression", "SoftmaxRegression", "meaning"),
    [
        (
            f"`{name}`",
            f"`{default[name]!r}`" if name in default else "-",
            f"`{own[name]!r}`" if name in own else "-",
            remarks.get(name, "-"),
        )
        for name in dict.fromkeys([*own, *default])
    ],
)

# %%
# Two classes
# -----------
#
# Softmax keeps a row of weights for each class, for two classes too; scikit-learn keeps one row,
# and its penalty then counts twice as much. Two ways to get the same model:

X2, y2 = load_breast_cancer(return_X_y=True)
X2 = StandardScaler().fit_transform(X2)
tight = {"tol": 1e-10}
reference = LogisticRegression(C=2.0, max_iter=10_000, **tight).fit(X2, y2).predict_proba(X2)
for model in (SoftmaxRegression(C=1.0, **tight), SigmoidRegression(C=2.0, **tight)):
    difference = np.abs(model.fit(X2, y2).predict_proba(X2) - reference).max()
    print(f"{type(model).__name__}: coef_ {model.coef_.shape}, largest difference {difference:.1e}")

# %%
# What ``tol`` means
# ------------------
#
# A default fit there stops where a gradient is small, at whatever distance from the optimum that
# happens to be. Here it stops within a ten-thousandth of the optimum, and says so.

best = ours.history_["objective"][-1]


def above_the_optimum(model):
    """Return how far the objective of a model is above the lowest, as a share of it."""
    log_p = softmax.log_softmax(X @ model.coef_.T + model.intercept_)
    loss = -log_p[np.arange(len(y)), y].mean()
    return (loss + (model.coef_**2).sum() / (2 * len(y))) / best - 1


quick = SoftmaxRegression().fit(X, y)
print(f"SoftmaxRegression():  {above_the_optimum(quick):.1e}, "
      f"certified {quick.duality_gap_ / best:.1e}")  # fmt: skip
print(f"LogisticRegression(): {above_the_optimum(LogisticRegression(max_iter=1000).fit(X, y)):.1e}")

# %%
# Log-probabilities
# -----------------
#
# ``predict_log_proba`` there is the logarithm of rounded probabilities. Here it is computed as a
# logarithm, and keeps what is nearly impossible and nearly certain.

far = 100 * X[:1]
with np.errstate(divide="ignore"):
    print("scikit-learn", theirs.predict_log_proba(far).round(1))
print("softmax     ", ours.predict_log_proba(far).round(1))

# %%
# What can be passed to ``fit``
# -----------------------------
#
# Arrays, CSR matrices, data frames of pandas and Polars, memory maps; a function that returns an
# iterator of chunks, for data that do not fit in memory; and as y labels or a matrix of
# probabilities. Single precision stays single precision, in the model and in what it predicts.

votes = np.full((len(y), 10), 0.02)
votes[np.arange(len(y)), y] += 0.8
soft = SoftmaxRegression().fit(X.astype(np.float32), votes)
print(soft.coef_.dtype, soft.predict_proba(X[:1].astype(np.float32)).dtype)

# %%
# In a pipeline and a grid search it is like any other estimator:

search = GridSearchCV(
    make_pipeline(StandardScaler(), SoftmaxRegression()),
    {"softmaxregression__C": [0.01, 0.1, 1.0]},
)
print(search.fit(X2, y2).best_params_, f"{search.best_score_:.3f}")

# %%
# Other attributes
# ----------------
#
# ``n_iter_`` is one number, not an array; ``duality_gap_`` and ``history_`` are new. The rows of
# ``coef_`` sum to zero. Statsmodels' tables of estimates are there with ``C=np.inf``:
# :meth:`~softmax.learn.SoftmaxRegression.summary`.
