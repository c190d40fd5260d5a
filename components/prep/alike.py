"""Rows that mean nearly the same by their vectors, under different labels or on two sides of the split, and labels that
may be two. Kept in the manifest (`statistics.alike`) and shown on the page; nothing is refused for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.components.prep import clouds
from shipway.components.prep.schema import Schema
from shipway.components.prep.vectors import Vectored
from shipway.language.nearest import Floats, Nearest, nearest, unit

# Chosen by reading pairs of real sets (docs/decisions/0174-data-that-argue.md): from it on half of the pairs of
# different labels contradict each other, below it a quarter, and opposites or other names in one sentence prevail.
LEAST = 0.95
COMPARISONS = 1_000_000_000  # of a row with a row, in each check: seconds
APART = 0.3  # share of pairs of labels that are more alike than a label's two clouds
LABELS = 300  # that are looked at for clouds, the largest
EXAMPLES, PER_PAIR, LABEL_PAIRS = 20, 3, 30
NOTED = 3  # in a note
NOTED_SHARE = 0.05  # of a split, from which its likeness to train is a note

Ints = NDArray[np.int64]
Pairs = list[tuple[float, int, int]]  # cosine, and the places of two rows
Locate = Callable[[int, int], tuple[str, int]]  # (piece, row) -> (file, row of the file)


def judge(given: Vectored | None, schema: Schema, locate: Locate) -> dict[str, Any]:
    """What a person should know of rows that are nearly alike.

    Args:
        given: Rows with vectors; None where the encoder has none.
        schema: Of the dataset. Contradictions and clouds are looked for only where a row has one class.
        locate: Where a row stands.

    Returns:
        Nothing without vectors. Else `least` (the cosine from which two rows are near), `rows` (how many have vectors
        here), `near_train` and, of one class a row, `contradictions` and `clouds`. A row is [text, where it stands,
        label], a pair of rows [cosine, row, row].
    """
    if given is None:
        return {}
    counts, copies = _near_train(given)
    document: dict[str, Any] = {"least": LEAST, "rows": len(given), "near_train": {"splits": counts}}
    against: Pairs = []
    halves: dict[str, tuple[Ints, Ints]] = {}
    if schema.has_one_class:
        document["contradictions"], against = _contradictions(given)
        document["clouds"], halves = _clouds(given)
    places = {place for _, *pair in (*copies, *against) for place in pair}
    places.update(*(side.tolist() for sides in halves.values() for side in sides))
    shown = _shown(given, sorted(places), locate)
    document["near_train"]["examples"] = [[cosine, shown[a], shown[b]] for cosine, a, b in copies]
    if schema.has_one_class:
        document["contradictions"]["examples"] = [[cosine, shown[a], shown[b]] for cosine, a, b in against]
        for label in document["clouds"]["labels"]:
            label["examples"] = [[shown[place] for place in side.tolist()] for side in halves[label["label"]]]
    return document


def _shown(given: Vectored, places: list[int], locate: Locate) -> dict[int, list[str]]:
    rows, texts = given.rows[places], given.texts(places)
    columns = (rows.get_column(name).to_list() for name in ("_piece", "_row", "label"))
    shown = {}
    for place, piece, row, label in zip(places, *columns, strict=True):
        file, number = locate(piece, row)
        shown[place] = [texts[place], f"{file} row {number}", label]
    return shown


def _near_train(given: Vectored) -> tuple[dict[str, dict[str, int]], Pairs]:
    """Split -> rows looked at, those near a row of train, and of these the ones whose nearest is the same input; pairs
    from the most alike to the least."""
    splits, contents = (given.rows.get_column(name).to_numpy() for name in ("split", "content"))
    is_train = splits == "train"
    most = max(COMPARISONS // len(given), 1)
    drawn = {split: given.drawn(np.flatnonzero(splits == split), most) for split in ("eval", "test")}
    rows = np.concatenate([drawn["eval"], drawn["test"]])
    if not len(rows) or not is_train.any():
        return {}, []
    # Rows that are not of train are of the queries' kind, and passed over: no copy of the others is made.
    kinds = is_train.astype(np.int64)
    found = nearest(given.vectors[rows], given.vectors, LEAST, query_kinds=kinds[rows], corpus_kinds=kinds)
    counts: dict[str, dict[str, int]] = {}
    pairs: Pairs = []
    for split, mine in drawn.items():
        near = [pair for pair in _as_pairs(rows, found) if splits[pair[1]] == split]
        other = [pair for pair in near if contents[pair[1]] != contents[pair[2]]]
        if len(mine):
            counts[split] = {"rows": len(mine), "near": len(near), "copies": len(near) - len(other)}
            pairs += _spread(other, EXAMPLES // 2)
    return counts, sorted(pairs, key=lambda pair: (-pair[0], pair[1]))


def _as_pairs(rows: Ints, found: Nearest) -> Pairs:
    """Each row and its nearest, where there is one, from the most alike to the least."""
    near = found.places >= 0
    rows, others, cosines = rows[near], found.places[near], found.similarities[near].astype(np.float64)
    order = np.lexsort((others, rows, -cosines))
    return list(zip(cosines[order].round(4).tolist(), rows[order].tolist(), others[order].tolist(), strict=True))


def _spread(pairs: Pairs, most: int) -> Pairs:
    """So many of them, evenly over their order, so that a person sees what the threshold lets in."""
    return [pairs[place] for place in np.unique(np.linspace(0, len(pairs) - 1, min(most, len(pairs))).astype(int))]


def _contradictions(given: Vectored) -> tuple[dict[str, Any], Pairs]:
    """Rows near one of another label: how many, by pair of labels, and pairs of rows from the most alike on."""
    labels = given.rows.get_column("label")
    kinds = labels.rank("dense").to_numpy().astype(np.int64)
    rows = given.drawn(np.arange(len(given)), max(COMPARISONS // len(given), 1))
    found = nearest(given.vectors[rows], given.vectors, LEAST, query_kinds=kinds[rows], corpus_kinds=kinds)
    near = _as_pairs(rows, found)
    counts: Counter[tuple[str, str]] = Counter()
    best: dict[tuple[str, str], float] = {}
    examples: Pairs = []
    kept: Counter[tuple[str, str]] = Counter()
    used: set[int] = set()
    for cosine, row, other in near:
        one, two = sorted((labels[row], labels[other]))
        counts[one, two] += 1
        best.setdefault((one, two), cosine)
        if len(examples) < EXAMPLES and kept[one, two] < PER_PAIR and used.isdisjoint((row, other)):
            examples.append((cosine, min(row, other), max(row, other)))
            kept[one, two] += 1
            used |= {row, other}
    ranked = sorted(counts, key=lambda pair: (-counts[pair], pair))
    document = {
        "looked_at": len(rows),
        "rows": len(near),
        "label_pairs": len(counts),
        "labels": [[*pair, counts[pair], best[pair]] for pair in ranked[:LABEL_PAIRS]],
    }
    return document, examples


def _clouds(given: Vectored) -> tuple[dict[str, Any], dict[str, tuple[Ints, Ints]]]:
    """Labels that may be two, those farthest apart first, and rows of each cloud to read."""
    labels = given.rows.get_column("label")
    by_rows = labels.value_counts().sort("count", "label", descending=[True, False])
    looked_at = by_rows.get_column("label")[:LABELS].to_list()
    drawn = {label: given.drawn((labels == label).arg_true().to_numpy(), clouds.ROWS) for label in looked_at}
    units = {label: unit(given.vectors[places]) for label, places in drawn.items()}
    found = clouds.find_clouds(units)
    split = sorted((label for label in found if found[label].apart >= APART), key=lambda label: -found[label].apart)
    document = {
        "looked_at": len(found),
        "of": len(by_rows),
        "labels": [
            {
                "label": label,
                "rows": len(drawn[label]),
                "sizes": [int(found[label].members.sum()), int((~found[label].members).sum())],
                "apart": round(found[label].apart, 3),
            }
            for label in split[:EXAMPLES]
        ],
    }
    halves = {}
    for label in split[:EXAMPLES]:
        one, two = found[label].members, ~found[label].members
        halves[label] = (_typical(drawn[label], units[label], one), _typical(drawn[label], units[label], two))
    return document, halves


def _typical(places: Ints, units: Floats, members: clouds.Members) -> Ints:
    typical: Ints = places[members][clouds.typical(units[members])]
    return typical


def figures(document: Mapping[str, Any]) -> dict[str, float]:
    """Of `judge`'s document, what stands beside the other counts of leakage."""
    splits = document.get("near_train", {}).get("splits", {})
    return {f"{split}_share_near_train": counts["near"] / counts["rows"] for split, counts in splits.items()}


