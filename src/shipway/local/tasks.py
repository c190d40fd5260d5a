"""The tasks of a compiled pipeline."""

from __future__ import annotations

from typing import Any


def leaf_tasks(pipeline_spec: Any) -> list[str]:
    """Names of the tasks that run a container, in the order they stand, inner DAGs included."""
    names: list[str] = []

    def visit(dag: Any) -> None:
        for task_name, task in _in_order(dag):
            component = pipeline_spec.components[task.component_ref.name]
            if component.HasField("dag"):
                visit(component.dag)
            else:
                names.append(task_name)

    visit(pipeline_spec.root.dag)
    return names


def _in_order(dag: Any) -> list[tuple[str, Any]]:
    """A DAG's tasks, each behind those it depends on."""
    tasks = dict(dag.tasks.items())
    done: list[str] = []

    def place(name: str) -> None:
        if name in done:
            return
        for dependency in sorted(tasks[name].dependent_tasks):
            place(dependency)
        done.append(name)

    for name in sorted(tasks):
        place(name)
    return [(name, tasks[name]) for name in done]
