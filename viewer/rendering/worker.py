"""The renderer in its own thread: it always works on the newest request, and hands back the newest result."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from kilonerf.kernels import (
    PICTURE,
    BackendChoice,
    CancelToken,
    Frame,
    Output,
    RenderCancelled,
    Renderer,
    create_renderer,
)
from kilonerf.model_io import BackendError, Camera, KiloNeRFError, Scene

from ..compare.difference import Difference, difference_between
from .accumulation import LinearMean, offset_camera
from .heat_maps import NEEDED, check_heat_map, false_colors
from .priority import PICTURE_NICENESS, lower_thread_priority
from .resolution import Shot


class RendererFactory(Protocol):
    """What :func:`~kilonerf.kernels.create_renderer` looks like from here; tests pass their own."""

    def __call__(self, scene: Scene, backend: BackendChoice) -> Renderer:
        """Make a renderer of ``scene``."""
        ...


@dataclass(frozen=True)
class RenderRequest:
    """One picture to make: ``shot`` at ``scale``, so with ``camera``, the mean of ``samples`` for each pixel.

    ``beside``: the picture that it is to be compared with, if there is one.
    """

    shot: Shot
    scale: float
    camera: Camera
    samples: int = 1
    beside: "RenderResult | None" = None

    @property
    def pixels(self) -> int:
        """Pixels of the picture."""
        return self.camera.width * self.camera.height


@dataclass(frozen=True, eq=False)
class RenderResult:
    """What became of a request: a frame, or an error as one line.

    Attributes:
        request: what was asked for.
        frame: the picture, perhaps still on a CUDA device; None if it failed.
        milliseconds: wall time of the renderer, without waiting.
        device: what it ran on, for people.
        error: one line, if it failed.
        backend: what made it or failed to: never "auto", unless that found nothing.
        outputs: what that renderer can give.
        fallback: why "auto" passed over a GPU that seemed to be there; else "".
        difference: from the picture that it is compared with, if both have one size.
    """

    request: RenderRequest
    frame: Frame | None
    milliseconds: float
    device: str = ""
    error: str | None = None
    backend: str = ""
    outputs: frozenset[Output] = PICTURE
    fallback: str = ""
    difference: Difference | None = None

    def host_frame(self) -> Frame | None:
        """The picture on the host, copied there when first asked for; None if there is none, or the device failed."""
        with suppress(BackendError):
            return self.frame and self.frame.host()
        return None


class RenderWorker:
    """Renders in a thread of its own.

    The newest request wins: one that waits is replaced. A frame that runs is cancelled if the newest request is
    of another scene or backend, or has at most half of its pixels, or if the frame is only to be compared with another.
    Any other is finished, so that a camera in motion, whose frames are all of one size, yields a new picture each time,
    however often it asks. As a size cannot be halved for ever, something is always finished in the end. Further samples
    of a view at rest give way to anything.

    Args:
        on_result: called in the worker's thread after each result (to wake the window).
        make_renderer: makes the renderers.

    Attributes:
        keep_on_device: whether pictures that a CUDA device makes are to stay there; holds from the next one on.
        two_scenes: whether the renderers of the scene before are kept: two scenes are compared.
    """

    def __init__(
        self,
        on_result: Callable[[], None] = lambda: None,
        make_renderer: RendererFactory = create_renderer,
    ) -> None:
        self._on_result = on_result
        self._make_renderer = make_renderer
        self.keep_on_device = self.two_scenes = False
        self._changed = threading.Condition()
        self._next: RenderRequest | None = None
        self._running: RenderRequest | None = None
        self._started = 0.0
        self._token = CancelToken()
        self._results: list[RenderResult] = []
        self._closed = False
        self._renderers: dict[tuple[Scene, BackendChoice], Renderer] = {}
        self._given_up: dict[BackendChoice, str] = {}  # why "auto" no longer uses CUDA
        self._scenes: tuple[Scene, ...] = ()  # the newest first, of which renderers are kept
        self._rest: _Rest | None = None
        self._thread = threading.Thread(target=self._work, name="kilonerf-render", daemon=True)
        self._thread.start()

    def request(self, request: RenderRequest) -> None:
        """Ask for a picture; returns at once. One that runs, or whose result waits to be taken, is not made twice."""
        with self._changed:
            runs = request == self._running and not self._token.cancelled
            if runs or (self._results and self._results[-1].request == request):
                self._next = None
                return
            self._next = request
            if self._running is not None and _outdates(request, self._running):
                self._token.cancel()
            self._changed.notify_all()

    def take_results(self) -> list[RenderResult]:
        """Results since the last call, oldest first."""
        with self._changed:
            results, self._results = self._results, []
        return results

    @property
    def running(self) -> tuple[RenderRequest, float] | None:
        """The request that is being rendered and for how many milliseconds already, or None."""
        with self._changed:
            if self._running is None:
                return None
            return self._running, 1000.0 * (time.perf_counter() - self._started)

    @property
    def busy(self) -> bool:
        """Whether something is being rendered or waits, or a result has not been taken."""
        with self._changed:
            return self._running is not None or self._next is not None or bool(self._results)

    @property
    def sampling(self) -> bool:
        """Whether further samples of a view at rest are being made, and nothing else; their end wakes the window."""
        with self._changed:
            return self._running is not None and self._running.samples > 1 and not self._results

    def close(self, timeout: float = 10.0) -> None:
        """Stop the frame under way and end the thread."""
        with self._changed:
            self._closed = True
            self._next = None
            self._token.cancel()
            self._changed.notify_all()
        self._thread.join(timeout)

    def _work(self) -> None:
        lower_thread_priority(PICTURE_NICENESS)
        while True:
            with self._changed:
                while self._next is None and not self._closed:
                    self._changed.wait()
                if self._closed or self._next is None:
                    return
                request, self._next = self._next, None
                self._running, self._started = request, time.perf_counter()
                token = self._token = CancelToken()
            result = self._render(request, token)
            with self._changed:
                self._running = None
                if result is not None:
                    self._results.append(result)
            if result is not None:
                self._on_result()

    def _render(self, request: RenderRequest, token: CancelToken) -> RenderResult | None:
        backend = request.shot.backend.name
        try:
            renderer = self._renderer(request.shot.scene, request.shot.backend)
            backend = renderer.backend
            start = time.perf_counter()
            try:
                frame = self._frame(renderer, request, token)
            except BackendError as error:
                if request.shot.backend.meant != "auto" or renderer.backend != "cuda":
                    raise
                renderer = self._give_up_cuda(request.shot, str(error))
                backend, start = renderer.backend, time.perf_counter()
                frame = self._frame(renderer, request, token)
            milliseconds = 1000.0 * (time.perf_counter() - start)
            difference = None if request.beside is None else difference_between(request.beside.host_frame(), frame)
        except RenderCancelled:
            return None
        except KiloNeRFError as error:
            return RenderResult(request, None, 0.0, error=str(error), backend=backend)
        except Exception as error:  # whatever a backend raises must become a message, not the end of the thread
            text = " ".join(str(error).split()) or "no details"
            message = f"{backend}: {type(error).__name__}: {text}"
            return RenderResult(request, None, 0.0, error=message, backend=backend)
        return RenderResult(
            request,
            frame,
            milliseconds,
            renderer.device,
            backend=backend,
            outputs=renderer.outputs,
            fallback=self._given_up.get(request.shot.backend, renderer.fallback),
            difference=difference,
        )

    def _frame(self, renderer: Renderer, request: RenderRequest, token: CancelToken) -> Frame:
        camera, options, heat_map = request.camera, request.shot.options, request.shot.heat_map
        if request.samples > 1:
            return self._mean(renderer, request, token)
        self._rest = None
        if heat_map == "off":
            on_device = self.keep_on_device and request.beside is None  # what is compared is needed on the host
            frame = renderer.render(camera, options, on_device=on_device, cancel=token)
            self._rest = _Rest(request, frame)
            return frame
        check_heat_map(heat_map, renderer.backend, renderer.outputs)
        frame = renderer.render(camera, options, PICTURE | NEEDED[heat_map], cancel=token)
        return false_colors(frame, heat_map, request.shot.heat_scale, camera)

    def _mean(self, renderer: Renderer, request: RenderRequest, token: CancelToken) -> Frame:
        """The mean of as many samples as are asked for; those that there are already are not made again.

        They are averaged on the host. Depth and opacity, by which the picture follows the camera and hides lines, stay
        those of the first, whose rays go through the pixels' centres.
        """
        options, first = request.shot.options, replace(request, samples=1)
        if self._rest is None or self._rest.request != first:
            self._rest = _Rest(first, renderer.render(request.camera, options, cancel=token))
        rest = self._rest
        if rest.mean.count > request.samples:
            rest.mean = LinearMean()
        for number in range(rest.mean.count, request.samples):
            camera = offset_camera(request.camera, number)
            frame = rest.frame if number == 0 else renderer.render(camera, options, cancel=token)
            rest.mean.add(frame.rgb, token)
        return rest.frame.with_colors(rest.mean.mean(token))

    def _renderer(self, scene: Scene, backend: BackendChoice) -> Renderer:
        self._scenes = (scene, *(other for other in self._scenes if other is not scene))[: 1 + self.two_scenes]
        for key in [key for key in self._renderers if key[0] not in self._scenes]:
            del self._renderers[key]
        if (scene, backend) not in self._renderers:
            wanted = replace(backend, name="cpu") if backend in self._given_up else backend
            self._renderers[scene, backend] = self._make_renderer(scene, wanted)
        return self._renderers[scene, backend]

    def _give_up_cuda(self, shot: Shot, reason: str) -> Renderer:
        """The CPU in place of a GPU that failed, for as long as the window is open."""
        self._given_up[shot.backend] = reason
        self._rest = None
        del self._renderers[shot.scene, shot.backend]
        return self._renderer(shot.scene, shot.backend)


@dataclass(eq=False)
class _Rest:
    """The newest picture with one sample for each pixel, and the mean of what has followed it."""

    request: RenderRequest
    frame: Frame
    mean: LinearMean = field(default_factory=LinearMean)


def _outdates(new: RenderRequest, running: RenderRequest) -> bool:
    if running.samples > 1:
        return new != running
    if running.beside is not None:
        return True
    other = (new.shot.scene, new.shot.backend) != (running.shot.scene, running.shot.backend)
    return other or 2 * new.pixels <= running.pixels
