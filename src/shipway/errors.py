"""Everything that Shipway raises on purpose, and the exit code that each ends with.

    ShipwayError                      exit 1   ours, or the cluster's: keeps its cause chained
    |- UserError                      exit 2   the user can mend it: one clear line, never a traceback
    |  |- InvalidSpec                          a parameter, spec or manifest field is wrong
    |  |- InvalidData                          the user's data cannot be used as it is
    |  |- NotFound                             a name, version, alias or URI that does not exist
    |  |- NotAllowed                           Kubeflow refuses the token or cookie, or who it belongs to
    |  `- VersionConflict                      a published version of that name holds something else
    |- KubeflowError                  exit 1   Kubeflow's API fails, or answers what it should not
    |  |- KubeflowUnavailable                  nobody answers there
    |  `- LostAnswer                           unknown whether the request was carried out
    |- StorageError                   exit 1   object storage does not answer, or refuses
    |  |- StorageUnavailable                   nobody answers at the endpoint
    |  |- AccessDenied                exit 2   wrong or missing credentials
    |  |- Untrusted                   exit 2   the endpoint's certificate is not trusted here
    |  `- Conflict                             a conditional write lost its race
    |- CorruptArtifact                exit 1   bytes differ from the hash that their manifest states
    |- Superseded                     exit 1   another champion, or another deployment, came first
    |- JobFailed                      exit 1   a job's replica failed for good
    |- LeaseLapsed                    exit 75  the step that started the job is gone: nothing failed
    |- RetryableError                 exit 143 a lost peer: the same command may succeed again
    `- Cancelled                      exit 130 a person stopped it

Exit codes above 127 are what the training operator retries under `restartPolicy: ExitCode`.
A message says where, what was given, what is allowed and what to do next; `error.details` holds the same as fields.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from shipway import redaction

# What a terminal obeys or a line ends with: control characters, line separators, changes of direction, lone surrogates.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


GIVEN_CHARS = 160  # of what was given, in a message
QUOTED_CHARS = 40  # a sentence that holds this much of what was given quotes it already
NOTHING: Any = object()  # stands for no value, where None is one


@dataclass(frozen=True)
class Details:
    """What an error is about, for whoever reads fields instead of a sentence; None where it doesn't apply.

    Attributes:
        field: Path of the parameter, field or file: `sweep.parameters[1].min`.
        given: What stood there, as text; secrets are hidden.
        allowed: What may stand there: the words, or one sentence.
        fix: What to do.
    """

    field: str | None = None
    given: str | None = None
    allowed: str | tuple[str, ...] | None = None
    fix: str | None = None


class ShipwayError(Exception):
    """Base of all errors raised on purpose; what it says shows no secret, whoever prints it.

    Args:
        problem: The sentence; empty where `allowed` and `given` say it all.
        field: Path of the parameter, field or file that is wrong; the message begins with it.
        given: What stood there; it follows the problem, unless that quotes it.
        allowed: The words that may stand there, or a description. The nearest word is offered.
        fix: What to do; ends the message.
    """

    exit_code = 1

    def __init__(
        self,
        problem: object = "",
        *,
        field: object = "",
        given: object = NOTHING,
        allowed: str | Iterable[str] = (),
        fix: str = "",
    ) -> None:
        words = allowed if isinstance(allowed, str) else tuple(allowed)
        said = _sentence(str(problem), str(field), given, words, fix)
        super().__init__(said.encode(errors="backslashreplace").decode())  # a half of a surrogate pair
        shown = None if given is NOTHING else redaction.text(short(given if isinstance(given, str) else repr(given)))
        self.details = Details(str(field) or None, shown, words or None, fix or None)

    def __str__(self) -> str:
        return redaction.text(super().__str__())

    @classmethod
    def all_of(cls, errors: Sequence[ShipwayError]) -> Self:
        """Several as one: their messages in a row, the details of the first."""
        one = cls("; ".join(str(error) for error in errors))
        one.details = errors[0].details
        return one


class UserError(ShipwayError):
    """The user can mend this; shown as one line."""

    exit_code = 2


class InvalidSpec(UserError):
    """A parameter, spec or manifest field is wrong."""


class InvalidData(UserError):
    """The user's data cannot be used as it is."""


class NotFound(UserError):
    """A name, version, alias or URI that does not exist."""


class NotAllowed(UserError):
    """Kubeflow refuses the token or cookie, or whoever it belongs to."""


