"""`notify`: the exit handler of a pipeline."""

from kfp import dsl

from shipway import images


@dsl.component(base_image=images.LAUNCHER, install_kfp_package=False)
def notify(
    status: dsl.PipelineTaskFinalStatus,
    name: str,
    report: dsl.Output[dsl.HTML],
    webhook: str = "",
):
    """Tell how a run went: summary as JSON and HTML from the steps' records, and a webhook where one is given.

    Args:
        status: Given by the exit handler; what failed and why comes from the steps' own records.
        name: Model's name.
        webhook: HTTP address that gets the summary as a JSON POST; empty for that of the variable `SHIPWAY_WEBHOOK`,
            where a secret address belongs, else none. A webhook that fails fails no run; records keep its host only.

        report: The run on one page.
    """
    from shipway.components.notify import launch

    launch.notify(status.state, status.pipeline_job_resource_name, name, webhook, report.path)
