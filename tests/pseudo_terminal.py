"""Run a command in a terminal of its own, press Ctrl-C there, and read the screen."""

import os
import re
import select
import sys
import time

import pytest

pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")

PATIENCE = 120  # seconds


def in_a_terminal(*arguments, ctrl_c_after=None):
    """Run Python with these arguments; press Ctrl-C once the screen holds the text given.

    Returns what was written, the exit status, and the lines that stay on the screen.
    """
    child, screen = pty.fork()
    if child == 0:
        path = os.pathsep.join(filter(None, sys.path))
        environment = {"PYTHONPATH": path, "TERM": "xterm", "COLUMNS": "100"}
        os.execve(sys.executable, [sys.executable, *arguments], os.environ | environment)
    written, began = "", time.monotonic()
    while time.monotonic() - began < PATIENCE:
        if select.select([screen], [], [], 0.1)[0]:
            try:
                written += os.read(screen, 1 << 16).decode(errors="replace")
            except OSError:  # the other end is closed
                break
        if ctrl_c_after is not None and ctrl_c_after in written:
            os.write(screen, b"\x03")
            ctrl_c_after = None
    else:
        os.kill(child, 9)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(screen)
    return written, status, lines_left(written)


def lines_left(written):
    """Return what a reader sees in the end: lines as they were last written over or cleared."""
    lines, row = [""], 0
    plain = re.sub(r"\x1b\[(\?\d+[hl]|[\d;]*m|K)", "", written)
    for part in re.split(r"(\r\n|\r|\x1b\[1A|\x1b\[2K)", plain):
        if part == "\r\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part == "\x1b[1A":
            row -= 1
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part and part != "\r":
            lines[row] = part
    return [line for line in lines if line.strip()]