def notes(document: Mapping[str, Any], group_column: str | None) -> list[str]:
    """Of `judge`'s document, a line for each thing that a person should look at on the page."""
    if not document:
        return []
    advice = (
        f"is {group_column!r} the same for variations of one row?"
        if group_column
        else "a group_column keeps variations of one row on one side"
    )
    sentences = [
        f"{_of(counts['near'], counts['rows'])} rows of {split} mean nearly the same as a row of train: "
        f"figures on them flatter the model; {advice}"
        for split, counts in document["near_train"]["splits"].items()
        if counts["near"] >= NOTED_SHARE * counts["rows"]
    ]
    against = document.get("contradictions", {})
    if against.get("rows"):
        pairs = [f"{one} and {two} ({rows:,})" for one, two, rows, _ in against["labels"]]
        sentences.append(
            f"{_of(against['rows'], against['looked_at'])} rows mean nearly the same as a row of another label: "
            f"{_some(pairs, against['label_pairs'])}"
        )
    two = [label["label"] for label in document.get("clouds", {}).get("labels", [])]
    if two:
        sentences.append(f"rows of a label fall into two clouds, perhaps two labels: {_some(two, len(two))}")
    return sentences


def _of(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({part / whole:.1%})"


def _some(names: Sequence[str], count: int) -> str:
    return ", ".join(names[:NOTED]) + (", ..." if count > NOTED else "")
