"""Counts are what a loop counts, the likelihood is exact, and training finds its maximum."""

import os

import numpy as np
import pytest
import scipy.special
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from softmax.learn import SkipGram
from softmax.learn.cooccurrence import count_pairs, count_words
from softmax.learn.pair_likelihood import PairLoss, log_likelihood, spectral_start

WORDS = [f"w{i}" for i in range(60)]


def corpus(n_sentences=400, seed=0):
    """Two topics: the even words keep to themselves, and so do the odd ones; w0 to w3 mix."""
    rng = np.random.default_rng(seed)
    frequency = 1 / np.arange(2, 32)
    sentences = []
    for _ in range(n_sentences):
        picks = 2 * rng.choice(30, size=12, p=frequency / frequency.sum()) + rng.integers(2)
        picks[rng.random(12) < 0.15] = rng.integers(4)
        sentences.append([WORDS[i] for i in picks])
    return sentences


def exact_score(model, sentences):
    """The mean log-probability of all pairs, by loops and SciPy."""
    v, u = model.vectors_.astype(float), model.context_vectors_.astype(float)
    log_p = scipy.special.log_softmax(v @ u.T, axis=1)
    terms = []
    for sentence in sentences:
        rows = [model.vocabulary_[word] for word in sentence if word in model.vocabulary_]
        for i, row in enumerate(rows):
            near = rows[max(0, i - model.window) : i] + rows[i + 1 : i + 1 + model.window]
            terms += [log_p[row, other] for other in near]
    return np.mean(terms)


@pytest.fixture(scope="module")
def fitted():
    return SkipGram(dim=8, window=3, min_count=2, tol=1e-3, max_iter=500, l2=1.0).fit(corpus())


def test_counts_are_those_of_a_loop(monkeypatch):
    monkeypatch.setattr("softmax.learn.cooccurrence.BATCH_WORDS", 100)
    sentences = [*corpus(60), [], ["w1"], ["w1", "rare", "w2"]]
    vocabulary = count_words(sentences, 2)
    assert "rare" not in vocabulary
    expected = np.zeros((len(vocabulary), len(vocabulary)))
    for sentence in sentences:
        rows = [vocabulary[word] for word in sentence if word in vocabulary]
        for i, a in enumerate(rows):
            for j, b in enumerate(rows):
                expected[a, b] += 0 < abs(i - j) <= 3
    counted = count_pairs(lambda: iter(sentences), vocabulary, 3)
    assert np.array_equal(counted.toarray(), expected)


def test_frequent_words_come_first_and_ties_in_order():
    assert list(count_words([["b", "a", "c", "c"], ["b", "a"]], 2)) == ["a", "b", "c"]


def test_loss_and_gradients_are_those_of_the_definition(kernels, monkeypatch):
    monkeypatch.setattr("softmax.learn.pair_likelihood.SCRATCH_BYTES", 9000)  # two parts
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.4, (50, 50)).astype(float)
    counts[[3, 49]] = 0  # words without neighbours
    v, u = rng.normal(size=(2, 50, 5)).astype(np.float32)
    counted = sparse.csr_array(counts)
    loss, dv, du = PairLoss(counted)(v, u)
    log_p = scipy.special.log_softmax(v.astype(float) @ u.T.astype(float), axis=1)
    slope = (np.exp(log_p) * counts.sum(1, keepdims=True) - counts) / counts.sum()
    exact = (counts * log_p).sum() / counts.sum()
    assert loss == pytest.approx(-exact, rel=1e-6)
    assert log_likelihood(counted, v, u) == pytest.approx(exact, rel=1e-13)
    np.testing.assert_allclose(dv, slope @ u, atol=1e-6)
    np.testing.assert_allclose(du, slope.T @ v, atol=1e-6)


def test_start_is_better_than_frequencies():
    sentences = corpus()
    counts = count_pairs(sentences, count_words(sentences, 1), 3)
    p = counts.sum(0) / counts.sum()
    entropy = -(p * np.log(p)).sum()
    for dim, gain in ((1, -1e-6), (10, 0.05)):
        start = spectral_start(counts, dim, 0)
        assert -log_likelihood(counts, *start) < entropy - gain


