"""Trains the models of the test beside this file, each a pickle in the folder named.

    python train.py FOLDER

Next to NAME.pkl it writes NAME.json: {"rows": 1,000 rows, "classes": what scikit-learn predicts of each}. Models that
cannot be converted are in FOLDER/odd.
"""

import json
import pickle
import sys
from pathlib import Path

import joblib
import numpy
from sklearn.cluster import KMeans
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

FEATURES = 4
WORDS = numpy.array(["low", "middle", "high"])

# Trees of a forest are kept from growing to the end: whole votes tie, and how a tie ends is a matter of rounding.
MODELS = {
    "decision-tree": DecisionTreeClassifier(random_state=0),
    "random-forest": RandomForestClassifier(20, max_depth=5, random_state=0),
    "gradient-boosting": GradientBoostingClassifier(n_estimators=20, random_state=0),
    "logistic-regression": LogisticRegression(solver="newton-cholesky"),
    "scaled": make_pipeline(StandardScaler(), LogisticRegression()),
    "scaled-forest": make_pipeline(StandardScaler(), RandomForestClassifier(10, max_depth=5, random_state=0)),
    "mlp": make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=1000, random_state=0)),
    "k-means": KMeans(3, n_init=3, random_state=0),
    "words": DecisionTreeClassifier(max_depth=4, random_state=0),
}


class Code:
    """Unpickling it runs its code."""

    def __init__(self, code):
        self.code = code

    def __reduce__(self):
        return exec, (self.code,)


def odd(rows, classes):
    """Models that cannot be converted, and things that are no models."""
    # Its threshold lies between two numbers that 32 bits cannot tell apart.
    precise = LogisticRegression().fit([[0], [2**24]], [0, 1])
    precise.coef_, precise.intercept_ = numpy.array([[1.0]]), numpy.array([-(2**24 + 0.5)])
    return {
        "precise": precise,
        "quantity": LinearRegression().fit(rows, classes),
        "histogram": HistGradientBoostingClassifier(max_iter=2).fit(rows, classes),
        "from-one": DecisionTreeClassifier(max_depth=2).fit(rows, classes + 1),
        "two-answers": DecisionTreeClassifier(max_depth=2).fit(rows, numpy.column_stack([classes, classes])),
        "untrained": DecisionTreeClassifier(),
        "dictionary": {"states": ["green"]},
        "prints": Code("print('{}')"),
        "exits": Code("raise SystemExit('the pickle has ended Python')"),
    }


def data(chance, count):
    """Three overlapping clouds, whose numbers have very different sizes, as telemetry does."""
    classes = chance.integers(3, size=count)
    rows = chance.normal(size=(count, FEATURES)) + 1.5 * numpy.eye(3, FEATURES)[classes]
    rows = rows * [10, 1, 100, 0.1] + [50, 3, 1000, 5]
    # What a 32-bit number holds: what is compared is the models, not how their input is rounded.
    return rows.astype(numpy.float32).astype(float), classes


def main():
    folder = Path(sys.argv[1])
    chance = numpy.random.default_rng(5)
    rows, classes = data(chance, 600)
    others, _ = data(chance, 1000)
    for name, model in MODELS.items():
        model.fit(rows, WORDS[classes] if name == "words" else classes)
        # Both ways in which people keep models.
        if name == "k-means":
            joblib.dump(model, folder / f"{name}.pkl", compress=3)
        else:
            (folder / f"{name}.pkl").write_bytes(pickle.dumps(model))
        asked = {"rows": others.tolist(), "classes": model.predict(others).tolist()}
        (folder / f"{name}.json").write_text(json.dumps(asked))
    (folder / "odd").mkdir()
    for name, model in odd(rows, classes).items():
        (folder / "odd" / f"{name}.pkl").write_bytes(pickle.dumps(model))


main()
