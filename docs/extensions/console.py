"""The directive `console`: commands are run while the page is built, and shown with their output.

Lines begin with "$ ". All those of a page run in one folder, empty at first. A command that fails
ends the build.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Console(SphinxDirective):
    """Runs its lines and shows a terminal."""

    has_content = True

    def run(self):
        self.env.note_reread()  # what a command prints may change where the page does not
        folders = self.env.temp_data.setdefault("console_folder", [])
        if not folders:
            folders.append(tempfile.TemporaryDirectory())
        shown = []
        for line in self.content:
            command = line.removeprefix("$ ")
            if command == line:
                raise self.error(f"a line that begins with '$ ' was expected, got {line!r}")
            shown += [line, output_of(command, folders[0].name)]
        text = "\n".join(part for part in shown if part)
        return [nodes.literal_block(text, text, language="console")]


def output_of(command, folder):
    """Return what a command prints on an ordinary terminal, without colours."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "80",
        "NO_COLOR": "1",
        "PYTHONWARNINGS": "error",
    }
    environment.pop("FORCE_COLOR", None)
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{shlex.quote(command)} ended with {done.returncode}: {done.stderr}")
    return COLOURS.sub("", done.stderr + done.stdout).rstrip()


def setup(app):
    app.add_directive("console", Console)
    return {"parallel_read_safe": True}
