"""Rendering threads stand back for the interface's, where threads have a priority of their own (Linux)."""

import os
import sys
import threading
from collections.abc import Callable

PICTURE_NICENESS = 10
"""On 2 cores with Mesa's llvmpipe the moving window went from 18 to 34 frames a second, at as many pictures."""
VIDEO_NICENESS = 15
"""A video in the background also stands back for the picture that the user looks at."""


def lower_thread_priority(niceness: int) -> None:
    """Lower the calling thread's priority, and that of all threads it will start."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)


def start_with_lower_priority(start: Callable[[], None], niceness: int) -> None:
    """Call ``start`` so that the threads it starts have a lower priority, but the caller keeps its own.

    Raises:
        Exception: whatever ``start`` raises.
    """
    errors: list[Exception] = []

    def run() -> None:
        lower_thread_priority(niceness)
        try:
            start()
        except Exception as error:  # handed over to the caller
            errors.append(error)

    thread = threading.Thread(target=run, name="kilonerf-start")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
