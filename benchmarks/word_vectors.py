"""Word vectors beside gensim's skip-gram: how probable held-out words are, after equal time.

    make bench                                     after everything else, about half an hour
    python -m benchmarks.word_vectors hierarchical a part of it, in .venv

Both train on one half of 20 Newsgroups, with the same words, window and dimensions, on one core.
gensim gets as many passes over the corpus as fit into the time of our whole fit, one at least, and
fewer in case that is better for it. It also gets its default of five, whatever they take; where
that is less than our fit took, ours is stopped as early. Seconds are those of the processor: on an
idle core they are those of the clock. The measure is the mean log-probability, in nats, of each
word around each word of the other half:

- ours by the softmax it was trained for,
- negative sampling by the softmax of its context vectors at the temperature that is best on the
  training half, and by the same with the logarithm of its noise distribution added, from which it
  learns to tell the words apart,
- hierarchical softmax, which has a vector for each inner node of its tree and none for a context,
  by the tree: the product of the branches' probabilities on the way to the word, which sums to 1
  over all words, also at the best temperature.
"""

import argparse
import json
import lzma
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks import machine
from benchmarks.training import DATA

NEWS = DATA / "20news.jsonl.xz"
DEFAULT_EPOCHS = 5  # gensim's
NOISE_POWER = 0.75  # of a word's frequency, in gensim's noise distribution
CHUNK_ROWS = 512
PASS_WORDS, PASS_DIMENSIONS, PASS_SECONDS = 10_000, 100, 3.0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.word_vectors",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", help="what names of gensim's methods begin with")
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--window", type=int, default=5)
    parser.add_argument("--min-count", type=int, default=20)
    arguments = parser.parse_args()
    environment = machine.thread_environment(1)
    if os.environ.get("OMP_NUM_THREADS") != "1":
        os.execve(sys.executable, [*sys.orig_argv], environment)  # read once, at import
    machine.pin(1)
    if not NEWS.exists():
        print(f"word vectors: no data, {NEWS} is not there")
        return 0
    print(f"{machine.cpu_model(machine.describe())}, one core")
    corpus = Corpus.read(arguments.min_count, arguments.window)
    print(f"{len(corpus.vocabulary)} words, {arguments.dim} dimensions, window {arguments.window}")
    for line in lines(corpus, arguments.dim, arguments.names):
        print(line, flush=True)
    return 0


