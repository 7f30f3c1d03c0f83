"""The process around a command: its event loop, its threads, its end.

Names are resolved, files read and filesystems looked at in threads. One that hangs (a resolver
without its server, a dead network filesystem) can't be interrupted: it must neither keep the
others waiting nor hold up the end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

# Made only when all others are busy.
_MOST_THREADS = 256
_PATIENCE = 0.5


class _Threads(ThreadPoolExecutor):
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        del wait, cancel_futures
        super().shutdown(wait=False, cancel_futures=True)


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run a command to its exit code, as ``asyncio.run`` does, but wait for no thread."""
    with asyncio.Runner() as runner:
        runner.get_loop().set_default_executor(_Threads(_MOST_THREADS))
        return runner.run(main)


def leave(code: int) -> NoReturn:
    """End the process. Threads that hang are left to the system."""
    until = time.monotonic() + _PATIENCE
    others = [t for t in threading.enumerate() if t is not threading.current_thread()]
    hanging = [t for t in others if not t.daemon and not _ended(t, until)]
    if not hanging:
        sys.exit(code)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _ended(thread: threading.Thread, until: float) -> bool:
    thread.join(max(until - time.monotonic(), 0.0))
    return not thread.is_alive()
