r"""
Skip-gram
=========

What does a word mean? Skip-gram's answer: what stands around it. Each word i has a vector
:math:`v_i` for its own place and a vector :math:`u_i` for being a neighbour, and the probability
that word o stands near word i is a softmax over all words:

.. math:: p(o \mid i) = \frac{e^{u_o \cdot v_i}}{\sum_w e^{u_w \cdot v_i}}

The most probable neighbour is the one whose vector points most in the direction of :math:`v_i`.
"""

import re

import numpy as np
from sklearn import datasets
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

import softmax
from softmax import plot
from softmax.learn import SkipGram

# %%
# A small corpus is at hand: the descriptions of the data sets of scikit-learn.

names = ("digits", "iris", "wine", "breast_cancer", "diabetes", "linnerud")
texts = [getattr(datasets, f"load_{name}")().DESCR.lower() for name in names]
sentences = [
    [word for word in re.findall(r"[a-z]{3,}", part) if word not in ENGLISH_STOP_WORDS]
    for text in texts
    for part in re.split(r"\n\s*\n|\.\s", text)
]
print(sum(map(len, sentences)), "words")

# %%
# The sum in the denominator runs over the whole vocabulary, and is usually avoided, by a tree of
# words or by a handful of negative samples. From counts of pairs it can be computed as it is, at a
# cost that does not depend on the length of the corpus.

model = SkipGram(dim=20, min_count=3, random_state=0).fit(sentences)
print(len(model.vocabulary_), "words with vectors,", model.n_iter_, "steps")
print(f"{model.score(sentences):.3f} nats per pair")

# %%
# So its probabilities are probabilities: here the formula above, beside the model's own answer.

v = model.vectors_[model.vocabulary_["petal"]]
p = softmax.softmax(model.context_vectors_ @ v)
print(p.sum(), p[model.vocabulary_["length"]])
print(np.exp(model.log_probability("petal", "length")))

# %%
# The likeliest neighbours of a word, and the words used in the same way:

words = np.array(list(model.vocabulary_))
print("stand near petal: ", ", ".join(words[np.argsort(-p)[:5]]))
print("are used likewise:", ", ".join(word for word, _ in model.most_similar("petal", 5)))

# %%
# On their first two principal axes, words from one description lie together:

seeds = ("petal", "radius", "serum", "learning")
groups = {seed: [seed, *(word for word, _ in model.most_similar(seed, 5))] for seed in seeds}
chosen = [word for group in groups.values() for word in group]
owners = [f"near {seed}" for seed, group in groups.items() for _ in group]
rows = model.vectors_[[model.vocabulary_[word] for word in chosen]]
plot.embedding(rows, chosen, groups=owners)

# %%
# A thousand words teach little; :doc:`/gallery/plot_word_vectors` trains on eleven thousand
# posts.
