"""Buckets themselves: create, lifecycle, notifications. The only place that uses the minio client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from shipway.errors import InvalidSpec, StorageError, StorageUnavailable
from shipway.storage import s3_codes, trust
from shipway.storage.credentials import s3_config
from shipway.storage.server import S3Config

TIMEOUT_S = 10.0


def client(config: S3Config | None = None) -> Any:
    """A minio client for the endpoint in force."""
    import urllib3
    from minio import Minio

    config = config or s3_config()
    parts = urlsplit(config.endpoint or "https://s3.amazonaws.com")
    return Minio(
        parts.netloc,
        access_key=config.access_key,
        secret_key=config.secret_key,
        session_token=config.token,
        secure=parts.scheme == "https",
        region=config.region,
        http_client=urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=3.0, read=TIMEOUT_S),
            retries=urllib3.Retry(total=2, backoff_factor=0.2),
            ssl_context=trust.context() if parts.scheme == "https" else None,
        ),
    )


def ensure_bucket(bucket: str, config: S3Config | None = None) -> None:
    """Creates the bucket where it does not exist.

    Args:
        bucket: Its name, or any `s3://` URI in it.
        config: How to reach it, by default as the environment says.

    Raises:
        AccessDenied: the credentials are refused.
        StorageUnavailable: nobody answers.
        InvalidSpec: no name that a bucket may have.
    """
    from minio.error import S3Error

    config = config or s3_config()
    bucket = _name(bucket)
    with _Errors(f"s3://{bucket}", config):
        found = client(config)
        if not found.bucket_exists(bucket):
            try:
                found.make_bucket(bucket)
            except S3Error as error:
                if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise
            except ValueError as error:  # minio checks the name itself
                raise InvalidSpec(
                    f"s3://{bucket}: {bucket!r} is no name for a bucket; expected 3 to 63 lower case letters, digits, "
                    "dots and dashes, as in SHIPWAY_STORE=s3://shipway"
                ) from error


def set_lifecycle(bucket: str, expire_days: Mapping[str, int] | None = None, *, uploads_days: int = 3) -> None:
    """Lets the object store clean up by itself; replaces the bucket's rules.

    Args:
        bucket: Its name, or any `s3://` URI in it.
        expire_days: Prefix -> days after which objects below it go.
        uploads_days: Days after which a multipart upload that was never finished goes: a killed uploader leaves parts
            that no listing shows.
    """
    from minio.commonconfig import ENABLED, Filter
    from minio.lifecycleconfig import AbortIncompleteMultipartUpload, Expiration, LifecycleConfig, Rule

    config = s3_config()
    abort = AbortIncompleteMultipartUpload(days_after_initiation=uploads_days)
    rules = [
        Rule(ENABLED, rule_filter=Filter(prefix=""), rule_id="shipway-uploads", abort_incomplete_multipart_upload=abort)
    ]
    for prefix, days in sorted((expire_days or {}).items()):
        where = Filter(prefix=f"{prefix.strip('/')}/")
        rules.append(
            Rule(ENABLED, rule_filter=where, rule_id=f"shipway-{prefix.strip('/')}", expiration=Expiration(days=days))
        )
    with _Errors(f"s3://{_name(bucket)}", config):
        client(config).set_bucket_lifecycle(_name(bucket), LifecycleConfig(rules))


def get_lifecycle(bucket: str) -> dict[str, int]:
    """Prefix -> days of the rules that let objects expire."""
    config = s3_config()
    with _Errors(f"s3://{_name(bucket)}", config):
        found = client(config).get_bucket_lifecycle(_name(bucket))
        return {
            str(rule.rule_filter.prefix).strip("/"): int(rule.expiration.days)
            for rule in (found.rules if found else [])
            if rule.expiration is not None and rule.rule_filter is not None
        }


def notify_queue(bucket: str, queue: str, *, prefix: str = "", suffix: str = "") -> None:
    """Sends an event for each object that is created below a prefix to a queue; replaces the bucket's notifications.

    Args:
        bucket: Its name, or any `s3://` URI in it.
        queue: ARN of a queue that the object store knows (`arn:minio:sqs::PRIMARY:webhook`).
        prefix: Only keys that begin so.
        suffix: Only keys that end so.

    Raises:
        StorageError: refused; SeaweedFS, the embedded server, offers no notifications by bucket.
    """
    from minio.error import S3Error
    from minio.notificationconfig import NotificationConfig, PrefixFilterRule, QueueConfig, SuffixFilterRule

    config = s3_config()
    wanted = QueueConfig(
        queue=queue,
        events=["s3:ObjectCreated:*"],
        config_id="shipway",
        prefix_filter_rule=PrefixFilterRule(prefix) if prefix else None,
        suffix_filter_rule=SuffixFilterRule(suffix) if suffix else None,
    )
    with _Errors(f"s3://{_name(bucket)}", config):
        try:
            client(config).set_bucket_notification(_name(bucket), NotificationConfig(queue_config_list=[wanted]))
        except S3Error as error:
            if error.code not in ("BucketAlreadyOwnedByYou", "NotImplemented", "MethodNotAllowed"):
                raise
            raise StorageError(
                f"s3://{_name(bucket)}: {config.endpoint or 'Amazon S3'} offers no bucket notifications; "
                "start runs on a schedule instead"
            ) from error


def _name(bucket: str) -> str:
    return bucket.removeprefix("s3://").partition("/")[0]


class _Errors:
    """minio's and urllib3's errors as ours."""

    def __init__(self, where: str, config: S3Config) -> None:
        self.where, self.config, self.endpoint = where, config, config.endpoint or "Amazon S3"

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        from minio.error import MinioException, S3Error
        from urllib3.exceptions import HTTPError

        if isinstance(error, S3Error):
            known = s3_codes.meaning(self.where, self.config.endpoint, str(error.code), str(error))
            if known is not None:
                raise known from error
        if isinstance(error, HTTPError):
            if untrusted := trust.refused(self.where, self.endpoint, error):
                raise untrusted from error
            raise StorageUnavailable(
                f"{self.where}: nobody answers at {self.endpoint}; is the store running? `shipway store start`"
            ) from error
        if isinstance(error, MinioException):
            raise StorageError(f"{self.where}: {' '.join(str(error).split())[:300]}") from error
