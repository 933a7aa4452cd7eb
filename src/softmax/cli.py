"""The command `softmax`: train a softmax regression on a table, apply it, judge it.

Each command is a short walk through the library: read the table, call the estimator, show what
came out. Results go to standard output; notices, progress and errors go to standard error, so that
a pipe carries results alone. What is slow to import is imported by the command that needs it, and
`softmax --help` answers at once. A bad input ends the command with one sentence and status 2.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import softmax

MISSING_EXTRA = "the package {!r} is not installed; this installs it: pip install 'softmax[cli]'"

try:
    import typer

    from softmax.files import check_writable, read_model, whole_file, write_model
    from softmax.terminal import report_progress, show_evaluation, training_progress, waiting
except ModuleNotFoundError as missing:
    print("Error:", MISSING_EXTRA.format(str(missing.name).partition(".")[0]), file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    print("Interrupted.", file=sys.stderr)
    sys.exit(130)

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from softmax.learn import SoftmaxRegression
    from softmax.learn.preprocessing import Preprocessing
    from softmax.report import Run

    Notice = Callable[[str], None]

__all__ = ["app", "main"]

DATA_HELP = (
    "A .csv, .tsv, .parquet or .arrow file, - for CSV from standard input, or an embedded "
    "data set: digits, iris, wine, breast-cancer."
)
MODEL_HELP = "A model file that softmax fit has written."
PICTURE_HELP = (
    "smooth_max, smooth_max_family, temperature, sigmoid, jacobian, probabilities, training, "
    "reliability, confusion, decision_regions or embedding."
)


class OneSentenceErrors(typer.core.TyperGroup):
    """Ends a command that cannot go on with one sentence and the right exit status."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say("Interrupted.")
            raise typer.Exit(130) from None
        except BrokenPipeError:  # the reader of a pipe has left: no error of ours
            raise
        except ModuleNotFoundError as error:
            package = str(error.name).partition(".")[0]
            if package == "softmax":
                raise
            sentence = str(error) if package == "matplotlib" else MISSING_EXTRA.format(package)
        except OSError as error:
            sentence = f"{error.strerror}: {error.filename!r}" if error.strerror else str(error)
        except ValueError as error:
            sentence = " ".join(str(error).split())
        say(f"Error: {sentence}")
        raise typer.Exit(2)


app = typer.Typer(
    cls=OneSentenceErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train a softmax regression on a table, apply it and judge it.",
)


def main() -> None:
    """Run the command with the arguments of the process."""
    app(prog_name="softmax")


