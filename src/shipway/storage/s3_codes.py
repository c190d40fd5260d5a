"""What an S3 error code means, in words, and what helps: one table for both clients and for signed addresses."""

from __future__ import annotations

import re
import shutil
import time
import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime

from shipway.errors import AccessDenied, NotFound, ShipwayError, StorageError, StorageUnavailable

SKEW_S = 300.0  # S3 bears 15 minutes; a clock that is five off will be there soon
_KEYS = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_NEW_TOKEN = "get new ones (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN)"
# Code -> (kind of error, what follows the endpoint's name).
_MEANINGS: dict[str, tuple[type[ShipwayError], str]] = {
    "ExpiredToken": (AccessDenied, f"says that the session token has expired; {_NEW_TOKEN}"),
    "ExpiredTokenException": (AccessDenied, f"says that the session token has expired; {_NEW_TOKEN}"),
    "TokenRefreshRequired": (AccessDenied, f"wants a new session token; {_NEW_TOKEN}"),
    "InvalidToken": (AccessDenied, f"does not take the session token; {_NEW_TOKEN}, or unset AWS_SESSION_TOKEN"),
    "InvalidTokenId": (AccessDenied, f"does not take the session token; {_NEW_TOKEN}, or unset AWS_SESSION_TOKEN"),
    "InvalidAccessKeyId": (AccessDenied, f"refuses the credentials: it does not know the access key; {_KEYS}"),
    "SignatureDoesNotMatch": (
        AccessDenied,
        f"refuses the credentials: the secret key does not fit the access key; {_KEYS}",
    ),
    "AllAccessDisabled": (AccessDenied, "has closed this bucket; ask who runs it"),
    "AccountProblem": (AccessDenied, "refuses the account of these credentials; ask who runs it"),
    "AuthorizationHeaderMalformed": (AccessDenied, "expects another region; set AWS_REGION to the bucket's"),
    "PermanentRedirect": (AccessDenied, "does not hold this bucket; set AWS_REGION or AWS_ENDPOINT_URL to its own"),
    "NoSuchUpload": (StorageError, "has forgotten this upload; run again"),
    "SlowDown": (StorageUnavailable, "is overloaded; try again later"),
    "SlowDownRead": (StorageUnavailable, "is overloaded; try again later"),
    "SlowDownWrite": (StorageUnavailable, "is overloaded; try again later"),
    "ServiceUnavailable": (StorageUnavailable, "is overloaded or starting; try again later"),
    "InvalidObjectState": (StorageError, "keeps this object in an archive; restore it first"),
}  # fmt: skip
_FULL = ("XMinioStorageFull", "InsufficientStorage", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded")
_FULL_WORDS = ("no writable volumes", "no free volumes", "no space left", "disk full", "quota exceeded", "status: 507")


def code_of(text: str) -> str:
    """The code in an S3 error's XML, empty where there is none."""
    match = re.search(r"<Code>(\w+)</Code>", text) or re.search(r"\(code: (\w+)\)|code: (\w+),", text)
    return next((group for group in match.groups() if group), "") if match else ""


def meaning(where: str, endpoint: str | None, code: str, text: str) -> ShipwayError | None:
    """The error that a code stands for; None for codes that need no words of ours.

    Args:
        where: What was asked for, which begins the message.
        endpoint: Who answered; None is Amazon's.
        code: S3's, perhaps empty (answers to HEAD have none).
        text: The whole answer.
    """
    who = endpoint or "Amazon S3"
    low = text.lower()
    if code in _FULL or any(word in low for word in _FULL_WORDS):
        return StorageError(f"{where}: the object store at {who} has no space left; free some disk and run again")
    if code == "InternalError" and (full := full_disk(endpoint)):
        return StorageError(f"{where}: {full}")
    if code == "NoSuchBucket":
        bucket = "/".join(where.split("/")[:3])
        return NotFound(f"no such bucket at {who}", field=bucket, fix="create it first")
    if code == "RequestTimeTooSkewed":
        return AccessDenied(_clock(who, text), field=where)
    if code in ("AccessDenied", "ExpiredPresignRequest", "RequestExpired") and "expired" in low:
        return AccessDenied(f"{who} says that the request has expired ({code})", field=where, fix=clock_hint(endpoint))
    if code == "AccessDenied":
        return denied(where, endpoint, code)
    if code in _MEANINGS:
        kind, words = _MEANINGS[code]
        return kind(f"{who} {words} ({code})", field=where)
    return None


def clock_hint(endpoint: str | None) -> str:
    """What to do about a request that came too late: mend the clock, where the endpoint's own differs."""
    off = skew_s(endpoint)
    return f"{_off_by(off)}; set this machine's clock" if off else "check this machine's clock, then run again"


def denied(where: str, endpoint: str | None, code: str) -> ShipwayError:
    """A refusal whose code says little: AccessDenied, one of a store's own, or none, as to HEAD, which has no body.

    A clock that is wrong is looked for: it makes stores refuse everything.
    """
    who = endpoint or "Amazon S3"
    if off := skew_s(endpoint):
        return AccessDenied(
            f"{who} refuses the request, and {_off_by(off)}", field=where, fix="set this machine's clock"
        )
    what = f"refuses the credentials, or does not let them do this ({code})" if code else "refuses the credentials"
    return AccessDenied(f"{who} {what}", field=where, fix=_KEYS)


def full_disk(endpoint: str | None) -> str:
    """SeaweedFS answers a bare 500 when its disk is full; where the server is this home's own, we can look."""
    from shipway.context import Context
    from shipway.storage import weed
    from shipway.storage.server import read_info

    info = read_info(Context.current().home)
    if info is None or info.endpoint != endpoint:
        return ""
    free = shutil.disk_usage(info.folder).free
    if free >= weed.MIN_FREE:
        return ""
    return (
        f"no space left on the disk of the object store ({info.folder}: {free >> 20} MiB free, it keeps "
        f"{weed.MIN_FREE >> 20}); free some, or run `shipway store gc`"
    )


def skew_s(endpoint: str | None) -> float:
    """Seconds by which this machine's clock is ahead of the endpoint's, where that is too much; else 0."""
    from shipway.storage import trust

    request = urllib.request.Request(endpoint or "https://s3.amazonaws.com", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=3, context=trust.context()) as answer:
            date = answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        date = error.headers.get("Date")
        error.close()
    except (OSError, ValueError, ShipwayError):
        return 0.0
    try:
        off = time.time() - parsedate_to_datetime(date).timestamp() if date else 0.0
    except ValueError:
        return 0.0
    return off if abs(off) > SKEW_S else 0.0


def _clock(who: str, text: str) -> str:
    here = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    there = re.search(r"<ServerTime>([^<]+)</ServerTime>", text)
    theirs = f", {there.group(1)} there" if there else ""
    return (
        f"this machine's clock and that of {who} are too far apart ({here} UTC here{theirs}; RequestTimeTooSkewed); "
        "set the wrong one, then run again: the credentials are not at fault"
    )


def _off_by(seconds: float) -> str:
    minutes = round(abs(seconds) / 60)
    return f"this machine's clock is {minutes} minutes {'ahead of' if seconds > 0 else 'behind'} its own"
