#!/usr/bin/env python3
"""Compares what is learned of scikit-learn's tables, here and by scikit-learn, on the same five splits.

    cargo build --release -p fl-trainer
    compare-learning.py target/release/fl-node

Here three nodes learn together for 20 rounds; there one process has all the data.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from sklearn import datasets, linear_model, metrics, model_selection, neural_network, pipeline, preprocessing

SEEDS = range(5)
HIDDEN = (64, 64)


def here(program, train, test, flags):
    """The figures of the last model."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        train.to_csv(folder / "train.csv", index=False)
        test.to_csv(folder / "test.csv", index=False)
        command = [program, "simulate", "--data", "train.csv", "--test", "test.csv", "--rounds", "20", "--out", "out"]
        subprocess.run(command + flags, cwd=folder, check=True, capture_output=True)
        return json.loads((folder / "out" / "run.json").read_text())["rounds"][-1]


def scaled(model):
    return pipeline.make_pipeline(preprocessing.StandardScaler(), model)


def compare(program, name, data, target, flags=()):
    is_quantity = not hasattr(data, "target_names")
    labels = data.target if is_quantity else data.target.map(lambda at: data.target_names[at])
    scores = []
    for seed in SEEDS:
        split = model_selection.train_test_split(
            data.data, labels, test_size=0.2, random_state=seed, stratify=None if is_quantity else labels
        )
        train, test, known, truth = split
        if is_quantity:
            linear = linear_model.LinearRegression()
            network = neural_network.MLPRegressor(hidden_layer_sizes=HIDDEN, max_iter=2000, random_state=seed)
            score, key = metrics.r2_score, "r2"
        else:
            linear = linear_model.LogisticRegression(max_iter=5000)
            network = neural_network.MLPClassifier(hidden_layer_sizes=HIDDEN, max_iter=2000, random_state=seed)
            score, key = metrics.accuracy_score, "accuracy"
        theirs = [score(truth, scaled(model).fit(train, known).predict(test)) for model in (linear, network)]
        ours = here(program, train.assign(**{target: known}), test.assign(**{target: truth}), list(flags))
        scores.append(theirs + [ours[key]])
    spread = [f"{mean:.3f} ± {deviation:.3f}" for mean, deviation in zip(np.mean(scores, 0), np.std(scores, 0))]
    print(f"| {name} | {key} | " + " | ".join(spread) + " |", flush=True)


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    small = ("--learning-rate", "0.003", "--batch-size", "32", "--local-epochs", "1")
    diabetes = datasets.load_diabetes(as_frame=True, scaled=False)
    print("| table | score | scikit-learn, linear | scikit-learn, network | here |")
    print("| --- | --- | --- | --- | --- |")
    compare(program, "diabetes", diabetes, "progression")
    compare(program, "diabetes, small steps", diabetes, "progression", small)
    compare(program, "wine", datasets.load_wine(as_frame=True), "cultivar")
    compare(program, "breast cancer", datasets.load_breast_cancer(as_frame=True), "diagnosis")


if __name__ == "__main__":
    main()
