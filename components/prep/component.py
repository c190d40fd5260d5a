"""A thin component over `launch`. Its image is the one that reads rows with Polars (docs/images.md)."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Output

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
