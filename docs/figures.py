"""Tables for pages that are scripts: shown as HTML where the page is built, as text elsewhere."""

from html import escape
from math import isfinite


class Table:
    """A header and rows; numbers are right-aligned, and `code` in backticks is code."""

    def __init__(self, header, rows):
        self.header = [str(name) for name in header]
        self.rows = [[shown(cell) for cell in row] for row in rows]
        self.right = [
            all(isinstance(row[column], (int, float)) or row[column] == "-" for row in rows)
            for column in range(len(self.header))
        ]

    def __repr__(self):
        lines = [self.header, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(line, widths, self.right, strict=True)
            ).rstrip()
            for line in lines
        )

    def _repr_html_(self):
        head = "".join(self._cell("th", *cell) for cell in enumerate(self.header))
        body = "".join(
            f"<tr>{''.join(self._cell('td', *cell) for cell in enumerate(row))}</tr>"
            for row in self.rows
        )
        return f'<table class="table figures"><thead><tr>{head}</tr></thead>{body}</table>'

    def _cell(self, tag, column, text):
        kind = ' class="figure"' if self.right[column] else ""
        parts = escape(text).split("`")
        marked = "".join(
            f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts)
        )
        return f"<{tag}{kind}>{marked}</{tag}>"


def shown(cell):
    """Return a cell as text: floats to three figures."""
    if isinstance(cell, float):
        if not isfinite(cell) or (cell and not 1e-2 <= abs(cell) < 1e5):
            return f"{cell:.2g}"
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
    return f"{cell:,}" if type(cell) is int else str(cell)
