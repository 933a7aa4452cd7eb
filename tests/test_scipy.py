"""softmax.scipy is scipy.special: SciPy's own tests pass, and so do its signatures."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.special

import softmax as sm
import softmax.scipy

TESTS = Path(__file__).parent


@pytest.mark.parametrize("cpu", ["native", "reference"])
@pytest.mark.parametrize(("module", "tests"), [("test_logsumexp", 350), ("test_logit", 10)])
def test_scipys_own_tests_pass(module, tests, cpu, tmp_path):
    """Swap the functions in SciPy's test files, in a process that knows nothing of this suite."""
    environment = dict(os.environ)
    if cpu == "reference":
        environment["SOFTMAX_CPU"] = "reference"
    elif not sm.build_info()["native"]:
        pytest.skip("the native kernels were not compiled, or are switched off")
    paths = [str(TESTS), *(path for path in sys.path if path)]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "-p", "no:cacheprovider"]
    command += ["-p", "scipy_swap", "--pyargs", f"scipy.special.tests.{module}"]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    called = re.search(r"(\d+) tests called softmax\.scipy", done.stdout)
    assert called is not None
    assert int(called[1]) >= tests


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_signature_is_scipys(name):
    ours = inspect.signature(getattr(softmax.scipy, name)).parameters.values()
    theirs = inspect.signature(getattr(scipy.special, name)).parameters.values()
    assert [(p.name, p.default, p.kind) for p in ours] == [
        (p.name, p.default, p.kind) for p in theirs
    ]


@pytest.mark.parametrize("name", ["expit", "log_expit", "logit"])
def test_elementwise_functions_take_out_as_ufuncs_do(name):
    x = np.linspace(0.1, 0.9, 7)
    ours, theirs = getattr(softmax.scipy, name), getattr(scipy.special, name)
    out = np.empty(7)
    assert ours(x, out) is out
    np.testing.assert_allclose(out, theirs(x), rtol=1e-15, atol=1e-16)
    assert isinstance(ours(0.25), np.float64)


def test_all_entries_by_default():
    x = np.arange(6.0).reshape(2, 3)
    assert softmax.scipy.softmax(x).sum() == pytest.approx(1)
    assert np.shape(softmax.scipy.logsumexp(x)) == ()
    np.testing.assert_array_equal(softmax.scipy.log_softmax(x, axis=0), sm.log_softmax(x, axis=0))


def test_a_and_b_broadcast_against_each_other():
    a, b = np.zeros((4, 1, 2, 1)), np.ones((3, 1, 5))
    assert softmax.scipy.logsumexp(a, b=b) == pytest.approx(np.log(4 * 3 * 2 * 5))
    assert softmax.scipy.logsumexp(a, axis=(0, -1), b=b, keepdims=True).shape == (1, 3, 2, 1)
    with pytest.raises(ValueError, match=r"a and b.*\(2,\).*\(3,\)"):
        softmax.scipy.logsumexp([0, 0], b=[1, 1, 1])


def test_complex_logsumexp_agrees_with_a_wider_sum():
    rng = np.random.default_rng(0)
    a = rng.normal(0, 20, (50, 8)) + 1j * rng.uniform(-9, 9, (50, 8))
    b = rng.normal(size=(50, 8))
    wide = a.astype(np.clongdouble)
    for factors in (None, b, b * (1 + 2j)):
        weight = 1 if factors is None else factors
        expected = np.log((weight * np.exp(wide)).sum(axis=1))
        result = softmax.scipy.logsumexp(a, axis=1, b=factors)
        np.testing.assert_allclose(result, expected.astype(complex), rtol=1e-14)
        size, phase = softmax.scipy.logsumexp(a, axis=1, b=factors, return_sign=True)
        assert size.dtype == np.float64
        np.testing.assert_allclose(size, expected.real.astype(float), rtol=1e-14)
        np.testing.assert_allclose(phase, np.exp(1j * expected.imag).astype(complex), rtol=1e-13)


def test_complex_logsumexp_takes_axes_masks_and_single_precision():
    a = (np.arange(24.0).reshape(2, 3, 4) * (0.25 + 0.5j)).astype(np.complex64)
    expected = np.log(np.exp(a.astype(complex)).sum(axis=(0, 2)))
    result = softmax.scipy.logsumexp(a, axis=(0, -1))
    assert result.dtype == np.complex64
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    masked = np.ma.array([1j, 5 + 1j], mask=[False, True])
    assert softmax.scipy.logsumexp(masked) == 1j
    assert softmax.scipy.logsumexp(np.zeros(0, complex)) == -np.inf


def test_zero_weight_adds_nothing_even_to_infinity_and_nan():
    for a in ([1.0, np.inf, np.nan], [1.0, np.inf, np.nan + 0j]):
        np.testing.assert_allclose(softmax.scipy.logsumexp(a, b=[1, 0, 0]), 1.0, rtol=5e-16)


def test_better_than_scipy_where_scipy_is_wrong():
    """Integers subtract without wrapping around; +inf has a limit; the top entry is not 0."""
    x = np.array([0, 255], np.uint8)
    np.testing.assert_allclose(softmax.scipy.softmax(x), [1 / (1 + np.exp(255)), 1], rtol=1e-15)
    np.testing.assert_array_equal(softmax.scipy.softmax([1.0, np.inf]), [0, 1])
    assert softmax.scipy.log_softmax([0.0, -40.0])[0] == -4.248354255291589e-18


def test_scipy_is_not_imported():
    code = "import sys, softmax.scipy; print('scipy' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
