"""Frame times with and without the host between a CUDA device and OpenGL, without a window."""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, get_args

import moderngl
import numpy as np

from kilonerf.kernels import RenderOptions
from kilonerf.kernels.cuda.device import CudaDevice
from kilonerf.kernels.cuda.renderer import CudaRenderer
from kilonerf.model_io import Camera, KiloNeRFScene
from kilonerf.viewer.drawing.picture import Picture
from kilonerf.viewer.drawing.projection import clip_planes
from kilonerf.viewer.rendering.interop import CudaRuntime, Interop, InteropError, Way, load_runtime

EGL_DEVICES = 16  # the most that are looked at
MOST_DEVICES = 16


class NoContextError(Exception):
    """There is no OpenGL context on the CUDA device; the text says what there is."""


def open_context(egl_device: int) -> moderngl.Context:
    """OpenGL 3.3 without a window on one of EGL's devices."""
    return moderngl.create_standalone_context(require=330, backend="egl", device_index=egl_device)  # pyright: ignore[reportArgumentType] - the stub is wrong


def context_on(
    device: CudaDevice,
    load: Callable[[], CudaRuntime] = load_runtime,
    open_egl: Callable[[int], moderngl.Context] = open_context,
) -> moderngl.Context:
    """A context on that device: current, and the caller's to release.

    Raises:
        NoContextError: there is none, or no CUDA runtime to ask.
    """
    try:
        runtime = load()
    except InteropError as error:
        raise NoContextError(str(error)) from error
    seen = []
    for egl_device in range(EGL_DEVICES):
        try:
            context = open_egl(egl_device)
        except Exception as error:  # moderngl raises bare Exception, also past the last device
            seen.append(f"EGL device {egl_device}: {' '.join(str(error).split())}")
            if "but found" in str(error):
                break
            continue
        with suppress(InteropError):
            count, devices = runtime.call("cudaGLGetDevices", MOST_DEVICES, runtime.all_devices)
            if device.index in list(devices or [])[:count]:
                return context
        seen.append(f"EGL device {egl_device} is {context.info['GL_RENDERER']}")
        context.release()
    raise NoContextError(f"no OpenGL context on CUDA device {device.index}: {'; '.join(seen)}")


def frames_by_way(
    device: CudaDevice,
    scene: KiloNeRFScene,
    cameras: Sequence[Camera],
    ctx: moderngl.Context,
    load: Callable[[], CudaRuntime] = load_runtime,
    *,
    repeats: int = 20,
    seconds: float = 0.0,
) -> dict[str, Any]:
    """Frame times by a clock, from the launch to the drawn picture, for each way into the texture.

    Each way's drawn picture is compared with the first camera's frame on the host. ESS and ERT are on.
    """
    size = (cameras[0].width, cameras[0].height)
    renderer, options = CudaRenderer(scene, device), RenderOptions.as_trained(scene)
    expected = renderer.render(cameras[0], options).to_rgb8().astype(int)
    result: dict[str, Any] = {"size": list(size), "poses": len(cameras), "opengl": ctx.info["GL_RENDERER"]}
    screen = ctx.framebuffer([ctx.texture(size, 4)], ctx.depth_renderbuffer(size))
    for way in get_args(Way):
        interop = Interop(load)
        interop.way = way
        picture = Picture(ctx, interop)

        def frame(camera: Camera, way: Way = way, picture: Picture = picture) -> float:
            began = time.perf_counter()
            picture.upload(renderer.render(camera, options, on_device=way != "host"))
            screen.use()
            picture.draw(clip_planes(camera, scene.box_min, scene.box_max))
            ctx.finish()
            return 1e3 * (time.perf_counter() - began)

        end = time.perf_counter() + seconds
        for _ in range(3):  # the first one registers
            frame(cameras[0])
        while time.perf_counter() < end:
            frame(cameras[0])
        if interop.way == way:
            drawn = np.frombuffer(screen.read(components=3, alignment=1), np.uint8).reshape(expected.shape)[::-1]
            times = [frame(camera) for camera in cameras for _ in range(repeats)]
            result[way] = {
                "ms_median": round(statistics.median(times), 4),
                "ms_min": round(min(times), 4),
                "ms_max": round(max(times), 4),
                "largest_difference_of_255": int(np.abs(drawn - expected).max()),
            }
        else:
            result[way] = {"failed": interop.take_problem()}
        picture.release()
    for attachment in (*screen.color_attachments, screen.depth_attachment, screen):
        if attachment is not None:
            attachment.release()
    result["passed"] = all(result[way].get("largest_difference_of_255", 0) <= 1 for way in get_args(Way))
    return result