class VersionConflict(UserError):
    """A pipeline version of that name is published with other content."""


class KubeflowError(ShipwayError):
    """Kubeflow's API fails, or answers what it should not."""


class KubeflowUnavailable(KubeflowError):
    """Nobody answers at Kubeflow's address."""


class LostAnswer(KubeflowError):
    """A request was sent and no answer came: it may have been carried out.

    Attributes:
        may_go_on: The server may still be at it (a timeout): nothing may be sent again.
    """

    def __init__(self, message: str, *, may_go_on: bool = False) -> None:
        super().__init__(message)
        self.may_go_on = may_go_on


class StorageError(ShipwayError):
    """Object storage does not answer, or refuses."""


class StorageUnavailable(StorageError):
    """Nobody answers at the storage endpoint."""


class AccessDenied(StorageError):
    """The storage endpoint refuses the credentials."""

    exit_code = 2


class Untrusted(StorageError):
    """The storage endpoint's certificate is not trusted here, or it speaks no TLS."""

    exit_code = 2


class Conflict(StorageError):
    """A create-only or compare-and-swap write lost its race."""


class CorruptArtifact(ShipwayError):
    """Bytes differ from the sha256 that their manifest states, or the manifest cannot be read."""


class Superseded(ShipwayError):
    """Somebody else moved the champion, or deployed to the same endpoint: what was decided is about another state."""


class JobFailed(ShipwayError):
    """A job's replica failed for good; the message holds which, why, and its last lines."""

    replica: str | None = None
    replica_exit_code: int | None = None  # `exit_code` is that of the process that reports this error
    last_lines: tuple[str, ...] = ()


class RetryableError(ShipwayError):
    """Ends a replica so that its operator starts it again (128-255 retry under ExitCode)."""

    exit_code = 143


class LeaseLapsed(ShipwayError):
    """The step that started this job renews its lease no more.

    The operators take its code for final (a restart would find the lease as it is), executors for no failure: the next
    attempt goes on from the checkpoint that was saved, and is free.
    """

    exit_code = 75  # EX_TEMPFAIL


class Cancelled(ShipwayError):
    """A person or the platform stopped the work."""

    exit_code = 130


def harmless(text: str, keep: str = "\n\t") -> str:
    """The text with what a terminal would obey written as an escape: rows, names and logs are strangers'."""
    return _OBEYED.sub(lambda match: match[0] if match[0] in keep else ascii(match[0])[1:-1], text)


def one_line(text: object) -> str:
    """The text on one line, harmless to a terminal."""
    return harmless(" ".join(str(text).split()), keep="")


def _sentence(problem: str, field: str, given: object, allowed: str | Sequence[str], fix: str) -> str:
    """`field: problem 'given'; expected one of a, b (did you mean 'a'?); fix`, without the parts that are not there."""
    shown = "" if given is NOTHING else short(repr(given))
    # Nothing is said twice: `training.epoch: unknown field`, `'a b' is no name`; a sentence may quote the beginning.
    if shown[:QUOTED_CHARS] in problem or (isinstance(given, str) and f".{field}".endswith(f".{given}")):
        shown = ""
    words = allowed if isinstance(allowed, str) else ", ".join(word or "''" for word in allowed)
    expected = f"one of {words}" if words and not isinstance(allowed, str) else words
    near = nearest(given, allowed) if isinstance(given, str) and not isinstance(allowed, str) else ""
    if problem:
        parts = [f"{problem} {shown}".rstrip(), f"expected {expected}{near}" if expected else "", fix]
    else:
        got = ", ".join(filter(None, [f"expected {expected}" if expected else "", f"got {shown}" if shown else ""]))
        parts = [f"{got}{near}", fix]
    said = "; ".join(filter(None, parts))
    return f"{field}: {said}" if field and said else field or said


def short(text: str) -> str:
    """The text, or its beginning where it is long."""
    return text if len(text) <= GIVEN_CHARS else f"{text[:GIVEN_CHARS]}..."


def exit_code_of(kind: str) -> int:
    """The exit code of the error class of that name, as records keep it; 1 for what is none of ours."""
    error_class = globals().get(kind)
    return error_class.exit_code if isinstance(error_class, type) and issubclass(error_class, ShipwayError) else 1


def nearest(word: str, allowed: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the closest allowed word, or an empty string."""
    matches = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
