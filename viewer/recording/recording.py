"""A fly-through from the first key press to the finished video: record, save the path, render beside the window."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kilonerf.model_io import Camera, CameraPath, KiloNeRFError, OutputError, Scene

from ..drawing.compositor import Compositor
from ..notices import Notices
from ..settings import ViewerSettings
from .flight_recorder import FlightRecorder
from .journal import FlightJournal, recover_flights
from .output_files import (
    FRAME,
    PngTake,
    TakeSettings,
    check_folder,
    keep_frame_settings,
    make_folder,
    next_free_name,
    scene_digest,
)
from .take_queue import QueueProgress, TakeQueue

if TYPE_CHECKING:  # the video library takes a while to import, and most runs never record
    from .render_job import RenderJob

NAMES = (".mp4", ".webm", ".json", "")
"""Endings that the files and folders of a flight have."""

Stage = Literal["idle", "recording", "rendering"]


@dataclass(frozen=True)
class Flight:
    """A recorded flight and the scene it goes through."""

    path: CameraPath
    scene: Scene


class Recording:
    """One flight at a time is recorded; those that have ended are rendered one after the other.

    Args:
        settings: how a flight is rendered, as they are when it ends.
        folder: where numbered files go.
        notices: is told what became of each flight.
        compositor: draws overlays into videos; None: videos have none.

    Attributes:
        folder: as given, or as the user has chosen since.
        unsaved: flights whose path could not be written; they wait for another folder.
        folder_wanted: the folder cannot be written: the user should be asked for another one.
        last_flight: the newest that was recorded.
    """

    def __init__(
        self, settings: ViewerSettings, folder: Path, notices: Notices, compositor: Compositor | None = None
    ) -> None:
        self._settings, self._notices, self._compositor = settings, notices, compositor
        self._recorder = FlightRecorder()
        self._journal: FlightJournal | None = None
        self._ended: list[FlightJournal] = []  # of flights that may not be saved yet
        self._queue = TakeQueue(notices)
        self._warned = False  # that leaving aborts the video
        self.folder = folder
        self.unsaved: list[Flight] = []
        self.folder_wanted = False
        self.last_flight: CameraPath | None = None

    @property
    def stage(self) -> Stage:
        """What goes on; a flight can be recorded while others are being rendered."""
        if self._recorder.recording:
            return "recording"
        return "rendering" if self._queue.busy else "idle"

    @property
    def rendering(self) -> bool:
        """Whether a video is being rendered, also during a recording."""
        return self._queue.busy

    @property
    def seconds(self) -> float:
        """Length of the flight so far."""
        return self._recorder.seconds

    @property
    def progress(self) -> QueueProgress | None:
        """Of the videos that are being rendered."""
        return self._queue.progress

    @property
    def failed(self) -> bool:
        """Whether the newest flight was not saved, or its video did not end well."""
        return bool(self.unsaved) or self._queue.failed

    def toggle(self, scene: Scene, camera: Camera, now: float) -> None:
        """Begin to record at ``camera``, or end the recording and render it."""
        if self.stage == "recording":
            self.finish(scene, now)
            return
        try:
            self._journal = FlightJournal(self.folder)
        except KiloNeRFError as error:
            self.folder_wanted = True
            self._notices.add(f"Cannot record: {error}; choose another folder", "error", now)
            return
        self._recorder.start(now)
        self._recorder.add(camera, now)

    def add(self, camera: Camera, now: float) -> None:
        """Show the camera of this moment; ignored unless recording."""
        self._recorder.add(camera, now)
        if self._journal is not None and self._journal.due(now):
            self._journal.write(self._recorder.kept_since(self._journal.written), now)

    def finish(self, scene: Scene, now: float, output: Path | None = None) -> None:
        """End the recording, save its path and render it when its turn comes.

        Args:
            scene: what was flown through.
            now: the time, for the message.
            output: the video's name; the path's JSON then has the same one. None: the next free name.
        """
        flight = Flight(self._recorder.stop(), scene)
        self.last_flight = flight.path
        self._save(flight, now, output)
        self._end_journal()

    def choose_folder(self, folder: Path, now: float) -> None:
        """Write to ``folder`` from now on; flights that could not be saved are."""
        try:
            check_folder(folder)
        except KiloNeRFError as error:
            self.folder_wanted = True
            self._notices.add(f"{error}; choose another folder", "error", now)
            return
        self.folder = folder
        waiting, self.unsaved = self.unsaved, []
        for flight in waiting:
            self._save(flight, now, None)
        self._end_journals_of_saved()

    def discard_unsaved(self) -> None:
        """Forget the flights that could not be saved."""
        self.unsaved.clear()
        self._end_journals_of_saved()

    def recover(self, now: float) -> None:
        """Save what an earlier run, killed while it recorded, has left in the folder."""
        for path in recover_flights(self.folder):
            self._notices.add(f"A flight that was cut off has been saved: {path}", "info", now)

    def render(self, path: CameraPath, scene: Scene, now: float) -> None:
        """Save a path that was not flown just now, and render it."""
        self._save(Flight(path, scene), now, None)

    def go_on(self, path: CameraPath, scene: Scene, take: PngTake, now: float) -> None:
        """Render the PNG frames of a take that an earlier render has not made."""
        if scene_digest(scene) != take.settings.scene:
            what = f"{take.folder}: expected the scene that its frames show, got another one; open that scene first"
            self._notices.add(f"Cannot go on: {what}", "error", now)
            return
        try:
            job = self._job(Flight(path, scene), take.folder / FRAME, take.settings, resume=True)
            self._queue.add(job, now)
        except KiloNeRFError as error:
            self._notices.add(f"Video failed: {error}", "error", now)
            return
        self._notices.add(f"Going on in {take.folder}", "info", now)

    def abort(self) -> None:
        """Stop rendering the current video; it is removed, the path stays."""
        self._queue.abort()

    def may_leave(self, now: float) -> bool:
        """Whether the program may end; while a video is being rendered or a flight is unsaved, only if asked twice."""
        if not (self._queue.busy or self.unsaved) or self._warned:
            return True
        self._warned = True
        what = "A video is being rendered; close the window again to abort it"
        if self.unsaved:
            what = "A flight is not saved; choose a folder for it, or close the window again"
            self.folder_wanted = True
        self._notices.add(what, "info", now)
        return False

    def poll(self, now: float) -> None:
        """Report what is over, begin what waits."""
        self._queue.poll(now)

    def close(self) -> None:
        """Abort all jobs and wait; a flight that is being recorded, or could not be saved, is saved somewhere.

        Raises:
            OutputError: it is in another folder than the chosen one, which cannot be written; or nowhere.
        """
        paths = [flight.path for flight in self.unsaved]
        if self._recorder.recording:
            paths.append(self._recorder.stop())
        elsewhere: list[str] = []
        try:
            elsewhere += [text for path in paths if (text := self._save_anywhere(path))]
            self.unsaved.clear()
        finally:
            self._end_journal()
            self._queue.close()
        if elsewhere:
            raise OutputError("; ".join(elsewhere))

    def _save(self, flight: Flight, now: float, output: Path | None) -> None:
        take = self._take_settings(flight.scene)
        try:
            if output is None:
                output = self._next_output()
            json_file = output.with_suffix(".json")
            if output.suffix == ".png":
                json_file = output.parent.with_suffix(".json")
            flight.path.save(json_file)
            if output.suffix == ".png":
                make_folder(output.parent)
                keep_frame_settings(output.parent, replace(take, scene=scene_digest(flight.scene)))
        except KiloNeRFError as error:
            self.unsaved.append(flight)
            self.folder_wanted = True
            self._notices.add(f"{error}; the flight is kept, choose another folder for it", "error", now)
            return
        self._warned = False
        try:
            self._queue.add(self._job(flight, output, take), now)
        except KiloNeRFError as error:
            self._notices.add(f"Video failed: {error}; the camera path is kept: {json_file}", "error", now)
            return
        waits = self._queue.progress is not None and self._queue.progress.output != output
        then = "waits for its turn" if waits else f"rendering {output}"
        self._notices.add(f"Camera path saved: {json_file}; {then}", "info", now)

    def _next_output(self) -> Path:
        """The next free name for a video, or for numbered pictures in a folder."""
        suffix = self._settings.video.suffix
        output = next_free_name(self.folder, "flight", (suffix, *NAMES))
        return output.with_suffix("") / FRAME if suffix == ".png" else output

    def _take_settings(self, scene: Scene) -> TakeSettings:
        """Those of this moment."""
        settings = self._settings
        as_seen = settings.video.as_seen
        return TakeSettings(
            replace(settings.video),
            settings.render_options(scene),
            settings.heat_map if as_seen else "off",
            settings.heat_scale,
            settings.overlays if as_seen else None,
        )

    def _job(self, flight: Flight, output: Path, take: TakeSettings, *, resume: bool = False) -> "RenderJob":
        from .film import NO_BLUR, Film
        from .panorama import PanoramaMaker
        from .render_job import RenderJob
        from .stills import PictureMaker

        video = take.video
        maker = PictureMaker(
            options=take.options,
            heat_map=take.heat_map,
            overlays=take.overlays,
            compositor=self._compositor,
            heat_scale=take.heat_scale,
        )
        panorama = PanoramaMaker(maker.options)
        film = Film(video.samples, video.shutter, video.lens_blur * video.focus, video.focus)
        if video.panorama:  # only time can be sampled
            film = Film(video.samples if video.shutter > 0.0 else 1, video.shutter)
        if maker.heat_map != "off":
            film = NO_BLUR  # the mean of two false colors is the color of nothing
        return RenderJob(
            flight.scene,
            flight.path,
            maker.options,
            output,
            *video.size,
            video.fps,
            backend=self._settings.backend,
            codec="av1" if video.format == "av1" and output.suffix == ".mp4" else "auto",
            make_picture=panorama.values if video.panorama else maker.values,
            film=film,
            panorama=video.panorama,
            resume=resume,
        )

    def _save_anywhere(self, path: CameraPath) -> str:
        """Save it; what to say if that was not where it should be."""
        folders = [self.folder, Path.home(), Path(tempfile.gettempdir())]
        failures: list[str] = []
        for folder in folders:
            try:
                output = next_free_name(folder, "flight", (".json", ".mp4", ".webm"))
                path.save(output)
            except KiloNeRFError as error:
                failures.append(str(error))
                continue
            return f"{failures[0]}; the flight is in {output}" if failures else ""
        raise OutputError("; ".join(failures))

    def _end_journal(self) -> None:
        """Journals stay on disk only while nothing else has their flights."""
        if self._journal is not None:
            self._journal.close()
            self._ended.append(self._journal)
            self._journal = None
        self._end_journals_of_saved()

    def _end_journals_of_saved(self) -> None:
        if not self.unsaved:
            for journal in self._ended:
                journal.remove()
            self._ended.clear()