def test_training_ends_at_a_stationary_point(fitted):
    """With as many dimensions as words and no penalty the model is the table of frequencies."""
    assert fitted.gradient_norm_ <= 1e-3
    assert (np.diff(fitted.history_) <= 1e-9).all()
    rng = np.random.default_rng(1)
    counts = rng.integers(5, 50, (6, 6)).astype(float)
    full = SkipGram(dim=6, l2=0.0, tol=1e-4, max_iter=2000).fit_counts(counts, list("abcdef"))
    p = counts / counts.sum(1, keepdims=True)
    np.testing.assert_allclose(np.exp(full.log_probability(list("abcdef"))), p, atol=2e-3)


def test_the_penalty_is_balanced(fitted):
    """Vectors that are all a little longer or shorter are no better."""
    counts = count_pairs(corpus(), fitted.vocabulary_, 3)

    def objective(factor):
        both = np.float32(factor) * np.stack([fitted.vectors_, fitted.context_vectors_])
        penalty = fitted.l2 / (2 * counts.sum()) * (both**2).sum()
        return penalty - log_likelihood(counts, *both)

    assert objective(1) == pytest.approx(fitted.objective_, rel=1e-6)
    assert abs(objective(1.01) - objective(0.99)) / 0.02 < 2e-3


def test_score_is_exact_and_beats_frequencies(fitted):
    held_out = corpus(100, seed=1)
    assert fitted.score(held_out) == pytest.approx(exact_score(fitted, held_out), rel=1e-12)
    counts = count_pairs(corpus(), fitted.vocabulary_, 3).sum(0)
    test = count_pairs(held_out, fitted.vocabulary_, 3).sum(0)
    assert fitted.score(held_out) > (test @ np.log(counts / counts.sum())) / test.sum() + 0.1


def test_similar_words_are_of_one_topic(fitted):
    for word in ("w6", "w7", "w12"):
        similar = fitted.most_similar(word, 4)
        assert all(int(other[1:]) % 2 == int(word[1:]) % 2 for other, _ in similar)
        assert [s for _, s in similar] == sorted((s for _, s in similar), reverse=True)
        assert word not in dict(similar)
        centred = fitted.vectors_ - fitted.vectors_.mean(0)
        a, b = (centred[fitted.vocabulary_[w]] for w in (word, similar[0][0]))
        cosine = a @ b / np.sqrt((a @ a) * (b @ b))
        assert similar[0][1] == pytest.approx(cosine, rel=1e-5)


def test_log_probability(fitted):
    table = fitted.log_probability(["w6", "w9"])
    np.testing.assert_allclose(np.exp(table).sum(1), 1)
    assert fitted.log_probability("w6", "w9") == table[0, fitted.vocabulary_["w9"]]
    pair = fitted.log_probability(["w6", "w9"], ["w9", "w6"])
    assert pair[1] == table[1, fitted.vocabulary_["w6"]]


def test_deterministic_and_seeded(fitted):
    again = clone(fitted).fit(corpus())
    assert np.array_equal(again.vectors_, fitted.vectors_)
    counts = count_pairs(corpus(), fitted.vocabulary_, 3)
    from_counts = clone(fitted).fit_counts(counts, fitted.vocabulary_)
    assert np.array_equal(from_counts.vectors_, fitted.vectors_)
    seeded = [clone(fitted).set_params(random_state=5).fit(corpus()) for _ in range(2)]
    assert np.array_equal(seeded[0].vectors_, seeded[1].vectors_)


def test_progress(capsys):
    seen = []
    model = SkipGram(dim=4, verbose=1, callback=lambda news: seen.append(news) or len(seen) == 3)
    model.fit(corpus(50))
    assert model.n_iter_ == 3
    assert [news.iteration for news in seen] == [1, 2, 3]
    assert seen[-1].objective == model.objective_
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["counting words: 50 sentences", "counting pairs: 50 sentences"]
    assert [line[:23] for line in said[2:]] == [
        f"iteration {i}: objective "[:23] for i in (1, 2, 3)
    ]


