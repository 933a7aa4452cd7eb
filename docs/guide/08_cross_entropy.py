r"""
Cross-entropy
=============

How wrong is a probability? If the model gave probability p to what happened, the loss is
:math:`-\log p`: nothing for a sure and right answer, more the less likely the truth seemed, without
bound for a sure and wrong one. Averaged over the data it is the *cross-entropy*, and minimising it
is the same as maximising likelihood.
"""

import numpy as np

import softmax

logits = np.array([[2.0, 1.0, 0.1], [0.5, 2.5, 0.3]])
labels = np.array([0, 2])
print(softmax.cross_entropy(logits, labels, reduction="none"))
print(-np.log(softmax.softmax(logits)[[0, 1], labels]))

# %%
# Why it goes with softmax
# ------------------------
#
# The exponential of softmax and the logarithm of the loss cancel, and the gradient with respect to
# the logits is as simple as can be: probabilities minus targets, p - y.

loss, gradient = softmax.cross_entropy(logits, labels, reduction="sum", return_grad=True)
print(gradient)
print(softmax.softmax(logits) - np.eye(3)[labels])

# %%
# A wrong answer given with confidence is pushed back with full force. Squared error on
# probabilities has the slope of softmax as a factor, which vanishes where the model is sure, right
# or wrong:

wrong, target = np.array([-8.0, 8.0]), np.array([1.0, 0.0])
_, slope = softmax.cross_entropy(wrong, 0, return_grad=True)
p = softmax.softmax(wrong)
print("cross-entropy:", slope)
print("squared error:", softmax.softmax_vjp(wrong, 2 * (p - target)))

# %%
# Losses next to zero
# -------------------
#
# A model that is nearly perfect has losses near 0 and goes on learning from them, if they are
# there. Computed as :math:`\operatorname{logsumexp}(x) - x_y` they are lost in rounding; here loss
# and gradient keep their digits, in single precision too.

sure = np.array([5.0, -15.0], dtype=np.float32)
loss, gradient = softmax.cross_entropy(sure, 0, return_grad=True)
print("as a difference:", softmax.logsumexp(sure) - sure[0])
print("cross_entropy:  ", loss, gradient)

# %%
# Targets that are not labels
# ---------------------------
#
# A target may be a distribution, such as the votes of several people. Label smoothing moves some of
# every target to all classes alike, so that no answer is worth infinite confidence. Labels under
# ``ignore_index`` do not count.

votes = np.array([[0.7, 0.2, 0.1], [0.0, 0.4, 0.6]])
print(softmax.cross_entropy(logits, votes))
print(softmax.cross_entropy(logits, labels, label_smoothing=0.1))
print(softmax.cross_entropy(logits, [0, -1], ignore_index=-1), softmax.cross_entropy(logits[0], 0))

# %%
# Entropy and divergence
# ----------------------
#
# The loss of the best possible answer to a distribution is its entropy, and what a model loses
# beyond that is the Kullback-Leibler divergence.

q = np.log([[0.7, 0.2, 0.1]])
print(softmax.entropy(q)[0] + softmax.kl_divergence(q, logits[:1]))
print(softmax.cross_entropy(logits[:1], np.exp(q)))
