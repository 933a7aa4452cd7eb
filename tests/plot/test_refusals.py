"""Bad input to pictures, names of all kinds, and what is imported without them."""

import subprocess
import sys

import numpy as np
import pytest

from pictures import HISTORY, LOGITS, POINTS, VECTORS, Sides, matplotlib, plt
from softmax import plot

# ---- bad input


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: plot.smooth_max(0), ValueError, "k must be a number other than 0"),
        (lambda: plot.smooth_max([1, np.inf]), ValueError, "k must be finite, got inf"),
        (
            lambda: plot.smooth_max(xlim=(4, 2)),
            ValueError,
            r"xlim must be .* in order, got \(4, 2\)",
        ),
        (lambda: plot.smooth_max(ylim=3), ValueError, "ylim must be two numbers, got 3"),
        (lambda: plot.smooth_max(constant=np.nan), ValueError, "constant must be finite, got nan"),
        (lambda: plot.temperature([[1, 2]]), ValueError, r"x must be one row .* shape \(1, 2\)"),
        (lambda: plot.temperature([1, 2], tlim=(0, 1)), ValueError, "tlim must be positive"),
        (
            lambda: plot.temperature([1, 2], labels="a"),
            ValueError,
            "labels must hold 2 names, got 1",
        ),
        (lambda: plot.sigmoid(xlim=(0, np.inf)), ValueError, "xlim must be two finite numbers"),
        (lambda: plot.jacobian([]), ValueError, r"x must be one row .* shape \(0,\)"),
        (lambda: plot.jacobian(["a"]), TypeError, "x must hold real numbers"),
        (
            lambda: plot.jacobian([1, 2], temperature=-1),
            ValueError,
            "temperature must be 0 or more",
        ),
        (lambda: plot.probabilities([1, np.nan]), ValueError, "x must be finite, got nan"),
        (lambda: plot.probabilities(3.0), ValueError, r"x must be one row .* shape \(\)"),
        (lambda: plot.reliability([0], [2.0]), ValueError, "y_prob must hold probabilities"),
        (lambda: plot.reliability([0], [0.5], n_bins=0), ValueError, "n_bins must be 1 or more"),
        (lambda: plot.confusion([0, 1], [0]), ValueError, "y_true and y_pred must be rows"),
        (lambda: plot.confusion([], []), ValueError, "y_true and y_pred must be rows"),
        (lambda: plot.confusion([0], [1], classes=[0, 2]), ValueError, "labels must be among"),
        (lambda: plot.training([1.0]), ValueError, "history must be a mapping"),
        (lambda: plot.training({"objective": []}), ValueError, "a number for each step"),
        (lambda: plot.training(HISTORY | {"gap": [1]}), ValueError, "'gap' has shape"),
        (lambda: plot.training({"objective": [1]}, x="seconds"), ValueError, "x must be"),
        (lambda: plot.training(HISTORY, x="gap"), ValueError, "x must be .* got 'gap'"),
        (lambda: plot.training(HISTORY, tol=0), ValueError, "tol must be positive"),
        (lambda: plot.decision_regions(3, POINTS), TypeError, "model must be a fitted classifier"),
        (lambda: plot.decision_regions(Sides(), POINTS[:, :1]), ValueError, "X must hold points"),
        (lambda: plot.decision_regions(Sides(), POINTS * np.nan), ValueError, "X must be finite"),
        (lambda: plot.decision_regions(Sides(), POINTS, ["left"]), ValueError, "y must hold 4"),
        (lambda: plot.decision_regions(Sides(), POINTS, ["up"] * 4), ValueError, "got 'up'"),
        (
            lambda: plot.decision_regions(Sides(), POINTS, features=["x"]),
            ValueError,
            "features must",
        ),
        (lambda: plot.embedding([1.0, 2.0]), ValueError, r"vectors must be a matrix .* \(2,\)"),
        (lambda: plot.embedding([[1.0, np.inf]] * 2), ValueError, "vectors must be finite"),
        (lambda: plot.embedding(VECTORS, ["a"]), ValueError, "words must hold 4 names, got 1"),
        (lambda: plot.embedding(VECTORS, groups=["a"]), ValueError, "groups must hold 4 names"),
    ],
)
def test_bad_input_is_refused_before_anything_is_drawn(call, error, sentence):
    with pytest.raises(error, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert plt.get_fignums() == []


# ---- names are the user's


NO_FORMULA = [r"$\frac$", "50 $", "a name that leaves no room for anything else"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plot.confusion(NO_FORMULA, NO_FORMULA),
        lambda: plot.jacobian(LOGITS, labels=NO_FORMULA),
        lambda: plot.probabilities(LOGITS, labels=NO_FORMULA),
        lambda: plot.temperature(LOGITS, labels=NO_FORMULA),
        lambda: plot.embedding(np.eye(3), NO_FORMULA, groups=NO_FORMULA),
        lambda: plot.reliability([0, 1], [[0.9, 0.1], [0.4, 0.6]], label=NO_FORMULA[0]),
    ],
)
def test_dollar_signs_in_names_begin_no_formula(draw):
    ax = draw()
    ax.figure.draw_without_rendering()
    texts = [text for text in ax.figure.findobj(matplotlib.text.Text) if "frac" in text.get_text()]
    assert texts
    assert not any(text.get_parse_math() for text in texts)


@pytest.mark.parametrize("file_format", ["png", "svg"])
@pytest.mark.parametrize(
    "names", [["benign", "malignant"], ["abcdefghijkl", "x"], list("0123456789")]
)
def test_nothing_of_a_heat_map_is_cut_off(tmp_path, names, file_format):
    for ax in (plot.confusion(names, names), plot.jacobian(range(len(names)), labels=names)):
        ax.figure.savefig(tmp_path / "map", format=file_format)
        for drawn in ax.figure.axes:
            box, paper = drawn.get_tightbbox(), ax.figure.bbox
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.x1 <= paper.x1
            assert box.y1 <= paper.y1


def test_long_names_leave_room_for_the_cells():
    ax = plot.confusion(NO_FORMULA, NO_FORMULA)
    assert ax.get_yticklabels()[1].get_text() == "50 $"
    assert ax.get_yticklabels()[2].get_text() == "a name that leaves …"
    ax.figure.draw_without_rendering()
    assert ax.get_window_extent().height > 0.4 * ax.figure.bbox.height


# ---- Matplotlib is for pictures alone


def fresh(script):
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


def test_importing_softmax_leaves_matplotlib_alone():
    script = "import softmax, softmax.learn, softmax.cli, sys; print('matplotlib' in sys.modules)"
    assert fresh(script).stdout == "False\n"


def test_importing_the_pictures_leaves_scikit_learn_alone():
    assert fresh("import softmax.plot, sys; print('sklearn' in sys.modules)").stdout == "False\n"


def test_without_matplotlib_one_sentence_says_what_to_do():
    done = fresh("import sys; sys.modules['matplotlib'] = None; import softmax.plot")
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: softmax.plot needs Matplotlib, which is not installed; "
        "this installs it: pip install 'softmax[plot]'"
    )
