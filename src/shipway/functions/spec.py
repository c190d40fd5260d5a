"""What a replica that calls a function is started with."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from shipway.artifacts import Uri
from shipway.specs import Spec
from shipway.training.spec import Strategy


class FunctionDocument(Spec):
    """SHIPWAY_FUNCTION, as JSON."""

    function: Annotated[str, Field(pattern=r"^\w+(\.\w+)*:\w+$")]
    params: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, str] = Field(default_factory=dict)
    strategy: Strategy = "single"
    workers: int = 1
    seed: int = 17
    output_uri: Uri
    lease_s: float = 0
