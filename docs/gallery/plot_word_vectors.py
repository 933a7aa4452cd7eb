"""
Word vectors with the exact softmax
===================================

Skip-gram asks how probable each word is near each other word. With negative samples or a tree of
words the answer is approximate; from counts of pairs it is exact, and costs the same however long
the corpus is.

The corpus is 20 Newsgroups, from the file where it is at hand, else as scikit-learn downloads it.
"""

import json
import lzma
import os
import re
import time
from pathlib import Path

import matplotlib.pyplot as plt

from softmax import plot
from softmax.learn import SkipGram

NEWS = Path(os.environ.get("SOFTMAX_DATA", "../shared/data"), "20news.jsonl.xz")


def posts(split):
    """Give the texts of one half."""
    if NEWS.exists():
        with lzma.open(NEWS, "rt") as lines:
            rows = map(json.loads, lines)
            yield from (row["text"] for row in rows if row["split"] == split)
    else:
        from sklearn.datasets import fetch_20newsgroups

        yield from fetch_20newsgroups(subset=split).data


def sentences(split):
    """Give lists of words."""
    for text in posts(split):
        for sentence in re.split(r"(?<=[.!?])\s+|\n\s*\n", text.lower()):
            words = re.findall(r"[a-z]+(?:'[a-z]+)?", sentence)
            if len(words) > 1:
                yield words


# %%
# Train on one half and score the other: the mean log-probability of the words around each word.

start = time.perf_counter()
model = SkipGram(dim=50, min_count=100, tol=0.05).fit(lambda: sentences("train"))
print(f"{len(model.vocabulary_)} words, {model.n_iter_} steps, {time.perf_counter() - start:.0f} s")
print(f"held-out log-likelihood: {model.score(lambda: sentences('test')):.4f} nats per pair")
for word in ("space", "god", "hockey", "windows"):
    print(f"{word}:", ", ".join(other for other, _ in model.most_similar(word, 6)))
print(f"log p(shuttle | space) = {model.log_probability('space', 'shuttle'):.3f}")

# %%
# The words around four others, on the first two principal axes of their vectors.

seeds = ("space", "god", "hockey", "windows")
near = [(word, seed) for seed in seeds for word, _ in model.most_similar(seed, 8)]
words, owners = zip(*near, strict=True)
rows = model.vectors_[[model.vocabulary_[word] for word in words]]
plot.embedding(rows, words, groups=owners)
plt.show()
