"""Thin components over `launch`: `dataset` does all in one task, the four others one step each.

Their image is the one that reads rows with Polars (docs/images.md); none of them imports TensorFlow.
"""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Output

from shipway import images


@dsl.component(base_image=images.TENSORFLOW, install_kfp_package=False)
def dataset(
    spec: str,
    dataset: Output[Dataset],
    report: Output[HTML],
    data_fingerprint: str = "",
    code_fingerprint: str = "",
):
    """Ingest, validate, split and encode rows into TFRecord shards, as one task.

    Args:
        spec: A `DatasetSpec` (JSON or YAML): source, columns, split, recipe.
        data_fingerprint: Of the bytes behind the source; part of the cache key.
        code_fingerprint: Of the installed package and recipe; part of the cache key.

        dataset: A `DatasetManifest` (JSON): shards, row files, encoder, statistics.
        report: What is in the data, and what is wrong with it.
    """
    from shipway.components.prep import launch

    launch.dataset(spec, dataset, report)


@dsl.component(base_image=images.TENSORFLOW, install_kfp_package=False)
def ingest(spec: str, rows: Output[Dataset], data_fingerprint: str = "", code_fingerprint: str = ""):
    """Read CSV, TSV, JSONL or Parquet from anywhere into Parquet in the store.

    Args:
        spec: A `DatasetSpec` (JSON or YAML); the later steps take theirs from the rows.
        data_fingerprint: Of the bytes behind the source; part of the cache key.
        code_fingerprint: Of the installed package and recipe; part of the cache key.

        rows: A `RowsManifest` (JSON).
    """
    from shipway.components.prep import launch

    launch.ingest(spec, rows)


@dsl.component(base_image=images.TENSORFLOW, install_kfp_package=False)
def validate(rows: Input[Dataset], validated: Output[Dataset], report: Output[HTML], code_fingerprint: str = ""):
    """Count what is in the rows, set bad ones aside, and fail when they are too many.

    Args:
        rows: Ingested rows.
        code_fingerprint: Of the installed package and recipe; part of the cache key.

        validated: A `RowsManifest` (JSON): the good rows, the quarantine, statistics.
        report: What is in the data, what is wrong with it, what differs from the champion's.
    """
    from shipway.components.prep import launch

    launch.validate(rows, validated, report)


@dsl.component(base_image=images.TENSORFLOW, install_kfp_package=False)
def split(rows: Input[Dataset], splits: Output[Dataset], report: Output[HTML], code_fingerprint: str = ""):
    """Put each row on its side by a pinned hash of its group, or as a column says, and measure what leaks.

    Args:
        rows: Validated rows.
        code_fingerprint: Of the installed package and recipe; part of the cache key.

        splits: A `RowsManifest` (JSON): rows with their split, leakage.
        report: Rows, labels and leakage by split.
    """
    from shipway.components.prep import launch

    launch.split(rows, splits, report)


@dsl.component(base_image=images.TENSORFLOW, install_kfp_package=False)
def encode(rows: Input[Dataset], dataset: Output[Dataset], report: Output[HTML], code_fingerprint: str = ""):
    """Fit the recipe's encoder on the training rows and write globally shuffled TFRecord shards.

    Args:
        rows: Split rows.
        code_fingerprint: Of the installed package and recipe; part of the cache key.

        dataset: A `DatasetManifest` (JSON): shards, row files, encoder, statistics.
        report: What is in the data, and what is wrong with it.
    """
    from shipway.components.prep import launch

    launch.encode(rows, dataset, report)
