"""Variations of texts for a teacher to label."""

import torch

from beex_train.augment import augment, neighbours

TEXTS = ["the film was good", "the movie was great fun", "a dull plot", "Good acting and a great score", "", "one"]
KNOWN = {"film": 0, "movie": 1, "good": 2, "great": 3, "dull": 4}
VECTORS = torch.tensor([[1.0, 0.1, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.1], [0.0, 1.0, 0.0], [0.0, 0.2, 1.0]])


def test_neighbours_are_other_words_of_similar_meaning():
    found = neighbours(TEXTS, KNOWN, VECTORS)
    assert set(found) == set(KNOWN)
    assert found["film"][0] == "movie" and found["great"][0] == "good"
    assert all(word not in row for word, row in found.items())


def test_variations_are_new_distinct_and_of_the_texts_words():
    made = augment(TEXTS, 40, KNOWN, VECTORS, seed=1)
    assert len(made) == len(set(made)) == 40 and not set(made) & set(TEXTS)
    words = {word for text in TEXTS for word in text.split()} | set(KNOWN)
    assert {word for text in made for word in text.split()} <= words
    assert made == augment(TEXTS, 40, KNOWN, VECTORS, seed=1) != augment(TEXTS, 40, KNOWN, VECTORS, seed=2)


def test_few_texts_give_no_more_than_there_is():
    assert augment(["one"], 5, {}, torch.zeros(1, 3), seed=1) in ([], ["one one"])
    assert augment([], 5, {}, torch.zeros(1, 3), seed=1) == augment([""], 5, {}, torch.zeros(1, 3), seed=1) == []
