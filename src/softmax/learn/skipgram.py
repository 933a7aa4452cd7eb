"""Word vectors by the exact softmax: skip-gram without negative samples or a tree.

The objective depends on the corpus only through counts of pairs (`cooccurrence`). It is minimised
over all of them at once (`pair_likelihood`), so that log-probabilities mean what they say.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from softmax.functions import log_softmax
from softmax.learn.cooccurrence import (
    Sentences,
    checked_counts,
    count_pairs,
    count_words,
    position_of,
    row_order,
)
from softmax.learn.pair_likelihood import (
    PairLoss,
    Progress,
    log_likelihood,
    maximise,
    spectral_start,
)
from softmax.learn.progress import counting, share_done, steps
from softmax.learn.vectors_io import SavedVectors, read_vectors, write_vectors, write_word2vec

__all__ = ["SkipGram"]


class SkipGram(BaseEstimator):  # type: ignore[misc]
    r"""Word vectors that maximise the exact likelihood of the words around each word.

    Parameters
    ----------
    dim : int, default 100
        Dimensions of the vectors.
    window : int, default 5
        How many words to each side are context. Words left out of the vocabulary do not count.
    min_count : int, default 5
        Words that occur less often are left out.
    l2 : float, default 10.0
        Strength of the penalty l2 / 2 times the sum of squares of all vectors, on the scale of
        the sum of losses; not negative. It matters for rare words.
    tol : float, default 0.02
        Stop where the norm of the gradient is at most this; see Notes.
    max_iter : int, default 200
        Most steps of the optimiser.
    random_state : int, RandomState instance or None, default None
        Seed of the randomised singular vectors that training starts from; None is always the same.
    callback : callable or None, default None
        Called after each step with an object that has the attributes `iteration`, `objective` and
        `gradient_norm`; returning True ends the training.
    verbose : int, default 0
        1: show a bar, or print a line for each step where there is no terminal. 2: print lines.

    Attributes
    ----------
    vectors_, context_vectors_ : ndarray of float32, shape (n_words, dim)
        v and u.
    vocabulary_ : dict of str to int
        The row of each word, the most frequent first.
    n_iter_ : int
        Steps taken.
    objective_ : float
        Mean loss per pair with the penalty, in nats.
    gradient_norm_ : float
        Norm of its gradient; at most `tol` where training converged.
    history_ : list of float
        The objective after each step.

    Raises
    ------
    TypeError
        From `fit`, for text that is not cut into words, or an iterator that can be read only once.
    ValueError
        From `fit`, for arguments out of range, an empty corpus or an empty vocabulary.

    Warns
    -----
    ConvergenceWarning
        Where `fit` stopped before it reached `tol`.

    Notes
    -----
    With C_ij the number of times that word j is context of word i and n_i the sum of row i, the
    negative log-likelihood of the corpus is

    .. math:: \sum_i n_i \, [\, \mathrm{KL}(C_i / n_i \,\|\, \mathrm{softmax}(U v_i))
              + \mathrm{entropy}(C_i / n_i) \,],

    and only the first term depends on the vectors. It is `softmax.linear_cross_entropy` of the
    vectors and the context vectors against C, and a pass over it costs the same for any corpus with
    this vocabulary. It is not convex; training starts near an optimum, from the singular
    vectors of the logarithm of counted over expected pairs, and goes on with L-BFGS in variables
    that are scaled by the square roots of frequencies. The norm of the gradient is taken there:
    half its square is about the gain, in nats per pair, that is left.

    Results are the same for the same counts, parameters, seed and number of threads.

    References
    ----------
    .. [1] T. Mikolov et al., "Distributed Representations of Words and Phrases and their
       Compositionality", NIPS 2013.
    .. [2] O. Levy and Y. Goldberg, "Neural Word Embedding as Implicit Matrix Factorization",
       NIPS 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax.learn import SkipGram
    >>> corpus = [["red", "wine"], ["white", "wine"], ["green", "pear"], ["yellow", "pear"]] * 50
    >>> model = SkipGram(dim=3, window=1, l2=0.1).fit(corpus)
    >>> round(float(np.exp(model.log_probability("wine", "red"))), 2)
    0.5
    >>> model.most_similar("green", 1)[0][0]
    'yellow'
    """

    def __init__(
        self,
        dim: int = 100,
        *,
        window: int = 5,
        min_count: int = 5,
        l2: float = 10.0,
        tol: float = 0.02,
        max_iter: int = 200,
        random_state: int | np.random.RandomState | None = None,
        callback: Callable[[Progress], object] | None = None,
        verbose: int = 0,
    ) -> None:
        self.dim = dim
        self.window = window
        self.min_count = min_count
        self.l2 = l2
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state
        self.callback = callback
        self.verbose = verbose

    def fit(self, sentences: Sentences, y: object = None) -> Self:
        """Count a corpus and fit the vectors.

        Parameters
        ----------
        sentences : iterable of lists of str, or callable
            The corpus, cut into words; read twice. A callable returns it from its beginning each
            time, for corpora that do not fit the memory.
        y : object
            Ignored.

        Returns
        -------
        self
        """
        self._check_parameters()
        with counting("counting words", self.verbose) as heard:
            vocabulary = count_words(sentences, self.min_count, heard)
        with counting("counting pairs", self.verbose) as heard:
            counts = count_pairs(sentences, vocabulary, self.window, heard)
        return self.fit_counts(counts, vocabulary)

    def fit_counts(self, C: Any, vocabulary: Sequence[str] | dict[str, int]) -> Self:
        """Fit the vectors to counts of pairs.

        Parameters
        ----------
        C : sparse array or array-like of shape (n_words, n_words)
            How often each word (row) had each context (column): finite, not negative.
        vocabulary : sequence of str, or dict of str to int
            The words in the order of the rows, or the row of each.

        Returns
        -------
        self
        """
        self._check_parameters()
        words = row_order(vocabulary)
        counts = checked_counts(C, len(words))
        seed = 0
        if self.random_state is not None:
            seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.history_: list[float] = []
        self.gradient_norm_ = np.inf
        self._stopped = False
        with steps(self.verbose) as tell:
            vectors, contexts = maximise(
                PairLoss(counts),
                spectral_start(counts, self.dim, seed),
                l2=float(self.l2),
                tol=float(self.tol),
                max_iter=int(self.max_iter),
                report=partial(self._report, tell),
            )
        self.n_iter_ = len(self.history_)
        self.objective_ = self.history_[-1] if self.history_ else np.inf
        self._keep(words, vectors, contexts)
        if self.gradient_norm_ > self.tol and not self._stopped:
            warnings.warn(
                f"{type(self).__name__} stopped after {self.n_iter_} steps with a gradient of norm "
                f"{self.gradient_norm_:.1e}, above tol={self.tol}: raise max_iter",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def log_probability(self, center: str | Sequence[str], context: Any = None) -> Any:
        """Return log p(context | center), in nats.

        Parameters
        ----------
        center : str or sequence of str
            The word in the middle, or several.
        context : str or sequence of str, optional
            A word near it, or one for each center; by default all words of the vocabulary.

        Returns
        -------
        float64, or ndarray of float64
            One number for each center, or a row over the vocabulary for each.

        Raises
        ------
        KeyError
            For a word that is not in the vocabulary.
        """
        check_is_fitted(self)
        rows = self._positions(center)
        logits = self.vectors_[rows].astype(np.float64) @ self.context_vectors_.T.astype(np.float64)
        logarithms = log_softmax(logits)
        if context is None:
            return logarithms
        columns = self._positions(context)
        if np.shape(rows) != np.shape(columns):
            raise ValueError(
                f"context must be like center, one word or {np.size(rows)}, got {context!r}"
            )
        return np.take_along_axis(logarithms, np.asarray(columns)[..., None], axis=-1)[..., 0]

    def most_similar(self, word: str, n: int = 10) -> list[tuple[str, float]]:
        """Return the words whose vectors point in the most similar directions.

        Parameters
        ----------
        word : str
            A word of the vocabulary.
        n : int, default 10
            How many to return.

        Returns
        -------
        list of (str, float)
            Words and the cosines of their vectors with the word's, the mean of all vectors taken
            off; the largest first.

        Raises
        ------
        KeyError
            For a word that is not in the vocabulary.
        """
        check_is_fitted(self)
        row = position_of(word, self.vocabulary_)
        # What all vectors have in common says how frequent contexts are, and nothing of the word.
        centred = self.vectors_ - self.vectors_.mean(axis=0)
        lengths = np.linalg.norm(centred, axis=1)
        cosines = centred @ centred[row] / np.maximum(lengths * lengths[row], 1e-30)
        order = np.argsort(-cosines, kind="stable")
        best = order[order != row][: max(n, 0)]
        return [(self._words[i], float(cosines[i])) for i in best]

    def score(self, sentences: Sentences, y: object = None) -> float:
        """Return the exact log-likelihood of a corpus, in nats per pair; larger is better.

        Parameters
        ----------
        sentences : iterable of lists of str, or callable
            As in `fit`; words that are not in the vocabulary are left out.
        y : object
            Ignored.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If no two known words stand near each other.
        """
        check_is_fitted(self)
        counts = checked_counts(
            count_pairs(sentences, self.vocabulary_, self.window), len(self.vocabulary_)
        )
        return log_likelihood(counts, self.vectors_, self.context_vectors_)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as safetensors; an existing file is replaced at once or not at all.

        Parameters
        ----------
        path : path-like
            Where to write.
        """
        check_is_fitted(self)
        names = ("dim", "window", "min_count", "l2", "tol", "max_iter")
        parameters = {name: getattr(self, name) for name in names}
        saved = SavedVectors(self.vectors_, self.context_vectors_, self._words, parameters)
        write_vectors(path, saved)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : path-like
            A safetensors file.

        Returns
        -------
        SkipGram

        Raises
        ------
        ValueError
            Where the file is not a whole, unchanged model of a known version.
        """
        saved = read_vectors(path)
        model = cls()
        try:
            model.set_params(**saved.parameters)
            model._check_parameters()
        except (ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{os.fspath(path)!r} is not a usable model file: {reason}") from None
        model._keep(saved.words, saved.vectors, saved.context_vectors)
        return model

    def to_word2vec(self, path: str | os.PathLike[str]) -> None:
        """Write the vectors in word2vec's text format, which gensim and others read.

        Parameters
        ----------
        path : path-like
            Where to write: a line with the shape, then a line for each word.

        Raises
        ------
        ValueError
            If a word has white space in it, which the format cannot hold.
        """
        check_is_fitted(self)
        write_word2vec(Path(path), self._words, self.vectors_)

    def _keep(self, words: list[str], vectors: NDArray[Any], contexts: NDArray[Any]) -> None:
        self._words = words
        self.vocabulary_ = {word: row for row, word in enumerate(words)}
        self.vectors_ = vectors.astype(np.float32)
        self.context_vectors_ = contexts.astype(np.float32)

    def _positions(self, words: str | Sequence[str]) -> Any:
        if isinstance(words, str):
            return position_of(words, self.vocabulary_)
        return np.array([position_of(word, self.vocabulary_) for word in words], np.int64)

    def _report(self, tell: Callable[[str, float], None], news: Progress) -> bool:
        self.history_.append(news.objective)
        self.gradient_norm_ = news.gradient_norm
        tell(
            f"iteration {news.iteration}: objective {news.objective:.6g}, "
            f"gradient {news.gradient_norm:.2e}",
            share_done(news.gradient_norm, 1.0, float(self.tol)),
        )
        self._stopped = self.callback is not None and self.callback(news) is True
        return self._stopped

    def _check_parameters(self) -> None:
        for name in ("dim", "window", "min_count", "max_iter"):
            value = getattr(self, name)
            least = 0 if name == "max_iter" else 1
            if not isinstance(value, Integral) or value < least:
                raise ValueError(f"{name} is {value!r} where an int >= {least} was expected")
        for name in ("l2", "tol"):
            value = getattr(self, name)
            if not isinstance(value, Real) or not 0 <= float(value) < np.inf:
                raise ValueError(f"{name} is {value!r} where a finite number >= 0 was expected")
        if self.callback is not None and not callable(self.callback):
            raise ValueError(f"callback is {self.callback!r} where a callable was expected")
