"""This package and its peers: how each does each operation, and the table of them all."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np

from benchmarks.cases import TARGETS, Arrays
from benchmarks.onnx_runtime import OnnxRuntime
from benchmarks.peer import ELEMENTWISE, Call, Into, Peer, places

Kept = tuple[slice | np.ndarray, np.ndarray]  # places of entries, and their logits


class Ours(Peer):
    name = "softmax"
    packages = ("softmax",)

    def __init__(self, threads: int):
        super().__init__(threads)
        import softmax

        softmax.set_num_threads(threads)
        self.package = softmax
        self.functions = dict(inspect.getmembers(softmax, inspect.isfunction))
        self.takes_out = frozenset(
            (name, variant)
            for name, function in self.functions.items()
            if "out" in inspect.signature(function).parameters
            for variant in ("plain", "masked", "tempered", *TARGETS)
        )

    def _call(self, operation: str, a: Arrays, **options: Any) -> Call:
        if operation not in ELEMENTWISE and a.axis != -1:
            options["axis"] = a.axis
        return partial(self.functions[operation], a.x, **options)

    def plain(self, operation: str, a: Arrays, into: Into) -> Call:
        return self._call(operation, a, **into)

    def masked(self, operation: str, a: Arrays, into: Into) -> Call:
        return self._call(operation, a, where=a.mask, **into)

    def tempered(self, operation: str, a: Arrays, into: Into) -> Call:
        return self._call(operation, a, temperature=a.temperature, **into)

    def weighted(self, operation: str, a: Arrays, into: Into) -> Call:
        return self._call(operation, a, weights=a.weights, **into)

    def softmax_vjp(self, a: Arrays) -> Call:
        return partial(self.package.softmax_vjp, a.x, a.dp, axis=a.axis)

    def softmax_jvp(self, a: Arrays) -> Call:
        return partial(self.package.softmax_jvp, a.x, a.dp, axis=a.axis)

    def cross_entropy(
        self, a: Arrays, in_place: bool = False, target: str = "target", **options: Any
    ) -> Call:
        """The gradient in a new array, or, like the softmax beside it, in that of the logits."""
        x = a.x.copy() if in_place else a.x
        if in_place:
            options["out"] = x
        loss = self.package.cross_entropy
        return partial(loss, x, getattr(a, target), return_grad=True, **options)

    def cross_entropy_smoothed(self, a: Arrays, in_place: bool = False) -> Call:
        return self.cross_entropy(a, in_place, label_smoothing=a.smoothing)

    def cross_entropy_soft(self, a: Arrays, in_place: bool = False) -> Call:
        return self.cross_entropy(a, in_place, "probabilities")

    def sample(self, a: Arrays, **options: Any) -> Call:
        return partial(self.package.sample, a.x, rng=np.random.default_rng(0), **options)

    def sample_tempered(self, a: Arrays) -> Call:
        return self.sample(a, temperature=a.temperature)

    def sample_top_k(self, a: Arrays) -> Call:
        return self.sample(a, top_k=a.top_k)

    def sample_top_p(self, a: Arrays) -> Call:
        return self.sample(a, top_p=a.top_p)

    def sample_min_p(self, a: Arrays) -> Call:
        return self.sample(a, min_p=a.min_p)

    def linear_cross_entropy(self, a: Arrays) -> Call:
        layer = self.package.linear_cross_entropy
        return partial(layer, a.features, a.weight, a.target, return_grad=True)


class SciPy(Peer):
    name = "SciPy"
    packages = ("scipy.special",)
    takes_out = frozenset((name, "plain") for name in ELEMENTWISE)

    def __init__(self, threads: int):
        super().__init__(threads)
        import scipy.special as special

        self.functions = {
            "softmax": special.softmax,
            "log_softmax": special.log_softmax,
            "logsumexp": special.logsumexp,
            "sigmoid": special.expit,
            "log_sigmoid": special.log_expit,
            "softplus": special.softplus,
            "logit": special.logit,
        }

    def plain(self, operation: str, a: Arrays, into: Into) -> Call:
        axis = {} if operation in ELEMENTWISE else {"axis": a.axis}
        return partial(self.functions[operation], a.x, **axis, **into)

    def masked(self, operation: str, a: Arrays, into: Into) -> Call:
        function, low = self.functions[operation], a.dtype.type(-np.inf)
        return lambda: function(np.where(a.mask, a.x, low), axis=a.axis)

    def tempered(self, operation: str, a: Arrays, into: Into) -> Call:
        function, temperature = self.functions[operation], a.dtype.type(a.temperature)
        return lambda: function(a.x / temperature, axis=a.axis)

    def weighted(self, operation: str, a: Arrays, into: Into) -> Call:
        return partial(self.functions[operation], a.x, b=a.weights, axis=a.axis)

    def softmax_vjp(self, a: Arrays) -> Call:
        softmax = self.functions["softmax"]

        def vjp() -> np.ndarray:
            p = softmax(a.x, axis=a.axis)
            return p * (a.dp - np.sum(p * a.dp, axis=a.axis, keepdims=True))

        return vjp

    softmax_jvp = softmax_vjp  # the Jacobian is symmetric

    def sample(self, a: Arrays, temperature: float = 1.0) -> Call:
        """NumPy's choice, from the softmax of a row by hand."""
        return self._choice(a, lambda row: (slice(None), row / a.dtype.type(temperature)))

    def sample_tempered(self, a: Arrays) -> Call:
        return self.sample(a, a.temperature)

    def sample_top_k(self, a: Arrays) -> Call:
        """No more than np.argpartition: the k largest need not be in order."""

        def largest(row: np.ndarray) -> Kept:
            order = np.argpartition(-row, a.top_k)[: a.top_k]
            return order, row[order]

        return self._choice(a, largest)

    def sample_top_p(self, a: Arrays) -> Call:
        """By argsort and cumsum."""

        def nucleus(row: np.ndarray) -> Kept:
            order = np.argsort(-row)
            p = np.exp(row[order] - row[order[0]]).astype(np.float64)
            order = order[: np.searchsorted(np.cumsum(p / p.sum()), a.top_p) + 1]
            return order, row[order]

        return self._choice(a, nucleus)

    def sample_min_p(self, a: Arrays) -> Call:
        def probable(row: np.ndarray) -> Kept:
            order = np.flatnonzero(row >= row.max() + np.log(a.dtype.type(a.min_p)))
            return order, row[order]

        return self._choice(a, probable)

    def _choice(self, a: Arrays, kept: Callable[[np.ndarray], Kept]) -> Call:
        """Draw from each row's kept entries, given which they are and their logits."""
        rng = np.random.default_rng(0)

        def draw(row: np.ndarray) -> int:
            places, logits = kept(row)
            p = np.exp(logits - logits.max()).astype(np.float64)
            drawn = rng.choice(len(p), p=p / p.sum())
            return drawn if isinstance(places, slice) else places[drawn]

        return lambda: np.array([draw(row) for row in a.x])


