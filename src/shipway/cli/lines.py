"""Lines of standard input, asked in requests that the endpoint takes: an answer a line, in order, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from shipway.errors import UserError

BATCH_LINES = 256
BATCH_CHARS = 256 << 10
LINE_BYTES = (
    4 << 20
)  # no endpoint takes so long an instance; without a bound a file without newlines would fill the memory
TOO_MUCH = (400, 413)  # of a whole request: asked in halves, until the line that is to blame stands alone

Ask = Callable[[list[Any]], list[Any]]


def read_lines(source: BinaryIO) -> Iterator[str]:
    """Every line without its end (LF or CRLF); a blank one is an empty line.

    Raises:
        UserError: names the line that is not UTF-8, or far too long.
    """
    number = 0
    while line := source.readline(LINE_BYTES):
        number += 1
        if len(line) == LINE_BYTES:
            raise UserError(
                f"longer than {LINE_BYTES} bytes",
                field=f"standard input, line {number}",
                fix="give one instance a line",
            )
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"byte {error.start + 1} (0x{line[error.start]:02x}) is not UTF-8",
                field=f"standard input, line {number}",
                fix="convert it, for example with iconv -f LATIN1 -t UTF-8",
            ) from None
        yield text.removesuffix("\n").removesuffix("\r")


def answer_lines(
    source: BinaryIO, ask: Ask, batch_lines: int = BATCH_LINES, instance: Callable[[str], Any] = str
) -> Iterator[tuple[str, Any]]:
    """Each line with its answer. What was read before a line that cannot be asked is answered first.

    Args:
        source: The lines.
        ask: Gives the answers to instances.
        batch_lines: Most lines in one request.
        instance: What a line asks for.

    Raises:
        UserError: names the line that cannot be read, or that the endpoint refuses.
    """
    batch: list[tuple[str, Any]] = []  # lines and their instances
    number = chars = 0
    lines = read_lines(source)
    problem: UserError | None = None
    while problem is None:
        try:
            text = next(lines, None)
        except UserError as error:
            text, problem = None, error
        if text is not None:
            try:
                batch.append((text, instance(text)))
                chars += max(len(text), _chars(batch[-1][1]))
            except UserError as error:
                text, problem = None, UserError(error, field=f"standard input, line {number + len(batch) + 1}")
        if batch and (text is None or len(batch) >= batch_lines or chars >= BATCH_CHARS):
            yield from _answers(batch, ask, number)
            number += len(batch)
            batch, chars = [], 0
        if text is None and problem is None:
            return
    raise problem


def _chars(instance: Any) -> int:
    """About as many as it takes in a request: a line may name a whole file."""
    return len(instance) if isinstance(instance, str) else len(str(instance))


def _answers(batch: list[tuple[str, Any]], ask: Ask, before: int) -> Iterator[tuple[str, Any]]:
    """Asks in halves what is refused as a whole: the endpoint may take fewer instances, or one line is to blame."""
    try:
        answers = ask([instance for _, instance in batch])
    except UserError as error:
        if _status(error) not in TOO_MUCH:
            raise
        if len(batch) == 1:
            raise UserError(error, field=f"standard input, line {before + 1}") from error
    else:
        yield from zip((line for line, _ in batch), answers, strict=True)
        return
    middle = len(batch) // 2
    yield from _answers(batch[:middle], ask, before)
    yield from _answers(batch[middle:], ask, before + middle)


def _status(error: UserError) -> int | None:
    """Of the HTTP answer behind an error, here's or the cluster's."""
    cause = error.__cause__
    return getattr(cause, "code", None) or getattr(cause, "status", None)
