"""One page about one trained model, to read, to print and to send (needs the extra `cli`).

What `softmax fit --report` writes: a single HTML file without scripts and without anything to
fetch, so that it shows the same on any machine and in ten years. `run` is what it is written from,
`judgement` says how good the model is and how sure that is, `explanation` why it decides as it
does, `pictures` draws, and `page` puts all of it into `page.html`.
"""

from softmax import plot as plot  # first: it says what to install where Matplotlib is missing
from softmax.report.page import check_report, report_page
from softmax.report.run import Run

__all__ = ["Run", "check_report", "report_page"]
