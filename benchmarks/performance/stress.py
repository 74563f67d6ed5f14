"""Random events in the real window, and its memory over minutes of flying.

python -m benchmarks.performance.stress SCENE [--events 10000] [--seed 0] [--fly SECONDS]

A hand that knows nothing: mouse, wheel, keys, typed text, resizing, dropped files good and bad, folders that vanish and
come back. The program may answer with messages only; an exception ends the run with the seed and the last events. Needs
xdotool and a display; without one: scripts/virtual_screen.sh python -m benchmarks.performance.stress
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

from kilonerf.model_io import load_kilonerf_scene, save_scene
from kilonerf.viewer.app import ViewerApp
from kilonerf.viewer.scene_loading import SceneLoader
from kilonerf.viewer.settings import ViewerSettings

CHAIR = Path(__file__).resolve().parents[2] / "assets" / "chair.knf"
KEYS = (
    *"wasdeqcfrztvgjkliuohx1234567890",
    *(8 * ("Escape",)),  # dialogs take keys while they are open
    *("space", "Tab", "F1", "F9", "F12", "Return", "BackSpace", "Delete", "Home", "End", "Prior", "Next"),
    *("Up", "Down", "Left", "Right", "comma", "period", "minus", "slash"),
    *("ctrl+c", "ctrl+v", "ctrl+z", "ctrl+shift+z", "ctrl+d", "ctrl+a", "ctrl+1", "ctrl+2", "alt+w", "shift+d"),
)
SIZES = ((1, 1), (2, 900), (320, 200), (480, 320), (640, 480), (900, 940), (1280, 800))
HUGE = (7680, 4320)
HELD = ("w", "a", "s", "d", "shift", "alt", "ctrl")


class RandomHand:
    """Makes events at random.

    Args:
        app: what they go to.
        folder: of files to drop, with ``out``, where the program writes, in it.
        seed: the same one makes the same events.
        huge: resize to 8K now and then.
    """

    def __init__(self, app: ViewerApp, folder: Path, seed: int, *, huge: bool = False) -> None:
        self._app, self._folder, self._huge = app, folder, huge
        self._random = random.Random(seed)  # noqa: S311 - not for secrets
        self._xdotool = subprocess.Popen(["xdotool", "-"], stdin=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)
        search = ["xdotool", "search", "--onlyvisible", "--class", "kilonerf-view"]
        found = subprocess.run(search, capture_output=True, text=True, check=True)
        self._window = found.stdout.split()[0]
        self.recent: deque[str] = deque(maxlen=30)
        self.counts: Counter[str] = Counter()
        self._send(f"windowfocus {self._window}")
        self._kinds: dict[Callable[[], None], int] = {
            self._move: 30,
            self._click: 25,
            self._button: 10,
            self._wheel: 8,
            self._key: 25,
            self._hold: 10,
            self._type: 3,
            self._resize: 3,
            self._drop: 3,
            self._vanish: 2,
        }

    def act(self) -> None:
        """One event."""
        kind = self._random.choices(list(self._kinds), list(self._kinds.values()))[0]
        self.counts[kind.__name__.strip("_")] += 1
        kind()

    def rest(self) -> None:
        """Let go of everything; the window has a usable size again."""
        for button in (1, 2, 3):
            self._send(f"mouseup {button}")
        for key in HELD:
            self._send(f"keyup {key}")
        self._send("key Escape")
        self._send(f"windowsize {self._window} 900 700")

    def close(self) -> None:
        """No more events; nothing stays pressed."""
        self.rest()
        if self._xdotool.stdin is not None:
            self._xdotool.stdin.close()
        self._xdotool.wait()

    def _send(self, command: str) -> None:
        self.recent.append(command)
        if self._xdotool.stdin is not None:
            self._xdotool.stdin.write(f"{command}\n")
            self._xdotool.stdin.flush()

    def _move(self) -> None:
        width, height = self._app.window.size
        x, y = (self._random.randint(0, side + 5) for side in (width, height))
        self._send(f"mousemove --window {self._window} {x} {y}")

    def _click(self) -> None:
        self._move()
        self._send(f"click {self._random.choice((1, 1, 1, 1, 2, 3))}")

    def _button(self) -> None:
        self._send(f"{self._random.choice(('mousedown', 'mouseup', 'mouseup'))} {self._random.choice((1, 2, 3))}")

    def _wheel(self) -> None:
        self._send(f"click --repeat {self._random.randint(1, 5)} --delay 0 {self._random.choice((4, 5))}")

    def _key(self) -> None:
        self._send(f"key {self._random.choice(KEYS)}")

    def _hold(self) -> None:
        self._send(f"{self._random.choice(('keydown', 'keyup'))} {self._random.choice(HELD)}")

    def _type(self) -> None:
        text = self._random.choice(("1e400", "-5", "nan", "0", "999999999", "/", "/no/such/file", "0x7fff"))
        self._send(f"type --delay 0 {text}")

    def _resize(self) -> None:
        sizes = (*SIZES, HUGE) if self._huge else SIZES
        width, height = self._random.choice(sizes)
        self._send(f"windowsize {self._window} {width} {height}")

    def _drop(self) -> None:
        names = sorted(path for path in self._folder.iterdir() if path.name != "out")
        path = self._random.choice([*names, self._folder / "missing.knf"])
        self.recent.append(f"drop {path.name}")
        self._app.open_scene(path)

    def _vanish(self) -> None:
        """The folder of flights and screenshots goes, or is there again."""
        out = self._folder / "out"
        self.recent.append("vanish")
        if out.is_dir():
            shutil.rmtree(out, ignore_errors=True)
        else:
            out.mkdir()


def prepare(folder: Path, scene: Path) -> Path:
    """Files good and bad to drop; returns the good scene's."""
    (folder / "out").mkdir()
    good = folder / "good.knf"
    save_scene(load_kilonerf_scene(scene), good)
    content = good.read_bytes()
    (folder / "cut.knf").write_bytes(content[: len(content) // 2])
    (folder / "noise.knf").write_bytes(random.Random(0).randbytes(5000))  # noqa: S311 - not for secrets
    (folder / "empty.knf").touch()
    (folder / "path.json").write_text('{"keyframes": [1, 2]}')
    (folder / "checkpoint.pth").write_bytes(b"\x80\x02.")
    (folder / "folder").mkdir()
    return good


def run_events(scene: Path, events: int, seed: int, *, huge: bool = False) -> dict[str, object]:
    """Random events; what happened."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = ViewerSettings()
        settings.video.set_size(96, 64)
        loader = SceneLoader()
        loader.load(prepare(folder, scene))
        before = Path.cwd()
        os.chdir(folder / "folder")  # where the file dialog begins
        app = ViewerApp(settings, (900, 700), folder / "out", loader)
        hand = RandomHand(app, folder, seed, huge=huge)
        try:
            for number in range(events):
                hand.act()
                if number % 3 == 0:
                    app.step()
                if number % 500 == 499:
                    hand.rest()
            hand.rest()
            _settle(app)
            if app.view.shown is None or not app.settled:
                raise RuntimeError("no picture any more")
        except BaseException as error:
            error.add_note(f"seed {seed}, event {sum(hand.counts.values())}, the last: {'; '.join(hand.recent)}")
            raise
        finally:
            hand.close()
            os.chdir(before)
            (folder / "out").mkdir(exist_ok=True)
            app.close()
        messages = Counter(notice.kind for notice in app.notices.log)
        written = Counter(path.suffix for path in folder.rglob("*") if path.is_file())
        return {"events": dict(hand.counts), "messages": dict(messages), "files": dict(written), "settled": app.settled}


def run_flight(scene: Path, seconds: float) -> dict[str, object]:
    """Fly; the memory of the process over time, MiB."""
    loader = SceneLoader()
    loader.load(scene)
    with tempfile.TemporaryDirectory() as name:
        app = ViewerApp(ViewerSettings(), (1280, 800), Path(name), loader)
        try:
            app.navigator.set_turntable(True)
            began, resident = time.monotonic(), list[float]()
            frames = 0
            while (now := time.monotonic()) < began + seconds:
                app.step()
                frames += 1
                app.navigator.wheel(0.3 if int(now - began) % 8 < 4 else -0.3, None)  # nearer, farther
                app.navigator.set_turntable(True)
                if now - began >= 10.0 * (len(resident) + 1):
                    resident.append(round(memory(), 1))
        finally:
            app.close()
    return {"seconds": seconds, "frames": frames, "resident MiB every 10 s": resident}


def memory() -> float:
    """Of this process, resident, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _settle(app: ViewerApp) -> None:
    end = time.monotonic() + 60.0
    while not app.settled and time.monotonic() < end:
        app.step()


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", nargs="?", type=Path, default=CHAIR)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--huge", action="store_true", help="resize to 7680x4320 now and then")
    parser.add_argument("--fly", type=float, default=0.0, help="seconds of flying")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = os.environ["HOME"] = state  # what is remembered or rescued is not the user's
        if arguments.events:
            print(json.dumps(run_events(arguments.scene, arguments.events, arguments.seed, huge=arguments.huge)))
        if arguments.fly:
            print(json.dumps(run_flight(arguments.scene, arguments.fly)))


if __name__ == "__main__":
    main()
