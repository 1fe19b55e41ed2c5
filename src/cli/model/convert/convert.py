"""The Python half of `lifeguard model convert`: unpickles a scikit-learn model and writes it as ONNX.

The arguments are the path of the pickle and the user's name for this interpreter. Sample rows are read as JSON from standard
input; null means none. The answer goes to standard output: a line of JSON and, unless that has an `error`, the bytes of the
ONNX file. Unpickling runs any code in the file.
"""

import json
import os
import sys
import sysconfig
import warnings
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

# The tested operator sets; every ONNX Runtime since 1.14 supports them.
OPSETS = {"": 18, "ai.onnx.ml": 3}
SAMPLES = 1000
SEED = 1

PICKLE, PYTHON = sys.argv[1:3]


class Refused(Exception):
    """Why the model is refused, for people."""


def require_packages():
    needed = {"sklearn": "scikit-learn", "skl2onnx": "skl2onnx"}
    missing = [package for module, package in needed.items() if find_spec(module) is None]
    if missing:
        packages = " and ".join(missing)
        raise Refused(f"{PYTHON} lacks {packages}: {PYTHON} -m pip install {' '.join(missing)}")


def packages():
    """The folder of onnxruntime in this Python, or the folder where it would be installed."""
    spec = find_spec("onnxruntime")
    folders = list((spec and spec.submodule_search_locations) or [])
    return str(Path(folders[0]).parent) if folders else sysconfig.get_path("platlib")


def unpickle():
    """The model in the file, and the warnings of Python, such as that another version wrote it."""
    import joblib  # Part of scikit-learn; reads plain pickles too.

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        try:
            model = joblib.load(PICKLE)
        except OSError as error:
            raise Refused(error.strerror or str(error)) from error
        except ModuleNotFoundError as error:
            raise Refused(f"it needs the module {error.name}, which {PYTHON} lacks") from error
        except Exception as error:
            raise Refused(f"it cannot be unpickled: {first_line(error)}") from error
    return model, list(dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught))


def first_line(error):
    # Without the values that may follow, which can be thousands of numbers.
    line = str(error).strip().split("\n")[0].split("={")[0]
    return f"{type(error).__name__}: {line[:200]}".rstrip(": ")


def check(model):
    """The number of values in a row of the model, which must predict classes."""
    from sklearn.base import BaseEstimator, is_regressor

    name = type(model).__name__
    if not isinstance(model, BaseEstimator) or not hasattr(model, "predict"):
        raise Refused(f"it contains {name}, which is not a scikit-learn model that predicts")
    if is_regressor(model):
        raise Refused(f"{name} predicts a quantity, not a class; states need classes")
    if not hasattr(model, "n_features_in_"):
        raise Refused(f"{name} has not been trained")
    return model.n_features_in_


def convert(model, width):
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.base import is_classifier

    try:
        onnx = to_onnx(
            model,
            initial_types=[("values", FloatTensorType([None, width]))],
            target_opset=OPSETS,
            # Probabilities as numbers, not as a list of dictionaries; only classifiers know the option.
            options={"zipmap": False} if is_classifier(model) else None,
        )
    except Exception as error:
        raise Refused(f"skl2onnx cannot convert {type(model).__name__}: {first_line(error)}") from error
    return onnx.SerializeToString()


def landmarks(model, width, chance):
    """Rows near the decision boundaries of the model, each of `width` numbers."""
    import numpy

    unit = chance.normal(size=(SAMPLES, width))
    if hasattr(model, "best_estimator_"):
        return landmarks(model.best_estimator_, width, chance)
    if hasattr(model, "steps"):
        # The boundaries of the last step, transformed back through the earlier steps.
        last = model.steps[-1][1]
        rows = landmarks(last, getattr(last, "n_features_in_", width), chance)
        for _, step in reversed(model.steps[:-1]):
            rows = step.inverse_transform(rows) if hasattr(step, "transform") else rows
        return rows
    if hasattr(model, "tree_"):
        tree, rows = model.tree_, unit
        for feature in range(width):
            thresholds = tree.threshold[tree.feature == feature]
            if len(thresholds):
                rows[:, feature] = chance.choice(thresholds, SAMPLES)
        return rows
    if hasattr(model, "estimators_"):
        parts = numpy.ravel(numpy.array(model.estimators_, dtype=object))
        parts = chance.choice(parts, min(len(parts), 50), replace=False)
        return numpy.concatenate([landmarks(part, width, chance) for part in parts])
    for name in ["cluster_centers_", "support_vectors_", "theta_", "_fit_X"]:
        if hasattr(model, name):
            return numpy.asarray(getattr(model, name))
    if hasattr(model, "coef_"):
        planes, offsets = numpy.asarray(model.coef_), numpy.ravel(model.intercept_)
    elif hasattr(model, "coefs_"):
        planes, offsets = model.coefs_[0].T, model.intercepts_[0]
    else:
        return unit
    # Points on the planes, spread in inverse proportion to the slopes.
    of = chance.integers(len(planes), size=SAMPLES)
    slopes = numpy.where(numpy.abs(planes) > 1e-9, planes, 1)[of]
    rows = unit / numpy.abs(slopes)
    beyond = (rows * planes[of]).sum(axis=1) + offsets[of]
    return rows - (beyond / width)[:, None] / slopes


