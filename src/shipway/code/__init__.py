"""A person's own code, brought to every place that needs it when a run starts: the images stay the framework's.

    publish   a wheel, or a folder of modules or of wheels, becomes one object of the store, named by its hash
    install   that object, verified and unpacked into a folder named by the hash
    use       ... and put on this process's path, behind all that is installed (docs/your-own-code.md)

Specs name code, so that this package imports nothing heavy before it is asked to do something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipway.code.reference import CodeRef
from shipway.lazy import names_of

if TYPE_CHECKING:
    from shipway.code.checking import check_code
    from shipway.code.installing import install, use
    from shipway.code.packing import Packed, pack
    from shipway.code.storing import pin, publish, upload_packed

__all__ = ["CodeRef", "Packed", "check_code", "install", "pack", "pin", "publish", "upload_packed", "use"]
__getattr__ = names_of(__name__, {
    "Packed": "packing", "check_code": "checking", "install": "installing", "pack": "packing", "pin": "storing",
    "publish": "storing", "upload_packed": "storing", "use": "installing",
})  # fmt: skip
