"""Tables for pages that are scripts, and what stands in their cells."""

import warnings
from html import escape
from math import isfinite

import numpy as np


class Table:
    """A header and rows: HTML on a page, text elsewhere; what is in backticks is code."""

    def __init__(self, header, rows):
        self.header = [str(name) for name in header]
        self.rows = [[shown(cell) for cell in row] for row in rows]
        columns = zip(*self.rows, strict=True)
        self.numeric = [all(map(is_number, column)) for column in columns]

    def __repr__(self):
        lines = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if numeric else cell.ljust(width)
                for cell, width, numeric in zip(line, widths, self.numeric, strict=True)
            ).rstrip()
            for line in lines
        )

    def _repr_html_(self):
        head, *body = (
            "".join(self._cell(tag, *cell) for cell in enumerate(line))
            for tag, line in (("th", self.header), *(("td", row) for row in self.rows))
        )
        rows = "".join(f"<tr>{row}</tr>" for row in body)
        return (
            f'<div class="figures"><table class="table"><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>"
        )

    def _cell(self, tag, column, text):
        kind = ' class="number"' if self.numeric[column] else ""
        parts = escape(text).split("`")
        marked = "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))
        return f"<{tag}{kind}>{marked}</{tag}>"


def is_number(text):
    """Whether a cell holds numbers only, or a dash for none."""
    return text.strip("0123456789.,e+-/ infa") == ""


def shown(cell):
    """Return a cell as text: floats to three figures."""
    if isinstance(cell, float):
        if not isfinite(cell) or (cell and not 1e-2 <= abs(cell) < 1e5):
            return f"{cell:.2g}"
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
    return f"{cell:,}" if type(cell) is int else str(cell)


def answer(function, *arguments, **options):
    """Return what a call gives as text, with a word where it warned, or the name of its error."""
    with warnings.catch_warnings(record=True, action="always") as caught:
        try:
            result = np.asarray(function(*arguments, **options))
        except Exception as error:  # whatever a library raises is its answer
            return type(error).__name__
    text = np.array2string(result, precision=6, separator=", ", max_line_width=200)
    return f"`{' '.join(text.split())}`{', warns' if caught else ''}"
