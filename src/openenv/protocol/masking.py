"""The XOR mask that RFC 6455 puts on every frame a client sends.

The `websockets` distribution carries this loop in C. Its extension module is loaded by itself, without
executing the package around it (whose import costs some 25 ms that neither a client nor a server of ours
needs). Where the extension is missing, two big integers do the same work in 4 to 90 times the time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import cast

Mask = Callable[[bytes, bytes], bytes]


def xor_mask(data: bytes, key: bytes) -> bytes:
    """Mask or unmask in pure Python.

    Args:
        data: the payload.
        key: the 4-byte masking key.
    """
    size = len(data)
    repeated = (key * (size // 4 + 1))[:size]
    mixed = int.from_bytes(data, sys.byteorder) ^ int.from_bytes(repeated, sys.byteorder)
    return mixed.to_bytes(size, sys.byteorder)


def find_mask() -> Mask:
    """The fastest mask on this machine: the C function if it is installed, else `xor_mask`."""
    package = PathFinder.find_spec("websockets")
    if package is None or package.submodule_search_locations is None:
        return xor_mask
    spec = PathFinder.find_spec("websockets.speedups", list(package.submodule_search_locations))
    if spec is None or spec.loader is None:
        return xor_mask
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast(Mask, module.apply_mask)


apply_mask: Mask = find_mask()
