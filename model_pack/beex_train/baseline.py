"""The floor that a pack must beat: TF-IDF of words and word pairs with logistic regression (scikit-learn)."""

from __future__ import annotations

import numpy as np

from .data import Table, class_indices, class_names


def linear_accuracy(train: Table, dev: Table) -> tuple[float, int]:
    """Dev accuracy and the number of features. C is set once for all data, where it served sentences better than the default of 1."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    names = class_names(train)
    joined = lambda table: table.texts if table.texts_b is None else [f"{a} \t {b}" for a, b in zip(table.texts, table.texts_b)]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"(?u)\S+")
    features = vectorizer.fit_transform(joined(train))
    model = LogisticRegression(C=10, max_iter=1000).fit(features, class_indices(train, names))
    right = model.predict(vectorizer.transform(joined(dev))) == np.array(class_indices(dev, names))
    return float(right.mean()), features.shape[1]
