"""Buckets themselves: create, lifecycle, notifications. The only place that uses the minio client."""

from __future__ import annotations

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
    bucket = bucket.removeprefix("s3://").partition("/")[0]
    with _Errors(f"s3://{bucket}", config):
        connection = client(config)
        if not connection.bucket_exists(bucket):
            try:
                connection.make_bucket(bucket)
            except S3Error as error:
                if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise
            except ValueError as error:  # minio checks the name itself
                raise InvalidSpec(
                    f"{bucket!r} is no name for a bucket",
                    field=f"s3://{bucket}",
                    given=bucket,
                    allowed="3 to 63 lower case letters, digits, dots and dashes, as in SHIPWAY_STORE=s3://shipway",
                ) from error


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
