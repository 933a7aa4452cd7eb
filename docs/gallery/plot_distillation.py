"""
Distilling a neural network into a linear model
===============================================

A small network that saw a thousand digits teaches a linear model that has seen the labels of fifty.
What it hands on are not labels but probabilities, softened by a temperature so that the unlikely
classes show too: which digits look alike is worth more than which one is right (Hinton, Vinyals and
Dean, 2015).
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import softmax
from softmax.learn import SoftmaxRegression

X, y = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(X))
X, y = X[order] / 16, y[order]
pool, test = slice(0, 1000), slice(1000, None)
FEW, TEMPERATURE, PENALTY = 50, 3.0, 1e-3

teacher = MLPClassifier(64, max_iter=1000, random_state=0).fit(X[pool], y[pool])
teacher_logits = teacher.predict_log_proba(X[pool])
print(f"teacher, {len(X[pool])} labels: accuracy {teacher.score(X[test], y[test]):.3f}")

# %%
# The student is softmax(W x + b). With alpha = 1 the loss is cross-entropy with the labels, and the
# teacher has no say; with alpha = 0.5 half of it is the divergence from the teacher's soft outputs.


def train(alpha):
    """Fit a student to the few labelled images."""
    rows, logits, labels = X[:FEW], teacher_logits[:FEW], y[:FEW]

    def loss_and_gradient(parameters):
        weight, bias = parameters[:-10].reshape(10, -1), parameters[-10:]
        loss, slope = softmax.distillation_loss(
            rows @ weight.T + bias,
            logits,
            labels,
            temperature=TEMPERATURE,
            alpha=alpha,
            return_grad=True,
        )
        loss += PENALTY / 2 * (weight**2).sum()
        gradient = np.concatenate([(slope.T @ rows + PENALTY * weight).ravel(), slope.sum(axis=0)])
        return loss, gradient

    start = np.zeros(10 * X.shape[1] + 10)
    best = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B").x
    return best[:-10].reshape(10, -1), best[-10:]


accuracy = {}
for name, alpha in (("labels alone", 1.0), ("labels and soft targets", 0.5)):
    weight, bias = train(alpha)
    accuracy[name] = ((X[test] @ weight.T + bias).argmax(axis=1) == y[test]).mean()

# %%
# The teacher can also speak about images without labels, as many as there are: probabilities are
# targets of softmax regression like any others.

soft = softmax.softmax(teacher_logits, temperature=TEMPERATURE)
student = SoftmaxRegression(C=1e3).fit(X[pool], soft)
predicted = student.predict_proba(X[test]).argmax(axis=1)
accuracy["soft targets of unlabelled images"] = (predicted == y[test]).mean()

base = accuracy["labels alone"]
for name, share in accuracy.items():
    print(f"student from {name}: accuracy {share:.3f}, gain {share - base:+.3f}")

figure, axes = plt.subplots(layout="constrained")
axes.barh(list(accuracy), list(accuracy.values()))
axes.axvline(teacher.score(X[test], y[test]), color="gray", linestyle=":", label="teacher")
axes.set(xlim=(0.7, 1), xlabel="accuracy on new images")
axes.legend(loc="lower right")
plt.show()