def make_samples(model, width):
    """Rows on, near and between the landmarks, and some far away, without those where rounding decides."""
    import numpy

    chance = numpy.random.default_rng(SEED)
    try:
        known = numpy.asarray(landmarks(model, width, chance), dtype=float)
    except (AttributeError, ValueError, TypeError, IndexError):
        # A step without an inverse transformation.
        known = chance.normal(size=(SAMPLES, width))
    count = 3 * SAMPLES
    here, there = known[chance.integers(len(known), size=(2, count))]
    between = chance.choice([0, 0, 0.5, 0.9], (count, 1)) * chance.random((count, 1))
    spread = numpy.where(known.std(axis=0) > 0, known.std(axis=0), 1)
    noise = chance.choice([0, 0.01, 0.3, 1, 3], (count, 1)) * chance.normal(size=(count, width))
    rows = here + between * (there - here) + noise * spread
    # The ONNX model uses 32-bit numbers, so the rows must be exact in 32 bits.
    rows = rows.astype(numpy.float32).astype(float)
    rows = rows[is_settled(model, rows)][:SAMPLES]
    if len(rows) < SAMPLES // 10:
        raise Refused("cannot generate rows where more than rounding decides: give rows with --samples")
    return rows.tolist()


def is_settled(model, rows):
    """Which rows have a class that does not depend on the last digit: for the others 32 and 64 bits may differ."""
    import numpy

    classes = numpy.asarray(predict(model, rows))
    settled = numpy.ones(len(rows), dtype=bool)
    if hasattr(model, "tree_"):
        # A tree only compares numbers.
        return settled
    if hasattr(model, "predict_proba"):
        likeliest = numpy.sort(quietly(model.predict_proba, rows), axis=1)
        settled &= likeliest[:, -1] - likeliest[:, -2] > 1e-5
    if not hasattr(model, "estimators_"):
        for nudge in [1 - 1e-6, 1 + 1e-6]:
            settled &= quietly(model.predict, rows * nudge) == classes
    return settled


def predict(model, rows):
    import numpy

    labels = numpy.asarray(quietly(model.predict, rows))
    if labels.shape != (len(rows),):
        raise Refused(f"{type(model).__name__} predicts several classes a row, and one is needed")
    return labels.tolist()


def quietly(predict, rows):
    with warnings.catch_warnings():
        # Warnings that the columns have no names.
        warnings.simplefilter("ignore")
        try:
            return predict(rows)
        except Exception as error:
            raise Refused(f"scikit-learn cannot predict the sample rows: {first_line(error)}") from error


def classes(model, labels):
    """All classes of the model that can be found."""
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    if hasattr(last, "n_clusters"):
        return list(range(last.n_clusters))
    return model.classes_.tolist() if hasattr(model, "classes_") else sorted(set(labels))


def described(model):
    steps = [type(step).__name__ for _, step in getattr(model, "steps", [])]
    return type(model).__name__ + (f"({', '.join(steps)})" if steps else "")


def answer(rows):
    require_packages()
    model, caught = unpickle()
    width = check(model)
    if rows is None:
        rows = make_samples(model, width)
    for number, row in enumerate(rows, 1):
        if len(row) != width:
            raise Refused(f"sample row {number} has {len(row)} numbers, and the model takes {width}")
    labels = predict(model, rows)
    onnx = convert(model, width)
    return {
        "model": described(model),
        "width": width,
        "columns": [str(name) for name in getattr(model, "feature_names_in_", [])],
        "rows": rows,
        "labels": labels,
        "classes": classes(model, labels),
        "packages": packages(),
        "predictor": f"scikit-learn {version('scikit-learn')}",
        "warnings": caught,
    }, onnx


def main():
    rows = json.load(sys.stdin.buffer)
    # Output of the code in the pickle must not be mistaken for the answer.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        result, onnx = answer(rows)
    except Refused as error:
        result, onnx = {"error": str(error)}, b""
    out.write(json.dumps(result).encode() + b"\n" + onnx)
    out.close()


main()
