"""Softmax and everything built on it: exact, fast, NumPy first."""

from softmax.binary import log_sigmoid, logit, sigmoid, softplus
from softmax.derivatives import softmax_jacobian, softmax_jvp, softmax_vjp
from softmax.divergence import distillation_loss, kl_divergence
from softmax.functions import (
    cumulative_logsumexp,
    entropy,
    hardmax,
    log_softmax,
    logsumexp,
    softmax,
)
from softmax.layer import (
    linear_cross_entropy,
    softmax_layer,
    softmax_layer_jacobian,
    softmax_layer_vjp,
)
from softmax.losses import binary_cross_entropy, cross_entropy, focal_loss
from softmax.maxima import logmeanexp, mellowmax, smooth_max
from softmax.policies import BoltzmannPolicy, GradientBandit
from softmax.sampling import filter_logits, gumbel_softmax, sample
from softmax.streaming import OnlineLogSumExp
from softmax.threads import build_info, get_num_threads, num_threads, set_num_threads

__version__ = "0.1.0"

__all__ = [
    "BoltzmannPolicy",
    "GradientBandit",
    "OnlineLogSumExp",
    "binary_cross_entropy",
    "build_info",
    "cross_entropy",
    "cumulative_logsumexp",
    "distillation_loss",
    "entropy",
    "filter_logits",
    "focal_loss",
    "get_num_threads",
    "gumbel_softmax",
    "hardmax",
    "kl_divergence",
    "linear_cross_entropy",
    "log_sigmoid",
    "log_softmax",
    "logit",
    "logmeanexp",
    "logsumexp",
    "mellowmax",
    "num_threads",
    "sample",
    "set_num_threads",
    "sigmoid",
    "smooth_max",
    "softmax",
    "softmax_jacobian",
    "softmax_jvp",
    "softmax_layer",
    "softmax_layer_jacobian",
    "softmax_layer_vjp",
    "softmax_vjp",
    "softplus",
]