class PyTorch(Peer):
    name = "PyTorch"
    packages = ("torch",)
    takes_out = frozenset(
        (name, "plain")
        for name in ("softmax", "log_softmax", "logsumexp", "cumulative_logsumexp", *ELEMENTWISE)
    )

    def __init__(self, threads: int):
        super().__init__(threads)
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        self.functions = {
            "softmax": torch.softmax,
            "log_softmax": torch.log_softmax,
            "logsumexp": torch.logsumexp,
            "cumulative_logsumexp": torch.logcumsumexp,
            "sigmoid": torch.sigmoid,
            # torch.nn.functional has no out= for these two; the functions beneath it do.
            "log_sigmoid": torch._C._nn.log_sigmoid,
            "softplus": torch._C._nn.softplus,
            "logit": torch.logit,
        }

    def native(self, array: np.ndarray) -> Any:
        if array.dtype == ml_dtypes.bfloat16:
            return self.torch.from_numpy(array.view(np.int16)).view(self.torch.bfloat16)
        return self.torch.from_numpy(array)

    def to_numpy(self, result: Any) -> np.ndarray:
        result = result.detach().contiguous()
        if result.dtype == self.torch.bfloat16:
            return result.view(self.torch.int16).numpy().view(ml_dtypes.bfloat16)
        return result.numpy()

    def plain(self, operation: str, a: Arrays, into: Into) -> Call:
        return partial(self.functions[operation], self.native(a.x), *places(operation, a), **into)

    def masked(self, operation: str, a: Arrays, into: Into) -> Call:
        function, x, left_out = self.functions[operation], self.native(a.x), self.native(~a.mask)
        return lambda: function(x.masked_fill(left_out, -np.inf), a.axis)

    def tempered(self, operation: str, a: Arrays, into: Into) -> Call:
        function, x = self.functions[operation], self.native(a.x)
        return lambda: function(x / a.temperature, a.axis)

    def softmax_vjp(self, a: Arrays) -> Call:
        x, dp = self._differentiable(a.x), self.native(a.dp)
        return lambda: self.torch.autograd.grad(self.torch.softmax(x, a.axis), x, dp)[0]

    softmax_jvp = softmax_vjp  # the Jacobian is symmetric

    def cross_entropy(self, a: Arrays, target: str = "target", **options: Any) -> Call:
        x, wanted = self._differentiable(a.x), self.native(getattr(a, target))
        cross_entropy = partial(self.torch.nn.functional.cross_entropy, **options)

        def forward_backward() -> Any:
            loss = cross_entropy(x, wanted)
            return loss, *self.torch.autograd.grad(loss, x)

        return forward_backward

    def cross_entropy_smoothed(self, a: Arrays) -> Call:
        return self.cross_entropy(a, label_smoothing=a.smoothing)

    def cross_entropy_soft(self, a: Arrays) -> Call:
        return self.cross_entropy(a, "probabilities")

    def cross_entropy_loss(self, a: Arrays) -> Call:
        cross_entropy = self.torch.nn.functional.cross_entropy
        return partial(cross_entropy, self.native(a.x), self.native(a.target), reduction="none")

    def cross_entropy_gradient(self, a: Arrays) -> Call:
        x, target = self._differentiable(a.x), self.native(a.target)
        cross_entropy = partial(self.torch.nn.functional.cross_entropy, reduction="sum")
        return lambda: self.torch.autograd.grad(cross_entropy(x, target), x)[0]

    def linear_cross_entropy(self, a: Arrays) -> Call:
        X, weight = self._differentiable(a.features), self._differentiable(a.weight)
        target, functional = self.native(a.target), self.torch.nn.functional

        def forward_backward() -> Any:
            loss = functional.cross_entropy(functional.linear(X, weight), target)
            return loss, *self.torch.autograd.grad(loss, (X, weight))

        return forward_backward

    def sample(self, a: Arrays, temperature: float = 1.0) -> Call:
        x = self.native(a.x)
        softmax, multinomial = self.torch.softmax, self.torch.multinomial
        return lambda: multinomial(softmax(x / temperature, -1), 1)[:, 0]

    def sample_tempered(self, a: Arrays) -> Call:
        return self.sample(a, a.temperature)

    def sample_top_k(self, a: Arrays) -> Call:
        x = self.native(a.x)

        def draw() -> Any:
            values, places = self.torch.topk(x, a.top_k, dim=-1)
            drawn = self.torch.multinomial(self.torch.softmax(values, -1), 1)
            return places.gather(-1, drawn)[:, 0]

        return draw

    def sample_min_p(self, a: Arrays) -> Call:
        x = self.native(a.x)

        def draw() -> Any:
            p = self.torch.softmax(x, -1)
            p[p < a.min_p * p.amax(-1, keepdim=True)] = 0
            return self.torch.multinomial(p, 1)[:, 0]

        return draw

    def sample_top_p(self, a: Arrays) -> Call:
        x = self.native(a.x)

        def draw() -> Any:
            values, order = self.torch.sort(x, dim=-1, descending=True)
            p = self.torch.softmax(values, -1)
            p[p.cumsum(-1) - p >= a.top_p] = 0
            return order.gather(-1, self.torch.multinomial(p, 1))[:, 0]

        return draw

    def _differentiable(self, array: np.ndarray) -> Any:
        return self.native(array).detach().requires_grad_()


