"""Writes what the original StateService serves as `colors`: the model of its README, pickled, and its config.

    colors.py FOLDER        makes FOLDER/config/colors.json and FOLDER/models/state_service/colors_v1.pkl

The tree is that which fixtures/models/state_service/colors_v1.onnx holds: green up to 200 errors, then red up to a
latency of 500, then blue.
"""

import json
import pickle
import sys
from pathlib import Path

from sklearn.tree import DecisionTreeClassifier

folder = Path(sys.argv[1])
rows = [[latency, errors] for latency in (0, 499, 501, 1000) for errors in (0, 199, 201, 400)]
colors = [0 if errors <= 200 else 1 if latency <= 500 else 2 for latency, errors in rows]
model = DecisionTreeClassifier(random_state=0).fit(rows, colors)
(folder / "config").mkdir()
(folder / "models" / "state_service").mkdir(parents=True)
(folder / "models" / "state_service" / "colors_v1.pkl").write_bytes(pickle.dumps(model))
config = {"name": "colors", "team": "state_service", "model": "colors_v1.pkl", "states": ["green", "red", "blue"]}
(folder / "config" / "colors.json").write_text(json.dumps(config))
