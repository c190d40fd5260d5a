"""What Kubeflow's refusals mean: one clear line of our own for each, by status, code and the cause that it names."""

from __future__ import annotations

import re

from kfp_server_api.exceptions import ApiException

from shipway.errors import InvalidSpec, KubeflowError, NotAllowed, NotFound, VersionConflict
from shipway.remote.credentials import read_claims, who_is
from shipway.remote.http import as_text, grpc_code, is_refusal, server_message
from shipway.remote.settings import Settings

ABORTED = 10  # gRPC's code of a request that does not fit the object's state


class Unsupported(NotFound):
    """This Kubeflow, or this address, does not have the call."""


class WorkflowGone(KubeflowError):
    """A run's Workflow was deleted: nothing runs any more, and nothing will tell Kubeflow so."""


def explain(settings: Settings, what: str, error: ApiException) -> Exception:
    """Our error for an answer of Kubeflow that refuses."""
    said, credentials = server_message(error), settings.credentials
    where = f"Kubeflow at {settings.url}"
    if error.status == 401:
        return NotAllowed(f"401, {credentials.describe()} is not accepted; {credentials.renewal()}", field=where)
    if error.status == 403:
        words = said.partition(" (request:")[0].strip()
        return NotAllowed(f"403, {_who(settings)} may not use {what} {_in_namespace(settings)}: {words}", field=where)
    if is_refusal(error.status, error.body):
        return _at_fault(what, settings.url, said, as_text(error.body))
    # A missing object is named; a missing path is just "Not Found", or a proxy's "404 page not found".
    if error.status == 404 and re.search(r"\S+ not found|not exist", said) and "page not" not in said:
        return NotFound(f"not found at {settings.url}: {said}", field=what)
    if error.status in (404, 405, 501):
        return Unsupported(f"{where} has no such call ({what}): {error.status} {said}")
    if error.status == 409 and grpc_code(error) != ABORTED:
        return VersionConflict(f"exists already: {said or 'the server says no more'}", field=what)
    if error.status in (400, 409):
        return InvalidSpec(f"refused by Kubeflow: {said}", field=what)
    return KubeflowError(f"{what}: {where} answered {error.status}: {said}")


def _at_fault(what: str, url: str, said: str, whole: str) -> Exception:
    """A 500 that is the request's fault."""
    if ".argoproj.io" in whole:
        return WorkflowGone(f"{what}: its Workflow is gone: {said}")
    if "ResourceNotFoundError" in whole:
        return NotFound(f"not found at {url}: {said}", field=what)
    column = re.search(r"too long for column '(\w+)'", whole)
    if column:
        return InvalidSpec(
            f"its {column.group(1).lower()} is too long, Kubeflow keeps 255 characters: {said}", field=what
        )
    return InvalidSpec(f"refused by Kubeflow: {said}", field=what)


def _who(settings: Settings) -> str:
    token = settings.credentials.token
    return who_is(read_claims(token.read())) if token else settings.credentials.describe()


def _in_namespace(settings: Settings) -> str:
    if settings.namespace:
        return f"in namespace {settings.namespace}"
    return "without a namespace (set SHIPWAY_KFP_NAMESPACE to your profile's)"
