"""Counting a corpus: its words, and how often each stands near each other.

Sentences are read twice, once for the words and once for the pairs, and never held. What is held
is a sparse matrix over the words that are kept.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = [
    "Sentences",
    "checked_counts",
    "count_pairs",
    "count_words",
    "position_of",
    "row_order",
]

Sentences = Iterable[Iterable[str]] | Callable[[], Iterable[Iterable[str]]]
Heard = Callable[[int], object]

BATCH_WORDS = 1_000_000


def count_words(
    sentences: Sentences, min_count: int, heard: Heard = lambda read: None
) -> dict[str, int]:
    """Return the position of each word that occurs min_count times, the most frequent first.

    Equally frequent words stand in the order of their letters. `heard` is told how many sentences
    were read.
    """
    counts: Counter[str] = Counter()
    for sentence in each_sentence(sentences, heard):
        counts.update(sentence)
    if not counts:
        raise ValueError("sentences must hold words, got an empty corpus")
    for word in counts:
        if not isinstance(word, str):
            raise TypeError(f"a sentence must be a list of words, got {word!r} among its words")
    kept = [(-count, word) for word, count in counts.items() if count >= min_count]
    if not kept:
        most = max(counts.values())
        raise ValueError(f"no word occurs min_count={min_count} times, the most frequent {most}")
    return {word: position for position, (_, word) in enumerate(sorted(kept))}


def count_pairs(
    sentences: Sentences,
    vocabulary: dict[str, int],
    window: int,
    heard: Heard = lambda read: None,
) -> sparse.csr_array:
    """Return how often word j stands within window places of word i; other words are left out.

    Entry (i, j) counts each pair of places once, and so does (j, i).
    """
    n_words = len(vocabulary)
    pairs = sparse.csr_array((n_words, n_words), dtype=np.float64)
    for words, sentence in numbered_batches(sentences, vocabulary, heard):
        for distance in range(1, window + 1):
            together = sentence[:-distance] == sentence[distance:]
            left, right = words[:-distance][together], words[distance:][together]
            ones = np.ones(len(left))
            pairs = pairs + sparse.csr_array((ones, (left, right)), shape=pairs.shape)
    return sparse.csr_array(pairs + pairs.T)


def numbered_batches(
    sentences: Sentences, vocabulary: dict[str, int], heard: Heard
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Give the positions of about a million known words at a time, and each one's sentence."""
    words: list[int] = []
    numbers: list[int] = []
    for number, sentence in enumerate(each_sentence(sentences, heard)):
        known = [vocabulary[word] for word in sentence if word in vocabulary]
        words += known
        numbers += [number] * len(known)
        if len(words) >= BATCH_WORDS:
            yield np.array(words, np.int64), np.array(numbers, np.int64)
            words, numbers = [], []
    yield np.array(words, np.int64), np.array(numbers, np.int64)


def each_sentence(sentences: Sentences, heard: Heard) -> Iterator[Iterable[str]]:
    """Read the sentences from their beginning, and refuse text that is not cut into words."""
    given: Any = sentences() if callable(sentences) else sentences
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"sentences must be lists of words, got {type(given).__name__}")
    if given is sentences and isinstance(given, Iterator):
        raise TypeError(
            "sentences are read twice: give a list, or a function that returns an iterator, "
            f"not the iterator {type(given).__name__}"
        )
    for number, sentence in enumerate(given, 1):
        if isinstance(sentence, str):
            raise TypeError(f"a sentence must be a list of words, got the text {sentence[:40]!r}")
        yield sentence
        heard(number)


def position_of(word: str, vocabulary: dict[str, int]) -> int:
    """Return a word's position, or raise a KeyError that names the nearest spelling."""
    try:
        return vocabulary[word]
    except KeyError:
        nearest = difflib.get_close_matches(str(word), vocabulary, n=1, cutoff=0.0)
    raise KeyError(f"the word {word!r} is not in the vocabulary; the nearest is {nearest[0]!r}")


def row_order(vocabulary: Sequence[str] | dict[str, int]) -> list[str]:
    """Return the words in the order of their rows."""
    words = list(vocabulary)
    if isinstance(vocabulary, dict):
        words.sort(key=vocabulary.__getitem__)
        if sorted(vocabulary.values()) != list(range(len(words))):
            raise ValueError("vocabulary must give each word a row of its own, from 0 on")
    if not words:
        raise ValueError("vocabulary must hold words, got none")
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"vocabulary must hold str, got {word!r}")
    if len(set(words)) < len(words):
        raise ValueError("vocabulary must name each word once")
    return words


def checked_counts(C: Any, n_words: int) -> sparse.csr_array:
    """Return counts of pairs as float64, refused where they are none."""
    counts = sparse.csr_array(C, dtype=np.float64)
    if counts.shape != (n_words, n_words):
        raise ValueError(f"C must have shape ({n_words}, {n_words}), got {counts.shape}")
    counts.sum_duplicates()
    counts.eliminate_zeros()
    if not (np.isfinite(counts.data).all() and (counts.data >= 0).all()):
        raise ValueError("C must hold finite counts that are not negative")
    if not counts.nnz:
        raise ValueError("no two words of the vocabulary stand near each other: nothing to count")
    return counts
