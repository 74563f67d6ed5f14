"""What is drawn flat over the picture at places in the world: the camera under the mouse with its photo, points."""

import moderngl
import numpy as np
from imgui_bundle import imgui
from numpy.typing import ArrayLike, NDArray

from kilonerf.model_io import Camera

from .. import theme
from ..appearance.reading_order import displayed
from ..panels import widgets
from ..rectangle import Rectangle
from .photo_cameras import PhotoCameras, frustum_corners, frustum_depth

REACH = 0.9  # font heights around a camera in which the mouse is on it
PHOTO_WIDTH = 13.0  # font heights
CLICK = 4.0  # units that the mouse may move between press and release


def projected(camera: Camera, area: Rectangle, points: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where world points [N, 3] are seen in the window, [N, 2], and their z-depths [N]: above 0 before the camera."""
    local = (np.asarray(points, np.float64).reshape(-1, 3) - camera.position) @ camera.matrix[:3, :3]
    z = -local[:, 2]
    safe = np.where(z > 1e-9, z, 1.0)
    u = (camera.cx + camera.fx * local[:, 0] / safe) / camera.width
    v = (camera.cy - camera.fy * local[:, 1] / safe) / camera.height
    return np.stack([area.x + area.width * u, area.y + area.height * v], axis=1), z


class CameraMarkers:
    """Finds the camera under the mouse, and shows its photo."""

    def __init__(self, ctx: moderngl.Context) -> None:
        self._ctx = ctx
        self._texture: moderngl.Texture | None = None
        self._pixels: NDArray[np.uint8] | None = None  # what the texture holds
        self._pressed: tuple[float, float] | None = None

    def draw(self, photos: PhotoCameras, area: Rectangle, camera: Camera, radius: float) -> int | None:
        """Draw the camera under the mouse with its photo; which one was clicked, if any."""
        io = imgui.get_io()
        mouse = io.mouse_pos
        if not photos.all or io.want_capture_mouse or not area.contains(mouse.x, mouse.y):
            return None
        depth = frustum_depth(photos.all, radius)
        eyes = np.array([one.camera.position for one in photos.all])
        places, z = projected(camera, area, eyes)
        apart = np.hypot(places[:, 0] - mouse.x, places[:, 1] - mouse.y)
        reach = REACH * imgui.get_font_size()
        near = (apart < reach) & (z > 0.2 * depth)
        clicked = self.clicked()
        if not near.any() or imgui.is_mouse_dragging(0):
            return None
        index = int(np.flatnonzero(near)[np.argmin(apart[near])])
        self._outline(photos.all[index].camera, depth, area, camera)
        self._tooltip(photos, index)
        return index if clicked else None

    def draw_points(self, points: list[NDArray[np.float64]], area: Rectangle, camera: Camera) -> None:
        """Numbered discs."""
        if not points:
            return
        em, draw_list = imgui.get_font_size(), imgui.get_background_draw_list()
        for number, (place, z) in enumerate(zip(*projected(camera, area, points), strict=True), start=1):
            if z <= 0.0:
                continue
            middle = imgui.ImVec2(float(place[0]), float(place[1]))
            draw_list.add_circle_filled(middle, 0.5 * em, widgets.color(theme.ACCENT))
            draw_list.add_circle(middle, 0.5 * em, widgets.color((1.0, 1.0, 1.0, 0.9)), 0, 1.5)
            extent = imgui.calc_text_size(str(number))
            corner = imgui.ImVec2(middle.x - 0.5 * extent.x, middle.y - 0.5 * extent.y)
            draw_list.add_text(corner, widgets.color((0.04, 0.06, 0.09, 1.0)), str(number))

    def clicked(self) -> bool:
        """Whether the left button was pressed and let go on the spot; to be asked once a frame."""
        position = imgui.get_io().mouse_pos
        if imgui.is_mouse_clicked(0):
            self._pressed = position.x, position.y
        if not imgui.is_mouse_released(0) or self._pressed is None:
            return False
        (x, y), self._pressed = self._pressed, None
        return abs(position.x - x) < CLICK and abs(position.y - y) < CLICK

    def release(self) -> None:
        """Free everything on the GPU."""
        if self._texture is not None:
            self._texture.release()
        self._texture = self._pixels = None

    @staticmethod
    def _outline(one: Camera, depth: float, area: Rectangle, camera: Camera) -> None:
        corners = frustum_corners(one, depth)
        places, z = projected(camera, area, np.concatenate([corners, one.position[None]]))
        if (z <= 0.0).any():
            return
        points = [imgui.ImVec2(float(x), float(y)) for x, y in places]
        draw_list, color = imgui.get_background_draw_list(), widgets.color(theme.ACCENT)
        for index in range(4):
            draw_list.add_line(points[index], points[(index + 1) % 4], color, 2.0)
            draw_list.add_line(points[index], points[4], color, 2.0)

    def _tooltip(self, photos: PhotoCameras, index: int) -> None:
        one = photos.all[index]
        pixels = photos.photo(index)
        imgui.begin_tooltip()
        imgui.text_unformatted(displayed(one.name))
        imgui.same_line()
        imgui.text_disabled(f"{index + 1} of {len(photos.all)}, click to go there")
        if pixels is not None:
            width = PHOTO_WIDTH * imgui.get_font_size() * min(1.0, pixels.shape[1] / pixels.shape[0])
            size = imgui.ImVec2(width, width * pixels.shape[0] / pixels.shape[1])
            imgui.image(imgui.ImTextureRef(self._filled(pixels).glo), size)
        elif one.view is None:
            imgui.text_disabled("Drop the folder of the data set on the window to see its photo.")
        imgui.end_tooltip()

    def _filled(self, pixels: NDArray[np.uint8]) -> moderngl.Texture:
        if self._texture is None or self._pixels is not pixels:
            self.release()
            self._texture = self._ctx.texture((pixels.shape[1], pixels.shape[0]), 3, pixels.tobytes(), alignment=1)
            self._pixels = pixels
        return self._texture