@dataclass(frozen=True)
class Corpus:
    """Sentences to train on, and counted pairs of words within the window of both halves."""

    sentences: list[list[str]]
    vocabulary: dict[str, int]
    train: Any
    test: Any
    window: int
    min_count: int

    @classmethod
    def read(cls, min_count: int, window: int) -> "Corpus":
        from softmax.learn.cooccurrence import count_pairs, count_words

        train, test = (list(sentences(split)) for split in ("train", "test"))
        vocabulary = count_words(train, min_count)
        counts = (count_pairs(part, vocabulary, window) for part in (train, test))
        return cls(train, vocabulary, *counts, window, min_count)

    def held_out(self, log_p: Callable[[slice], Any]) -> float:
        """Return the mean over the pairs of the other half, given log p of some rows of words."""
        total = 0.0
        for start in range(0, len(self.vocabulary), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            total += float(self.test[rows].multiply(log_p(rows)).sum())
        return total / self.test.sum()


def sentences(split: str) -> Iterator[list[str]]:
    with lzma.open(NEWS, "rt") as posts:
        for post in map(json.loads, posts):
            if post["split"] == split:
                for sentence in re.split(r"(?<=[.!?])\s+|\n\s*\n", post["text"].lower()):
                    words = re.findall(r"[a-z]+(?:'[a-z]+)?", sentence)
                    if len(words) > 1:
                        yield words


def lines(corpus: Corpus, dim: int, names: list[str]) -> Iterator[str]:
    yield one_pass(corpus)
    yield f"frequencies alone: {frequencies(corpus):.4f} nats per pair"
    ours, budget = fitted(corpus, dim, None)
    yield f"ours: {describe(corpus, ours, budget)}"
    for name, options, measures in KINDS:
        if names and not any(name.startswith(begin) for begin in names):
            continue
        model, once = trained(corpus, dim, options, 1)
        fitting = max(1, int(budget / once))
        for epochs in sorted({1, max(1, fitting // 3), fitting, DEFAULT_EPOCHS}):
            model, seconds = (model, once) if epochs == 1 else trained(corpus, dim, options, epochs)
            for how, measure in measures.items():
                value, temperature = measure(corpus, model)
                yield (
                    f"gensim, {name}, {epochs} passes, {seconds:.0f} s ({seconds / budget:.2f} of "
                    f"ours), {how} at T = {temperature:.3g}: {value:.4f}"
                )
            if epochs == DEFAULT_EPOCHS and seconds < budget:
                early, spent = fitted(corpus, dim, seconds)
                yield f"ours in the time of these: {describe(corpus, early, spent)}"


def describe(corpus: Corpus, model: Any, seconds: float) -> str:
    value = model.score(lambda: sentences("test"))
    return f"{value:.4f}, {model.n_iter_} steps, {seconds:.0f} s"


def one_pass(corpus: Corpus) -> str:
    """Time loss and both gradients, for the most frequent words of the corpus."""
    import numpy as np

    from softmax import linear_cross_entropy

    n_words = min(PASS_WORDS, len(corpus.vocabulary))
    counts = corpus.train[:n_words, :n_words]
    v, u = np.random.default_rng(0).normal(0, 0.3, (2, n_words, PASS_DIMENSIONS)).astype("f4")
    seconds = min(
        timed(lambda: linear_cross_entropy(v, u, counts, reduction="sum", return_grad=True))[1]
        for _ in range(3)
    )
    return (
        f"a pass over {n_words} words of {PASS_DIMENSIONS} dimensions, {counts.nnz} counts: "
        f"{seconds:.2f} s on one core (wanted {PASS_SECONDS:g} on two, for {PASS_WORDS} words)"
    )


def frequencies(corpus: Corpus) -> float:
    import numpy as np

    seen = np.asarray(corpus.train.sum(axis=0)).ravel() + 0.5
    log_p = np.log(seen / seen.sum())
    return corpus.held_out(lambda rows: log_p[None])


def fitted(corpus: Corpus, dim: int, budget: float | None) -> tuple[Any, float]:
    """Fit ours, counting included, to its own tolerance or until the time is up."""
    from softmax.learn import SkipGram

    end = None if budget is None else time.process_time() + budget
    model = SkipGram(
        dim,
        window=corpus.window,
        min_count=corpus.min_count,
        callback=lambda news: end is not None and time.process_time() > end,
    )
    return timed(lambda: model.fit(corpus.sentences))


def trained(corpus: Corpus, dim: int, options: dict[str, int], epochs: int) -> tuple[Any, float]:
    """Train gensim's skip-gram on the pairs that ours counts: no word is left out at random."""
    from gensim.models import Word2Vec

    return timed(
        lambda: Word2Vec(
            corpus.sentences,
            vector_size=dim,
            window=corpus.window,
            min_count=corpus.min_count,
            epochs=epochs,
            sg=1,
            sample=0,
            shrink_windows=False,
            workers=1,
            seed=1,
            **options,
        )
    )


def by_softmax(corpus: Corpus, model: Any) -> tuple[float, float]:
    """Score the context vectors by softmax(U v / T)."""
    return softmax_score(corpus, model, None)


def by_softmax_and_noise(corpus: Corpus, model: Any) -> tuple[float, float]:
    """Score them by softmax(U v / T + log q), with q the noise distribution."""
    import numpy as np

    seen = np.array([model.wv.get_vecattr(word, "count") for word in corpus.vocabulary])
    return softmax_score(corpus, model, NOISE_POWER * np.log(seen).astype(np.float32))


def softmax_score(corpus: Corpus, model: Any, bias: Any) -> tuple[float, float]:
    from softmax import linear_cross_entropy

    order = [model.wv.key_to_index[word] for word in corpus.vocabulary]
    v, u = model.wv.vectors[order], model.syn1neg[order]

    def loss(counts: Any, temperature: float) -> float:
        total = linear_cross_entropy(v / temperature, u, counts, bias, reduction="sum")
        return float(total) / counts.sum()

    temperature = best_temperature(lambda temperature: loss(corpus.train, temperature))
    return -loss(corpus.test, temperature), temperature


def by_tree(corpus: Corpus, model: Any) -> tuple[float, float]:
    """Score by the tree's own distribution, its branches at sigmoid(node . v / T)."""
    import numpy as np
    from scipy import sparse

    from softmax import log_sigmoid

    words = list(corpus.vocabulary)
    v = model.wv.vectors[[model.wv.key_to_index[word] for word in words]]
    paths = [model.wv.get_vecattr(word, "point") for word in words]
    codes = [model.wv.get_vecattr(word, "code") for word in words]
    nodes, turns = np.concatenate(paths), np.concatenate(codes)
    column = np.repeat(np.arange(len(words)), [len(path) for path in paths])
    shape = len(model.syn1), len(words)
    branches = [
        sparse.csr_array(((turns == turn).astype(np.float32), (nodes, column)), shape=shape)
        for turn in (0, 1)
    ]

    def log_p(rows: Any, temperature: float) -> Any:
        logits = v[rows] @ model.syn1.T / np.float32(temperature)
        return log_sigmoid(logits) @ branches[0] + log_sigmoid(-logits) @ branches[1]

    # A part of the training half is enough for one number.
    some = np.random.default_rng(0).choice(len(words), min(len(words), CHUNK_ROWS), replace=False)
    counts = corpus.train[some]
    assert np.allclose(np.exp(log_p(some[:2], 1.0).astype(np.float64)).sum(1), 1, atol=1e-3)
    temperature = best_temperature(lambda t: -float(counts.multiply(log_p(some, t)).sum()))
    return corpus.held_out(lambda rows: log_p(rows, temperature)), temperature


def best_temperature(loss: Callable[[float], float]) -> float:
    import numpy as np
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda t: loss(float(np.exp(t))), bounds=(-2, 2), method="bounded", options={"xatol": 0.01}
    )
    return float(np.exp(found.x))


KINDS: list[tuple[str, dict[str, int], dict[str, Callable[[Corpus, Any], tuple[float, float]]]]] = [
    (
        "negative sampling",
        {"negative": 5},
        {"softmax": by_softmax, "softmax with noise": by_softmax_and_noise},
    ),
    ("hierarchical softmax", {"hs": 1, "negative": 0}, {"tree": by_tree}),
]


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    result = call()
    return result, time.process_time() - began


if __name__ == "__main__":
    sys.exit(main())
