"""Videos that wait to be rendered: one after the other, while the user flies on."""

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kilonerf.model_io import KiloNeRFError

from ..notices import Notices
from ..rendering.priority import VIDEO_NICENESS, start_with_lower_priority

if TYPE_CHECKING:  # the video library takes a while to import, and most runs never record
    from .render_job import RenderJob


@dataclass(frozen=True)
class QueueProgress:
    """How far the queue is.

    Attributes:
        output: the video that is being rendered.
        done: its finished frames.
        total: all of its frames.
        waiting: videos after it.
        seconds_left: estimate for all of them; None before the first frame.
    """

    output: Path
    done: int
    total: int
    waiting: int
    seconds_left: float | None


class TakeQueue:
    """Renders jobs in their order.

    Args:
        notices: is told what became of each.

    Attributes:
        output: the video of the newest job that was begun.
        failed: whether the newest one did not end well.
    """

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self._waiting: deque[RenderJob] = deque()
        self._job: RenderJob | None = None
        self.output: Path | None = None
        self.failed = False

    @property
    def busy(self) -> bool:
        """Whether a video is being rendered or waits."""
        return self._job is not None or bool(self._waiting)

    @property
    def progress(self) -> QueueProgress | None:
        """Of all that is to be rendered; None if there is nothing."""
        job = self._job
        if job is None:
            return None
        now = job.progress
        left = now.seconds_left
        if left is not None and now.done < now.total:
            left += left / (now.total - now.done) * sum(waiting.progress.total for waiting in self._waiting)
        return QueueProgress(job.output, now.done, now.total, len(self._waiting), left)

    def add(self, job: "RenderJob", now: float) -> None:
        """Render ``job`` when its turn comes.

        Raises:
            KiloNeRFError: it is its turn, and its output cannot be written.
        """
        if self.busy:
            self._waiting.append(job)
        else:
            self._start(job)
        self._poll(now)

    def abort(self) -> None:
        """Stop the one that is being rendered; its unfinished video is removed, its path stays."""
        if self._job is not None:
            self._job.abort()

    def poll(self, now: float) -> None:
        """Report a job that is over, and begin the next."""
        self._poll(now)
        while self._job is None and self._waiting:
            job = self._waiting.popleft()
            try:
                self._start(job)
            except KiloNeRFError as error:
                self._notices.add(f"Video failed: {error}", "error", now)

    def close(self) -> None:
        """Abort everything and wait for it."""
        self._waiting.clear()
        if self._job is not None:
            self._job.abort()
            self._job.wait(10.0)

    def _start(self, job: "RenderJob") -> None:
        self.output, self.failed = job.output, True
        start_with_lower_priority(job.start, VIDEO_NICENESS)
        self._job, self.failed = job, False

    def _poll(self, now: float) -> None:
        job = self._job
        if job is None or job.state in ("ready", "running"):
            return
        self._job = None
        if job.state == "finished":
            total = job.progress.total
            text = f"Video saved: {job.output} ({total} picture{'s' * (total != 1)})"
            self._notices.add(text, "good", now)
            return
        self.failed = True
        if job.state == "aborted":
            text = "Video aborted; the camera path is kept"
            if job.output.suffix == ".png":
                text = f"Aborted; opening {job.output.parent.name}.json goes on with its PNG files"
            self._notices.add(text, "info", now)
            return
        error = job.error
        text = str(error) if isinstance(error, KiloNeRFError) else f"{type(error).__name__}: {error}"
        self._notices.add(f"Video failed: {text}", "error", now)
