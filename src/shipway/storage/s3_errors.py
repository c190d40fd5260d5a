"""What obstore raises, as one clear line of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from shipway.errors import NotFound, ShipwayError, StorageError, StorageUnavailable
from shipway.storage import s3_codes, trust

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
    from obstore import exceptions as refusals

    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise _other(where, endpoint, error) from error
        raise NotFound("no such object", field=where) from error
    except (refusals.AlreadyExistsError, refusals.PreconditionError) as error:
        raise LostRace(where) from error
    except (refusals.PermissionDeniedError, refusals.UnauthenticatedError) as error:
        raise _other(where, endpoint, error, refused=True) from error
    except refusals.BaseError as error:
        raise _other(where, endpoint, error) from error


def _other(where: str, endpoint: str | None, error: Exception, *, refused: bool = False) -> ShipwayError:
    text = str(error)
    low = text.lower()
    if known := s3_codes.meaning(where, endpoint, s3_codes.code_of(text), text):
        return known
    # Listings, and deletions of several: obstore has no class for these.
    if refused or re.search(r"status(?: code)?: 40[13]\b", text):
        return s3_codes.denied(where, endpoint, s3_codes.code_of(text))
    if untrusted := trust.refused(where, endpoint or "Amazon S3", text):
        return untrusted
    if any(word in low for word in _DEAD):
        if "refused" in low and (full := s3_codes.full_disk(endpoint)):  # it may have died of it
            return StorageError(f"{where}: {full}")
        dead = StorageUnavailable(
            f"{where}: nobody answers at {endpoint or 'Amazon S3'}; is the store running? `shipway store start`"
        )
        late = "timed out" in low or "timedout" in low  # it has been waited for long enough
        dead.__dict__["again"] = not late and ("retries: 0," in text or any(word in low for word in _BODY))
        return dead
    status = re.search(r"\b(5\d\d) [A-Z]", text) or re.search(r"status: (5\d\d)", text)
    if status:
        if full := s3_codes.full_disk(endpoint):
            return StorageError(f"{where}: {full}")
        answer = " ".join(filter(None, (status.group(1), s3_codes.code_of(text))))
        return StorageUnavailable(
            f"{where}: {endpoint or 'Amazon S3'} answers {answer} again and again; "
            "see its log, or `shipway store status`"
        )
    return StorageError(f"{where}: {' '.join(text.split())[:300]}")