def test_too_few_steps_are_said():
    with pytest.warns(ConvergenceWarning, match="stopped after 2 steps"):
        SkipGram(dim=4, max_iter=2, tol=1e-9).fit(corpus(50))


def test_save_and_load(fitted, tmp_path):
    path = tmp_path / "vectors.safetensors"
    fitted.save(path)
    loaded = SkipGram.load(path)
    assert np.array_equal(loaded.vectors_, fitted.vectors_)
    assert loaded.vocabulary_ == fitted.vocabulary_
    assert loaded.get_params() == fitted.get_params()
    assert loaded.score(corpus(20)) == fitted.score(corpus(20))
    assert os.listdir(tmp_path) == [path.name]
    data = path.read_bytes()
    for wrong in (
        b"", data[:-4], data.replace(b"w10", b"w99"), data.replace(b"SkipGram", b"SkipGrim"),
        data[:-4] + b"\0\0\xc0\x7f",
    ):  # fmt: skip
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match="not a usable model file"):
            SkipGram.load(path)


def test_word2vec_format(fitted, tmp_path):
    path = tmp_path / "vectors.txt"
    fitted.to_word2vec(path)
    first, *lines = path.read_text().splitlines()
    assert first == f"{len(fitted.vocabulary_)} 8"
    for (word, row), line in zip(fitted.vocabulary_.items(), lines, strict=True):
        name, *numbers = line.split()
        assert name == word
        assert np.array_equal(np.array(numbers, np.float32), fitted.vectors_[row])


def test_unknown_words_name_the_nearest(fitted):
    for call in (
        lambda: fitted.most_similar("W13"),
        lambda: fitted.log_probability("W13"),
        lambda: fitted.log_probability("w1", "W13"),
    ):
        with pytest.raises(KeyError, match="'W13' is not in the vocabulary; the nearest is 'w"):
            call()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.fit([]), ValueError, "empty corpus"),
        (lambda m: m.fit([[], []]), ValueError, "empty corpus"),
        (lambda m: m.fit([["a", "b"]]), ValueError, "no word occurs min_count=5 times"),
        (lambda m: m.fit([["a"]] * 9), ValueError, "no two words"),
        (lambda m: m.fit("a text"), TypeError, "sentences must be lists of words, got str"),
        (lambda m: m.fit(["a text"]), TypeError, "must be a list of words, got the text"),
        (lambda m: m.fit([[1, 2]]), TypeError, "got 1 among its words"),
        (lambda m: m.fit(iter([["a", "b"]])), TypeError, "read twice"),
        (lambda m: m.fit_counts(np.ones((2, 3)), ["a", "b"]), ValueError, r"shape \(2, 2\)"),
        (lambda m: m.fit_counts(-np.ones((2, 2)), ["a", "b"]), ValueError, "not negative"),
        (lambda m: m.fit_counts(np.ones((2, 2)), ["a", "a"]), ValueError, "each word once"),
        (lambda m: m.fit_counts(np.ones((2, 2)), {"a": 0, "b": 2}), ValueError, "a row of its own"),
        (lambda m: m.fit_counts(np.zeros((0, 0)), []), ValueError, "must hold words, got none"),
        (lambda m: m.set_params(dim=0).fit([["a"]]), ValueError, "dim is 0 where an int >= 1"),
        (lambda m: m.set_params(l2=-1).fit([["a"]]), ValueError, "l2 is -1 where a finite"),
        (lambda m: m.set_params(callback=3).fit([["a"]]), ValueError, "callback is 3"),
        (lambda m: m.score([["a"]]), NotFittedError, "not fitted"),
    ],
)  # fmt: skip
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call(SkipGram())


def test_other_bad_input(fitted, tmp_path):
    with pytest.raises(ValueError, match="context must be like center"):
        fitted.log_probability(["w1", "w2"], "w3")
    with pytest.raises(ValueError, match="no two words"):
        fitted.score([["unheard"]])
    spaced = SkipGram(dim=2).fit_counts(np.ones((2, 2)), ["a", "b c"])
    with pytest.raises(ValueError, match="white space"):
        spaced.to_word2vec(tmp_path / "x")
