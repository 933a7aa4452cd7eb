"""`softmax fit --report`: what stands on the page, and when it is written."""

import html.parser
import io
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest

pytest.importorskip("typer")
pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

import odd_table as odd
from command import python, refuse, run, succeed
from softmax import report
from softmax.learn.tables import read_table

pytestmark = pytest.mark.usefixtures("own_folder")


class Page(html.parser.HTMLParser):
    """The elements of a page, the cells of its tables, and all of its text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self.tables, self.codes, self.inside = [], "", {}, [], []
        self.source = Path(path).read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br"):
            self.inside.append(tag)
        if tag == "caption":
            self.caption = ""
        elif tag == "tr":
            self.row = []
        elif tag in ("td", "th"):
            self.row.append("")
        elif tag == "code":
            self.codes.append("")

    def handle_endtag(self, tag):
        assert self.inside.pop() == tag
        if tag == "caption":
            self.tables[self.caption] = []
        elif tag == "tr":
            self.tables[self.caption].append(tuple(self.row))

    def handle_data(self, data):
        if "style" in self.inside:
            return
        self.text += data
        if "caption" in self.inside:
            self.caption += data
        if {"td", "th"} & set(self.inside):
            self.row[-1] += data
        if "code" in self.inside:
            self.codes[-1] += data

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_figures_are_those_the_command_prints(folder):
    said, page = (folder / "said").read_text(), Page(folder / "iris.html")
    assert said.endswith("\nModel written to iris.safetensors\nReport written to iris.html\n")
    metrics = {row[0]: row[1:] for row in page.tables["On 38 held-out rows"]}
    for name, here in (
        ("accuracy", "accuracy"),
        ("log-loss", "log-loss (nats)"),
        ("calibration error", "calibration error"),
    ):
        value = said.partition(f"\n  {name}")[2].split()[0]
        assert metrics[here][0] == value
        low, high = map(float, metrics[here][1].split(" to "))
        assert low <= high
    per_class = {row[0]: row for row in page.tables["Each class"][1:]}
    for line in said.splitlines():
        words = line.split()
        if len(words) == 5 and words[0] in per_class:
            name, precision, recall, f1, support = words
            assert per_class[name][1:3] == (support, precision)
            assert (per_class[name][4], per_class[name][6]) == (recall, f1)


def test_no_text_of_the_user_becomes_markup(folder):
    page = Page(folder / "odd.html")
    assert not page.named("script")
    assert not page.named("u")
    assert not page.named("b")
    assert not page.named("i")
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in page.named("img"))
    for text in (odd.NUMBER, odd.TARGET, odd.FILE, *odd.CLASSES, "red <b>"):
        assert text in page.text
    assert page.tables["Left out"][1] == (odd.NAME, "its text is different in every row")


def test_nothing_is_fetched_and_nothing_runs(folder):
    for name in ("odd", "iris"):
        page = Page(folder / f"{name}.html")
        assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object"} == set()
        policy = next(m["content"] for m in page.named("meta") if "http-equiv" in m)
        assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
        links = {a["href"] for a in page.named("a")}
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert {link[1:] for link in links} <= set(ids)
        assert len(ids) == len(set(ids))
        assert len(page.named("img")) == 6
        assert all(image["alt"] for image in page.named("img"))
        assert "url(" not in page.source


def test_the_data_are_counted(folder):
    page, table = Page(folder / "odd.html"), odd.table()
    unlabelled = table[odd.TARGET].null_count()
    assert f"200 rows were read.\n{unlabelled} of them have no {odd.TARGET}" in page.text
    labelled = table.drop_nulls(odd.TARGET)
    for name, training, held_out, _ in page.tables[f"Classes of {odd.TARGET}"][1:]:
        assert int(training) + int(held_out) == (labelled[odd.TARGET] == name).sum()
    (number,) = page.tables["Numbers"][1:]
    values = labelled[odd.NUMBER]
    expected = (values.min(), values.mean(), values.max(), values.std(ddof=0))
    assert number == (odd.NUMBER, "0", *(f"{value:.4g}" for value in expected))
    texts = {row[0]: row[1:] for row in page.tables["Texts, and true or false"]}
    assert texts[odd.TEXT][:2] == (str(labelled[odd.TEXT].null_count()), "2")


def test_mistakes_are_rows_of_the_file(folder, monkeypatch):
    monkeypatch.chdir(folder)
    page, table = Page("odd.html"), read_table(odd.FILE)
    model = Path(odd.FILE).with_suffix(".safetensors")
    said = pl.read_csv(io.BytesIO(succeed("predict", model, odd.FILE).stdout.encode()))
    rows = page.tables["Mistakes, the worst first"][1:]
    assert len(rows) > 3
    for row, true, p_true, predicted, p_predicted, because in rows:
        i = int(row) - 1
        assert table[odd.TARGET][i] == true != predicted == said["label"][i]
        assert said[f"probability_{true}"][i] == pytest.approx(float(p_true), abs=6e-4)
        assert said[f"probability_{predicted}"][i] == pytest.approx(float(p_predicted), abs=6e-4)
        if odd.NUMBER in because:
            assert f"{odd.NUMBER}: {table[odd.NUMBER][i]:.6g}" in because
    assert [float(row[2]) for row in rows] == sorted(float(row[2]) for row in rows)


def test_a_mistake_is_put_down_to_what_caused_it():
    """Two columns decide, one speaks for the true class and one louder for the wrong one."""
    n = 200
    rng = np.random.default_rng(0)
    kind = rng.choice(["apple", "pear"], n)
    side = np.where(kind == "apple", 1.0, -1.0)
    table = pl.DataFrame(
        {"loud": 3 * side + rng.normal(size=n), "quiet": side + rng.normal(size=n), "kind": kind}
    )
    wrong = pl.DataFrame({"loud": [6.0] * 4, "quiet": [-1.0] * 4, "kind": ["pear"] * 4})
    pl.concat([table, wrong]).write_csv("fruit.csv")
    succeed("fit", "fruit.csv", "--target", "kind", "--report", "fruit.html", "--quiet")
    worst = Page("fruit.html").tables["Mistakes, the worst first"][1]
    assert int(worst[0]) > n
    assert worst[5] == "loud: 6"


def test_weights_are_those_of_the_model(folder):
    from softmax.files import read_model

    page = Page(folder / "iris.html")
    model, preprocessing = read_model(folder / "iris.safetensors")
    for k, name in enumerate(model.classes_):
        rows = [(feature, weight.replace("−", "-")) for feature, weight in page.tables[name][1:]]
        order = np.argsort(-np.abs(model.coef_[k]))
        assert rows == [(preprocessing.columns[j], f"{model.coef_[k, j]:+.3f}") for j in order]


@pytest.mark.parametrize(("name", "data"), [("iris", "iris"), ("odd", odd.FILE)])
def test_the_lines_on_the_page_run(folder, monkeypatch, name, data):
    monkeypatch.chdir(folder)
    shell, lines = Page(f"{name}.html").codes[-2:]
    predict, evaluate = shell.splitlines()
    words = shlex.split(predict)
    assert words[0] == "softmax"
    assert words[-2:] == [">", "predictions.csv"]
    predicted = succeed(*words[1:-2]).stdout
    assert "accuracy" in succeed(*shlex.split(evaluate)[1:]).stdout
    space = {}
    exec(lines, space)
    assert space["labels"].astype(str).tolist() == [
        str(label) for label in pl.read_csv(io.StringIO(predicted))["label"]
    ]
    assert "temperature=" in lines
    np.testing.assert_allclose(space["probabilities"].sum(axis=1), 1)
    np.testing.assert_array_equal(
        space["probabilities"].argmax(axis=1),
        space["model"].predict_proba(space["X"]).argmax(axis=1),
    )


def test_without_held_out_rows_there_is_nothing_to_judge():
    succeed("fit", "iris", "--test-size", 0, "--report", "iris.html")
    page = Page("iris.html")
    assert "this page cannot say how good it" in page.text
    assert not any("held-out" in caption for caption in page.tables)
    assert len(page.named("img")) == 2


def test_classes_without_a_mistake_and_standard_input():
    rows = "".join(f"{10 * k + i},{'ab'[k]}\n" for k in (0, 1) for i in range(5) for _ in range(4))
    succeed("fit", "-", "--target", "y", "--report", "made.html", "--quiet", stdin="x,y\n" + rows)
    page = Page("made.html")
    assert "40 rows were read from standard input." in page.text
    assert "there\nwas no mistake to fit one to" in page.text
    assert "all held-out rows were predicted right" in page.text
    assert "No held-out row was taken for another class." in page.text
    metrics = {row[0]: row[1:] for row in page.tables["On 10 held-out rows"]}
    assert metrics["F1, mean of the classes"][:2] == ("1.0000", "–")
    assert metrics["accuracy"][:2] == ("1.0000", "0.7225 to 1.0000")
    assert "read_table('table.csv'" in page.codes[-1]


def test_a_class_of_one_row_and_no_held_out_row_of_it():
    rows = "".join(f"{i},{'ab'[i % 2]}\n" for i in range(30)) + "99,c\n"
    succeed("fit", "-", "--target", "y", "--report", "made.html", "--quiet", stdin="x,y\n" + rows)
    per_class = {row[0]: row[1:] for row in Page("made.html").tables["Each class"]}
    assert per_class["c"] == ("0", "–", "–", "–", "–", "–", "–")


def test_bad_places_are_refused_before_any_work(monkeypatch):
    monkeypatch.setattr("softmax.learn.tables.read_table", lambda *_: pytest.fail("work was done"))
    Path("folder.html").mkdir()
    for path, reason in (
        ("nowhere/page.html", "there is no folder 'nowhere'"),
        ("folder.html", "it exists and is not a file"),
        ("page.pdf", "'page.pdf': a name that ends in .html expected"),
        ("iris", "'iris': a name that ends in .html expected"),
    ):
        assert reason in refuse("fit", "iris", "--report", path)
    both = refuse("fit", "iris", "--report", "one.html", "--out", "one.html")
    assert "both the model and the report to 'one.html'" in both


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_package_is_named_before_any_work(package):
    script = (
        f"import sys; sys.modules[{package!r}] = None; from softmax.cli import main; "
        "sys.argv = ['softmax', 'fit', 'iris', '--report', 'iris.html']; main()"
    )
    done = python("-c", script)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "this installs it: pip install 'softmax[" in done.stderr
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), 130), (ValueError("no page"), 2)]
)
def test_a_broken_report_leaves_the_model_and_the_page_of_before(monkeypatch, error, status):
    Path("iris.html").write_text("before")

    def fail(*_):
        raise error

    monkeypatch.setattr(report, "report_page", fail)
    result = run("fit", "iris", "--report", "iris.html")
    assert result.exit_code == status
    assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["iris.html", "iris.safetensors"]
    assert Path("iris.html").read_text() == "before"
    assert succeed("evaluate", "iris.safetensors", "iris").exit_code == 0


def test_quiet_prints_nothing(folder):
    assert run("fit", "iris", "--report", "iris.html", "--quiet").output == ""


def test_fit_without_a_report_imports_none_of_it():
    script = (
        "import sys; from softmax.cli import main\n"
        "sys.argv = ['softmax', 'fit', 'iris', '--quiet']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('matplotlib', 'jinja2') if name in sys.modules])"
    )
    assert python("-c", script).stdout == "[]\n"
