"""`Endpoint`: where a model answers, asked the same way on this machine and on a cluster."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from shipway.client import Client
from shipway.errors import ShipwayError, UserError
from shipway.remote.endpoints import There, by_hand, find, place_of

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Endpoint:
    """A model that answers.

    Attributes:
        name: The endpoint's, which is the model's.
        predict_url: Its address, `http://host:port/v1/models/NAME:predict`; of one on a cluster that inside of it.
        version: The registered version that was deployed; None where it is not known.
    """

    name: str
    predict_url: str
    version: int | None = None

    @property
    def url(self) -> str:
        """Its base, in front of `/v1/models`."""
        return self.predict_url.partition("/v1/")[0].rstrip("/")

    def predict(self, instances: Sequence[Any], **parameters: Any) -> list[Any]:
        """The answers, in the order of the instances.

        Args:
            instances: JSON, as the model's input takes it; at most as many as the endpoint allows in one request.
            parameters: That the model's task knows, such as `top_k=3` of a classifier.

        Raises:
            UserError: the endpoint refuses the request; says why, and how else to reach it.
            ShipwayError: it does not answer.
        """
        if isinstance(instances, str | bytes) or not isinstance(instances, Sequence):
            raise UserError(
                field="predict", given=type(instances).__name__, allowed="a list of instances", fix="give [...]"
            )
        if self._there:
            return self._there.post({"instances": list(instances)} | ({"parameters": parameters} if parameters else {}))
        with Client(self.predict_url, timeout_s=TIMEOUT_S) as client:
            return client.predict(instances, **parameters)

    @cached_property
    def _there(self) -> There | None:
        """The way to one on a cluster, looked for once; None for one that is asked directly."""
        place = place_of(self.predict_url)
        return find(*place) if place else None

    @property
    def status(self) -> str:
        """`Ready`, or in words why it is not; asked now."""
        place = place_of(self.predict_url)
        try:
            if place:
                find(*place)
            else:
                with _opener().open(f"{self.url}/v1/models/{self.name}", timeout=TIMEOUT_S):
                    pass
        except HTTPError as error:
            return f"not ready: it answers {error.code}"
        except (ShipwayError, OSError) as error:
            return f"not ready: {' '.join(str(error).split())}"
        return "Ready"

    def __str__(self) -> str:
        return f"{self.name}{f' version {self.version}' if self.version is not None else ''} at {self.reached}"

    @property
    def reached(self) -> str:
        """Its address as a person reaches it; of one on a cluster with the command that forwards it."""
        place = place_of(self.predict_url)
        return f"{self.url} in the cluster ({by_hand(*place)})" if place else self.url

    def _repr_html_(self) -> str:
        return (
            f"<b>Endpoint {html.escape(self.name)}</b>: {html.escape(self.reached)}"
            f"<br><code>.predict([...])</code> asks {'version ' + str(self.version) if self.version else 'it'}"
        )


def _opener() -> Any:
    return build_opener(ProxyHandler({}))  # an endpoint of this machine is never behind a proxy
