"""What obstore raises, as one clear line of ours."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from shipway.errors import AccessDenied, NotFound, ShipwayError, StorageError, StorageUnavailable

_BODY = ("body error", "kind: body", "kind: decode")
_DEAD = (
    "connect error",
    "connection refused",
    "error sending request",
    "dns error",
    "timed out",
    "timedout",
    "connectionreset",
    "connection reset",
    "broken pipe",
    "incompletemessage",
    "connection closed",
    *_BODY,
)


class LostRace(StorageError):
    """A precondition did not hold; the caller knows which words fit."""


def worth_another(error: StorageError) -> bool:
    """Whether the same request may succeed at once, and obstore has not tried that itself.

    It repeats what never arrived and 5xx answers; not a body that broke off, nor a write whose answer was lost.
    """
    return bool(getattr(error, "again", False))


@contextmanager
def s3_errors(where: str, endpoint: str | None) -> Iterator[None]:
    """Maps obstore's errors.

    Args:
        where: The object's URI, which begins the message.
        endpoint: Who should have answered; None is Amazon's.
    """
    from obstore import exceptions as found

    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise _no_bucket(where, endpoint) from error
        raise NotFound(f"{where}: no such object") from error
    except (found.AlreadyExistsError, found.PreconditionError) as error:
        raise LostRace(where) from error
    except (found.PermissionDeniedError, found.UnauthenticatedError) as error:
        raise _denied(where, endpoint, error) from error
    except found.BaseError as error:
        raise _other(where, endpoint, error) from error


def _no_bucket(where: str, endpoint: str | None) -> NotFound:
    bucket = "/".join(where.split("/")[:3])
    return NotFound(f"{bucket}: no such bucket at {endpoint or 'Amazon S3'}; create it first")


def _other(where: str, endpoint: str | None, error: Exception) -> ShipwayError:
    text = str(error)
    low = text.lower()
    if "NoSuchBucket" in text:  # listings, again
        return _no_bucket(where, endpoint)
    if (
        "no writable volumes" in low
        or "no free volumes" in low
        or "no space left" in low
        or "XMinioStorageFull" in text
    ):
        return StorageError(f"{where}: the object store at {endpoint} has no space left; free some disk and run again")
    # Listings, and deletions of several: obstore has no class for these.
    if re.search(r"status(?: code)?: 40[13]\b", text) or "(code: AccessDenied)" in text:
        return _denied(where, endpoint, error)
    if any(word in low for word in _DEAD):
        dead = StorageUnavailable(
            f"{where}: nobody answers at {endpoint or 'Amazon S3'}; is the store running? `shipway store start`"
        )
        late = "timed out" in low or "timedout" in low  # it has been waited for long enough
        dead.__dict__["again"] = not late and ("retries: 0," in text or any(word in low for word in _BODY))
        return dead
    status = re.search(r"\b(5\d\d) [A-Z]", text) or re.search(r"status: (5\d\d)", text)
    if status:
        if full := _full_disk(endpoint):
            return StorageError(f"{where}: {full}")
        return StorageUnavailable(
            f"{where}: {endpoint or 'Amazon S3'} answers {status.group(1)}{_code(error)} again and again; "
            "see its log, or `shipway store status`"
        )
    return StorageError(f"{where}: {' '.join(text.split())[:300]}")


def _full_disk(endpoint: str | None) -> str:
    """SeaweedFS answers a bare 500 when its disk is full; where the server is this home's own, we can look."""
    from shipway.context import Context
    from shipway.storage import embedded, weed

    info = embedded.read_info(Context.current().home)
    if info is None or info.endpoint != endpoint:
        return ""
    free = shutil.disk_usage(info.folder).free
    if free >= weed.MIN_FREE:
        return ""
    return (
        f"no space left on the disk of the object store ({info.folder}: {free >> 20} MiB free, it keeps "
        f"{weed.MIN_FREE >> 20}); free some, or run `shipway store gc`"
    )


def _denied(where: str, endpoint: str | None, error: Exception) -> AccessDenied:
    return AccessDenied(
        f"{where}: {endpoint or 'Amazon S3'} refuses the credentials{_code(error)}; "
        "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )


def _code(error: Exception) -> str:
    found = re.search(r"<Code>(\w+)</Code>", str(error))
    return f" ({found.group(1)})" if found else ""
