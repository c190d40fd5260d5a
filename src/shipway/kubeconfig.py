"""The kubeconfig of whoever is at this machine: the files that KUBECONFIG names, as kubectl merges them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from shipway.errors import NotFound


def where() -> str:
    """Its files as they stand now: the Kubernetes client reads the variable only when it is imported."""
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


def is_there() -> bool:
    """Whether any of its files is."""
    return any(Path(path).expanduser().exists() for path in where().split(os.pathsep) if path)


def leads_to_a_cluster() -> bool:
    """Whether a Kubernetes API can be asked from here: by a kubeconfig, or by the ServiceAccount of a pod."""
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) or is_there()


def load() -> Any:
    """The current context as a `kubernetes.client.Configuration`.

    Raises:
        NotFound: there is none, or it cannot be read; one line.
    """
    import yaml
    from kubernetes import client, config

    configuration = client.Configuration()
    try:
        config.load_kube_config(where(), client_configuration=configuration)
    except config.ConfigException as error:
        raise NotFound(" ".join(str(error).split()), field=where()) from error
    # What is no kubeconfig at all comes out of the client as whatever broke first.
    except (OSError, ValueError, TypeError, LookupError, AttributeError, yaml.YAMLError) as error:
        raise NotFound(f"cannot be read as a kubeconfig ({type(error).__name__})", field=where()) from error
    return configuration
