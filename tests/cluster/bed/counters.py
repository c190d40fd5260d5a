"""The netfilter counters that kube-proxy makes and never takes away (nfnetlink_acct; Debian has no tool for them)."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

_NETFILTER = 12  # NETLINK_NETFILTER
_GET, _DELETE = 7 << 8 | 1, 7 << 8 | 3  # NFNL_SUBSYS_ACCT: NFNL_MSG_ACCT_GET, NFNL_MSG_ACCT_DEL
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_NAME = 1  # NFACCT_NAME


def names() -> list[str]:
    """The counters that exist; none where the kernel has no such thing."""
    try:
        return sorted(name for payload in _ask(_GET, _DUMP) for name in _names(payload))
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.EPROTONOSUPPORT):
            return []
        raise


def delete(name: str) -> None:
    """Takes away a counter that no rule uses any more."""
    value = name.encode() + b"\0"
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), _NAME) + value
    list(_ask(_DELETE, _ACK, attribute + b"\0" * (-len(attribute) % 4)))


def _ask(kind: int, flags: int, attributes: bytes = b"") -> Iterator[bytes]:
    """The attributes of each message of the kernel's answer."""
    body = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0) + attributes
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as kernel:
        kernel.settimeout(5)
        kernel.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 1, 0) + body)
        while True:
            answer = kernel.recv(1 << 16)
            while answer:
                length, answered, *_ = _HEADER.unpack_from(answer)
                payload, answer = answer[_HEADER.size : length], answer[length + -length % 4 :]
                if answered == _DONE:
                    return
                if answered == _ERROR:
                    (code,) = struct.unpack_from("=i", payload)
                    if code:
                        raise OSError(-code, os.strerror(-code))
                    return
                yield payload[4:]


def _names(attributes: bytes) -> Iterator[str]:
    while len(attributes) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(attributes)
        if kind == _NAME:
            yield attributes[_ATTRIBUTE.size : length].rstrip(b"\0").decode()
        attributes = attributes[length + -length % 4 :]