class JAX(Peer):
    """Everything compiled, inputs already on the device, the result waited for."""

    name = "JAX"
    packages = ("jax",)

    def __init__(self, threads: int):
        super().__init__(threads)
        import jax

        jax.config.update("jax_enable_x64", True)  # float32 stays float32; float64 is not demoted
        # The result is waited for at once, so the hand-over to another thread could only cost.
        jax.config.update("jax_cpu_enable_async_dispatch", False)
        self.jax = jax
        self.compiled: dict[tuple, Callable[..., Any]] = {}
        self.functions = {
            "softmax": jax.nn.softmax,
            "log_softmax": jax.nn.log_softmax,
            "logsumexp": jax.nn.logsumexp,
            "cumulative_logsumexp": jax.lax.cumlogsumexp,
            "sigmoid": jax.nn.sigmoid,
            "log_sigmoid": jax.nn.log_sigmoid,
            "softplus": jax.nn.softplus,
            "logit": jax.scipy.special.logit,
        }

    def native(self, array: np.ndarray) -> Any:
        return self.jax.device_put(array)

    def _compiled(self, a: Arrays, function: Callable[..., Any], *arrays: np.ndarray) -> Call:
        # One function for all arrays of a kind, so that JAX compiles once for each shape.
        kind = a.case.operation, a.case.variant, a.axis, a.temperature
        compiled = self.compiled.setdefault(kind, self.jax.jit(function))
        wait = self.jax.block_until_ready
        inputs = tuple(self.native(array) for array in arrays)
        return lambda: wait(compiled(*inputs))

    def plain(self, operation: str, a: Arrays, into: Into) -> Call:
        function = self.functions[operation]
        axes = tuple(axis % a.x.ndim for axis in places(operation, a))
        return self._compiled(a, lambda x: function(x, *axes), a.x)

    def masked(self, operation: str, a: Arrays, into: Into) -> Call:
        function = self.functions[operation]
        return self._compiled(a, lambda x, mask: function(x, a.axis, where=mask), a.x, a.mask)

    def tempered(self, operation: str, a: Arrays, into: Into) -> Call:
        function = self.functions[operation]
        return self._compiled(a, lambda x: function(x / a.temperature, a.axis), a.x)

    def weighted(self, operation: str, a: Arrays, into: Into) -> Call:
        function = self.functions[operation]
        return self._compiled(a, lambda x, b: function(x, a.axis, b=b), a.x, a.weights)

    def softmax_vjp(self, a: Arrays) -> Call:
        def vjp(x: Any, dp: Any) -> Any:
            return self.jax.vjp(lambda x: self.jax.nn.softmax(x, a.axis), x)[1](dp)[0]

        return self._compiled(a, vjp, a.x, a.dp)

    softmax_jvp = softmax_vjp  # the Jacobian is symmetric

    def _losses(self, x: Any, target: Any) -> Any:
        at_label = self.jax.numpy.take_along_axis(x, target[:, None], axis=-1)[:, 0]
        return self.jax.nn.logsumexp(x, axis=-1) - at_label

    def _mean_loss(self, x: Any, target: Any) -> Any:
        return self._losses(x, target).mean()

    def cross_entropy(self, a: Arrays) -> Call:
        return self._compiled(a, self.jax.value_and_grad(self._mean_loss), a.x, a.target)

    def cross_entropy_smoothed(self, a: Arrays) -> Call:
        def loss(x: Any, target: Any) -> Any:
            uniform = self.jax.nn.logsumexp(x, axis=-1) - x.mean(axis=-1)
            return ((1 - a.smoothing) * self._losses(x, target) + a.smoothing * uniform).mean()

        return self._compiled(a, self.jax.value_and_grad(loss), a.x, a.target)

    def cross_entropy_soft(self, a: Arrays) -> Call:
        def loss(x: Any, target: Any) -> Any:
            return -(target * self.jax.nn.log_softmax(x, axis=-1)).sum(axis=-1).mean()

        return self._compiled(a, self.jax.value_and_grad(loss), a.x, a.probabilities)

    def cross_entropy_loss(self, a: Arrays) -> Call:
        return self._compiled(a, self._losses, a.x, a.target)

    def cross_entropy_gradient(self, a: Arrays) -> Call:
        total = self.jax.grad(lambda x, target: self._losses(x, target).sum())
        return self._compiled(a, total, a.x, a.target)

    def linear_cross_entropy(self, a: Arrays) -> Call:
        def loss(X: Any, weight: Any, target: Any) -> Any:
            return self._mean_loss(X @ weight.T, target)

        def loss_and_gradients(X: Any, weight: Any, target: Any) -> Any:
            value, gradients = self.jax.value_and_grad(loss, argnums=(0, 1))(X, weight, target)
            return value, *gradients

        return self._compiled(a, loss_and_gradients, a.features, a.weight, a.target)


PEERS: tuple[type[Peer], ...] = (Ours, SciPy, PyTorch, JAX, OnnxRuntime)
