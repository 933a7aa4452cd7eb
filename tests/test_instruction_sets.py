"""Instruction sets give the same bits: chosen at import, so each in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import softmax as sm
from catalog import BFLOAT16, DTYPES, FUNCTIONS
from families import draw, families_of

FUSED = {"x86-64-v3", "x86-64-v4", "aarch64"}  # with a fused multiply-add


_COMPUTE = """
import sys
import numpy as np
import softmax
from test_instruction_sets import every_result
np.savez(sys.argv[1], target=softmax.build_info()["target"], **every_result())
"""


def cases():
    for function in FUNCTIONS:
        for dtype in DTYPES:
            for variant in range(len(function.variants)):
                for family in ("N(0,3)", "one dominant", "subnormal results"):
                    if family not in families_of(function):
                        continue
                    for length in (1, 3, 16, 70, 1000, 5000) if variant == 0 else (70,):
                        yield function, dtype, variant, family, length
    for name in ("softmax", "logsumexp"):
        function = next(f for f in FUNCTIONS if f.name == name)
        for dtype in DTYPES:
            yield function, dtype, 0, "N(0,3)", 100_000


def tiles_and_batches():
    """Yield arrays of slices side by side, some of which rise after the first, or sum to one."""
    rng = np.random.default_rng(0)
    shapes = ((100, 150), 0), ((20, 100), 1), ((20, 1000), 1), ((40, 700), 1), ((200, 10), 1)
    for shape, axis in shapes:
        for rise in (0, 30, 60):
            x = rng.normal(0, 3, shape)
            np.moveaxis(x, axis, 0)[shape[axis] // 2 :, ::7] += rise
            yield x, axis
        yield x - np.log(np.exp(x).sum(axis=axis, keepdims=True)), axis


def every_result():
    """Compute each case; bfloat16 as its bits, which every file format knows."""
    results = {}
    for number, (function, dtype, variant, family, length) in enumerate(cases()):
        x = draw(function, family, length, dtype)
        result = np.asarray(function(x, **function.variants[variant]))
        results[str(number)] = result.view(np.uint16) if result.dtype == BFLOAT16 else result
    for number, (x, axis) in enumerate(tiles_and_batches()):
        for dtype in (np.float16, np.float32, np.float64):
            for function in (sm.softmax, sm.log_softmax, sm.logsumexp):
                name = f"{function.__name__} {np.dtype(dtype)} {number}"
                results[name] = function(x.astype(dtype), axis)
            labels = np.arange(x.size // x.shape[axis]) % x.shape[axis]
            loss, gradient = sm.cross_entropy(x.astype(dtype), labels, axis, return_grad=True)
            results[f"loss {np.dtype(dtype)} {number}"] = loss
            results[f"gradient {np.dtype(dtype)} {number}"] = gradient
    return results


def run(code, target, *arguments):
    paths = [str(Path(sm.__file__).parents[1]), str(Path(__file__).parent)]
    path = os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"SOFTMAX_CPU": target, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env=environment, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip


def available_targets():
    """Return the instruction sets of this machine that the native kernels were built for."""
    pytest.importorskip("softmax._core", reason="the native kernels were not compiled")
    code = "import json, softmax; print(json.dumps(softmax.build_info()['targets']))"
    environment = {k: v for k, v in os.environ.items() if k != "SOFTMAX_CPU"}
    path = os.pathsep.join([str(Path(sm.__file__).parents[1]), environment.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | {"PYTHONPATH": path},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return [target for target in json.loads(done.stdout) if target != "reference"]


@pytest.fixture(scope="module")
def results_by_target(tmp_path_factory):
    folder = tmp_path_factory.mktemp("targets")
    results = {}
    for target in available_targets():
        run(_COMPUTE, target, str(folder / f"{target}.npz"))
        with np.load(folder / f"{target}.npz") as file:
            results[target] = dict(file)
    return results


def test_the_forced_instruction_set_runs(results_by_target):
    assert results_by_target
    for target, results in results_by_target.items():
        assert results["target"] == target


def test_every_fused_instruction_set_gives_the_same_bits(results_by_target):
    fused = [target for target in results_by_target if target in FUSED]
    if len(fused) < 2:
        pytest.skip(f"this machine has {fused} only")
    first, *others = (results_by_target[target] for target in fused)
    for name in first.keys() - {"target"}:
        for other in others:
            assert other[name].tobytes() == first[name].tobytes(), name


def test_every_instruction_set_is_within_bounds(results_by_target):
    for number, (function, dtype, variant, family, length) in enumerate(cases()):
        exact = function.exact(draw(function, family, length, dtype), **function.variants[variant])
        for target, results in results_by_target.items():
            got = results[str(number)]
            result_dtype = function.result_dtype(dtype)
            got = got.view(BFLOAT16) if result_dtype == BFLOAT16 else got
            worst = np.max(function.errors(got, exact, result_dtype))
            assert worst <= 1, (target, function.name, dtype, family, length)


def test_numbers_that_overflow_on_every_instruction_set():
    """Products that are too large, or of numbers too large for them to be taken apart."""
    code = """
import numpy, softmax
for rows in (1, 70):
    cold = softmax.softmax(numpy.tile([1.0, 0.0], (rows, 1)), temperature=1e-310)
    far = numpy.tile(numpy.float32([3e38, -3e38]), (rows, 1))
    far = softmax.log_softmax(far, temperature=0.7)
    print(numpy.unique(cold, axis=0).tolist(), numpy.unique(far, axis=0).tolist())
"""
    for target in available_targets():
        assert run(code, target).splitlines() == 2 * ["[[1.0, 0.0]] [[0.0, -inf]]"], target


def test_reference_can_be_forced():
    code = "import softmax; print(softmax.build_info()['target'], softmax.softmax([1.0, 1.0]))"
    assert run(code, "reference").split() == ["reference", "[0.5", "0.5]"]


def test_every_instruction_set_draws_the_same():
    code = """
import hashlib, numpy, softmax
x = numpy.random.default_rng(0).normal(0, 3, (5, 3000)).astype(numpy.float32)
draws = [
    softmax.sample(logits, 200, rng=1, **options).tobytes()
    for logits in (x, x.astype(float))
    for options in ({}, {"temperature": 0.7, "top_p": 0.9}, {"top_k": 300, "min_p": 0.01})
]
print(hashlib.sha256(b"".join(draws)).hexdigest())
"""
    assert len({run(code, target) for target in [*available_targets(), "reference"]}) == 1
