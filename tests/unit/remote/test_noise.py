"""Of a pod's log a person sees what the step printed."""

from __future__ import annotations

from shipway.remote.noise import own_words

LOG = """\
time="2026-11-25T12:00:00.123Z" level=INFO msg="capturing logs" argo=true
I1125 12:00:01.123456      14 main.go:67] Setting log level to: '1'
I1125 12:00:01.223456      14 launcher_v2.go:800] outputArtifact in uploadOutputArtifacts call: dataset
[KFP Executor 2026-11-25 12:00:02,001 INFO]: Looking for component `dataset` in --component_module_path `/tmp/e.py`
[KFP Executor 2026-11-25 12:00:02,002 INFO]: Loading KFP component "dataset" from /tmp/e.py (directory "/tmp" and ...)
[KFP Executor 2026-11-25 12:00:02,003 INFO]: Got executor_input:
{
    "inputs": {
        "parameterValues": {}
    }
}
reading rows.csv
{
  "ours": 1
}
[KFP Executor 2026-11-25 12:00:02,500 INFO]: loaded 12 rows
error: dataset: empty
[KFP Executor 2026-11-25 12:00:02,004 INFO]: Wrote executor output file to /tmp/kfp/outputs/output_metadata.json.
I1125 12:00:03.123456      14 launcher_v2.go:1230] ExecutorOutput: {
  "artifacts": {}
}
I1125 12:00:03.223456      14 launcher_v2.go:206] publish success.
E1125 12:00:03.323456      14 launcher_v2.go:898] All upload artifact attempts failed: access denied
E1125 12:00:03.423456      14 launcher_v2.go:449] Component failed to execute successfully: exit status 1
F1125 12:00:03.523456      14 main.go:59] failed to execute component: exit status 1
time=2026-11-25T12:00:04.000Z level=INFO msg="sub-process exited" argo=true error="exit status 1"
Error: exit status 1
"""


def test_of_a_pods_log_only_what_the_step_said_and_real_errors_of_the_launcher_are_left() -> None:
    assert (
        "".join(own_words(LOG.splitlines(keepends=True)))
        == """\
reading rows.csv
{
  "ours": 1
}
[KFP Executor 2026-11-25 12:00:02,500 INFO]: loaded 12 rows
error: dataset: empty
E1125 12:00:03.323456      14 launcher_v2.go:898] All upload artifact attempts failed: access denied
"""
    )