def show_version(wanted: bool) -> None:
    """Print the version and stop, where it is asked for."""
    if wanted:
        typer.echo(f"softmax {softmax.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Take the options that come before a command."""


@app.command()
def fit(
    data: Annotated[str, typer.Argument(help=DATA_HELP)],
    target: Annotated[
        str | None,
        typer.Option(help="The column to predict.", show_default="the column named target"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The model file to write.", show_default="NAME-OF-DATA.safetensors"),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="A page about the model to write, an .html file. It takes five more trainings, "
            "for the temperature.",
            show_default="none",
        ),
    ] = None,
    C: Annotated[
        float, typer.Option("--C", help="Inverse strength of the L2 penalty, above 0.")
    ] = 1.0,
    test_size: Annotated[
        float, typer.Option(help="Share of the rows held out to judge the model, 0 to below 1.")
    ] = 0.25,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the rows that are held out.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Train a model on a table, judge it on held-out rows and write it to a file.

    Numbers are standardised, text and true/false columns one-hot encoded, missing values imputed.
    """
    out = out or Path("stdin" if data == "-" else Path(data).stem).with_suffix(".safetensors")
    check_writable(out)
    if report is not None:
        check_writable(report)
        from softmax.report import Run, check_report

        check_report(report, out)
    from softmax.learn.evaluation import held_out_rows
    from softmax.learn.preprocessing import Preprocessing, unusable_columns
    from softmax.learn.tables import class_positions, named_column, read_table

    notice = say_nothing if quiet else say
    with waiting(f"Reading {data}", shown=not quiet and data != "-"):
        table = read_table(data)
    target = named_column(table, target)
    labelled = table[target].is_not_null().to_numpy()
    table, labels = labelled_rows(table, target, notice)
    check_classes(labels, target)
    training, held_out = held_out_rows(labels, test_size, seed)
    columns = table.drop(target)
    left_out = unusable_columns(columns[training])
    for name, reason in left_out.items():
        notice(f"Left out the column {name!r}: {reason}.")
    columns = columns.drop(*left_out)
    with waiting("Making features", shown=not quiet):
        preprocessing = Preprocessing.learn(columns[training], target)
        X = preprocessing.features(columns)
    tell_imputed(preprocessing, columns, notice)

    model = train(X[training], labels[training], C, seed, notice, show_progress=not quiet)
    write_model(out, model, preprocessing)
    if not quiet:
        typer.echo(
            f"Trained on {training.size} rows, {preprocessing.n_features} features, "
            f"{model.classes_.size} classes: {describe_training(model)}."
        )
        if held_out.size:
            true = class_positions(labels[held_out], model.classes_, target)
            judge(model, X[held_out], true, "held-out rows")
        typer.echo(f"\nModel written to {out}")
    if report is not None:
        run = Run(
            data=data,
            n_rows=len(labelled),
            row_numbers=1 + labelled.nonzero()[0],
            columns=columns,
            left_out=left_out,
            X=X,
            labels=labels,
            training=training,
            held_out=held_out,
            model=model,
            preprocessing=preprocessing,
            model_file=out,
            seed=seed,
        )
        write_report(report, run, show_progress=not quiet)
        if not quiet:
            typer.echo(f"Report written to {report}")


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    data: Annotated[str, typer.Argument(help=DATA_HELP)],
    out: Annotated[str, typer.Option(help="The CSV file to write, - for standard output.")] = "-",
) -> None:
    """Write the label and the probability of each class for every row, as CSV."""
    if out != "-":
        check_writable(Path(out))
    import polars as pl

    from softmax.learn.tables import read_table

    regression, preprocessing = read_model(model)
    classes = regression.classes_
    table = read_table(data, preprocessing.text_columns)
    probability = regression.predict_proba(preprocessing.features(table))
    tell_imputed(preprocessing, table, say)
    predictions = pl.DataFrame(
        {"label": classes[probability.argmax(axis=1)]}
        | {f"probability_{label}": probability[:, k] for k, label in enumerate(classes)}
    )
    if out == "-":
        typer.echo(predictions.write_csv(), nl=False)
    else:
        with whole_file(Path(out)) as beside:
            predictions.write_csv(beside)


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    data: Annotated[str, typer.Argument(help=f"{DATA_HELP} It must hold the target column.")],
) -> None:
    """Compare what a model predicts with what a table says."""
    from softmax.learn.tables import class_positions, named_column, read_table

    regression, preprocessing = read_model(model)
    target = preprocessing.target
    text_columns = preprocessing.text_columns
    if regression.classes_.dtype.kind == "U" and not {"true", "false"} & set(regression.classes_):
        text_columns.append(target)
    table = read_table(data, text_columns)
    table, labels = labelled_rows(table, named_column(table, target), say)
    true = class_positions(labels, regression.classes_, target)
    X = preprocessing.features(table)
    tell_imputed(preprocessing, table, say)
    judge(regression, X, true, "rows")


@app.command()
def show(
    picture: Annotated[str, typer.Argument(help=PICTURE_HELP)],
    out: Annotated[
        Path | None,
        typer.Option(help="The .png or .svg file to write.", show_default="PICTURE.png"),
    ] = None,
    dark: Annotated[bool, typer.Option("--dark", help="Draw light on black.")] = False,
) -> None:
    """Draw one of the pictures of softmax.plot, on the numbers or data of a worked example."""
    out = out or Path(f"{picture}.png")
    if out.suffix not in (".png", ".svg"):
        raise ValueError(f"cannot write {str(out)!r}: a name that ends in .png or .svg expected")
    check_writable(out)
    from softmax.plot.examples import PICTURES, save_picture

    if picture not in PICTURES:
        raise ValueError(f"there is no picture {picture!r}: one of {', '.join(PICTURES)} expected")
    with whole_file(out) as beside:
        save_picture(picture, beside, out.suffix[1:], dark=dark)
    typer.echo(f"Picture written to {out}")


@app.command()
def info() -> None:
    """Show the version and what the numerical core was built for."""
    typer.echo(f"softmax {softmax.__version__}")
    for name, value in softmax.build_info().items():
        typer.echo(f"{name}: {value}")


def say(sentence: str) -> None:
    """Tell the user something beside the results."""
    typer.echo(sentence, err=True)


def say_nothing(sentence: str) -> None:
    """Stand in for `say` where silence is asked for."""


def labelled_rows(
    table: pl.DataFrame, target: str, notice: Notice
) -> tuple[pl.DataFrame, NDArray[np.generic]]:
    """Drop the rows without a label; return the others and their labels."""
    from softmax.learn.tables import class_labels

    labelled = table.drop_nulls(target)
    if labelled.is_empty():
        raise ValueError(f"every value of the target {target!r} is missing")
    n_dropped = len(table) - len(labelled)
    if n_dropped:
        notice(f"Dropped {n_dropped} of {len(table)} rows: {target!r} is missing there.")
    return labelled, class_labels(labelled[target])


def check_classes(labels: NDArray[np.generic], target: str) -> None:
    """Refuse labels that nothing can be learnt from."""
    n_classes = len(set(labels.tolist()))
    if n_classes == 1:
        raise ValueError(
            f"{target!r} is {labels[0]!s} in all {labels.size} rows: at least two classes expected"
        )
    if n_classes == labels.size:
        raise ValueError(
            f"{target!r} is different in each of the {labels.size} rows, as a name or a number "
            "is: a column whose values occur again expected (choose one with --target)"
        )


def tell_imputed(preprocessing: Preprocessing, table: pl.DataFrame, notice: Notice) -> None:
    """Name the columns whose missing values were filled, and how many they were."""
    counts = preprocessing.missing_values(table)
    if counts:
        columns = ", ".join(f"{name!r} ({count})" for name, count in counts.items())
        notice(f"Imputed missing values (mean or most frequent value): {columns}.")


def train(
    X: NDArray[np.float64],
    y: NDArray[np.generic],
    C: float,
    seed: int,
    notice: Notice,
    show_progress: bool,
) -> SoftmaxRegression:
    """Fit the estimator under a progress bar."""
    from softmax.learn import SoftmaxRegression

    model = SoftmaxRegression(C=C, random_state=seed)
    with (
        warnings.catch_warnings(record=True, action="always") as caught,
        training_progress(model.tol, show_progress) as callback,
    ):
        model.set_params(callback=callback).fit(X, y)
    for warning in caught:
        notice(f"Warning: {warning.message}")
    model.set_params(callback=None)
    return model


def write_report(path: Path, run: Run, show_progress: bool) -> None:
    """Write the page about a run, under a progress bar."""
    from softmax.report import report_page

    with report_progress(show_progress) as tell, whole_file(path) as beside:
        beside.write_text(report_page(run, tell), encoding="utf-8")


def describe_training(model: SoftmaxRegression) -> str:
    """Say how long training took and how near to the optimum it is sure to be."""
    objective = model.history_["objective"][-1]
    gap = model.duality_gap_ / objective
    return f"{model.n_iter_} iterations to an objective of {objective:.6g}, relative gap {gap:.1e}"


def judge(
    model: SoftmaxRegression, X: NDArray[np.float64], true: NDArray[np.int64], rows: str
) -> None:
    """Compare predictions with the positions of the true classes and show the figures."""
    from softmax.learn.evaluation import evaluate

    judged = evaluate(model.predict_log_proba(X), true)
    show_evaluation(judged, model.classes_.tolist(), f"{true.size} {rows}")
