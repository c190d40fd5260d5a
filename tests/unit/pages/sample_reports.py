"""A report that uses every block and chart; shown to a real browser by tests/local/test_reports_in_browser.py."""

from __future__ import annotations

import math
import random

from shipway import pages


def gallery(classes: int = 12) -> pages.Report:
    """Every block once, with hostile labels among them."""
    random.seed(3)
    labels = ["<script>alert(1)</script>", 'say "hi" & go', "MOMMY_COMMAND_WWW", "打开客厅的灯和空调"]
    labels += [f"intent_{i}" for i in range(classes - 4)]
    counts = [[random.randint(60, 99) if i == j else int(random.random() < 0.12) * 6 for j in labels] for i in labels]
    trials = [
        {"lr": 10 ** random.uniform(-4, -1), "dropout": random.random(), "arch": random.choice(["bag", "lstm", "cnn"])}
        for _ in range(40)
    ]
    for trial in trials:
        trial["accuracy"] = 0.9 - abs(math.log10(trial["lr"]) + 2.5) * 0.1 - trial["dropout"] * 0.05
    history = [(i, t["accuracy"]) for i, t in enumerate(trials)]
    best = [(i, max(a for _, a in history[: i + 1])) for i, _ in history]
    return (
        pages.Report("Gallery <b>of</b> blocks", "every block and chart once")
        .callout("good", "Blessed", "better than the champion by 1.2 points (0.4 to 2.0)")
        .tiles(
            {"Accuracy": (pages.percent(0.934), "0.921 to 0.945"), "Rows": 12345, "Took": pages.duration(95.2)},
            tones={"Accuracy": "good"},
        )
        .callout("warn", "3 labels have fewer than ten rows", "<i>a, b, c</i>")
        .callout("bad", "The model loses to the linear SVM")
        .callout("info", "Reproduce", "the same parameters give the same model")
        .section("Scores", "On the test split.")
        .chart(
            pages.bars(
                {"this model": 0.934, "linear SVM": 0.912, "majority <class>": 0.041, "MOMMY_COMMAND_WWW": 0.5},
                title="Accuracy beside the baselines",
                format=pages.percent,
                highlight=["this model"],
                intervals={"this model": (0.921, 0.945)},
                high=1.0,
            )
        )
        .table(
            ["class", "precision", "recall", "support"],
            [
                [label, (pages.percent(0.9), 0.9), (pages.percent(0.5 + i / 40), 0.5 + i / 40), 100 + i]
                for i, label in enumerate(labels)
            ],
            caption="By class",
            tones=["bad", "warn", "good"],
        )
        .chart(pages.confusion_matrix(counts, labels, title="Confusion matrix"))
        .section("Trials")
        .chart(
            pages.lines(
                {"best so far": best},
                points={"trial": history},
                step=True,
                title="History",
                x_label="trial",
                y_label="accuracy",
                format=pages.percent,
            )
        )
        .chart(pages.parallel_coordinates(trials, ["lr", "dropout", "arch"], "accuracy", title="Parameters"))
        .chart(
            pages.columns(
                [str(i) for i in range(40)],
                [random.random() * 50 for _ in range(40)],
                title="Words in a text",
                x_label="words",
                y_label="rows",
            )
        )
        .chart(
            pages.scatter(
                {
                    "a": [(t["lr"], t["accuracy"]) for t in trials[:20]],
                    "b": [(t["lr"], t["accuracy"]) for t in trials[20:]],
                },
                title="Learning rate",
                x_label="lr",
                y_label="accuracy",
                log_x=True,
            )
        )
        .chart(
            pages.lines(
                {
                    "accuracy": [(i / 50, 0.9 + i / 600) for i in range(51)],
                    "coverage": [(i / 50, 1 - (i / 50) ** 3) for i in range(51)],
                },
                marks={"chosen 0.62": 0.62},
                title="Threshold",
                x_label="threshold",
            )
        )
        .facts({"dropout": 0.2, "labels": labels[:3], "optimizer": "adam"}, caption="Parameters")
        .code("shipway predict home-bot 'turn on the light'\ncurl -s http://127.0.0.1:8080/v1/models", "Ask it")
    )
