"""Time from the start of a process to the window's first picture.

python -m benchmarks.performance.first_picture [SCENE] [RUNS].

Needs a display; without one: xvfb-run -a -s "-screen 0 1400x900x24" python -m benchmarks.performance.first_picture
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

CHAIR = Path(__file__).resolve().parents[2] / "assets" / "chair.knf"
PROGRAM = """
import sys, time
from pathlib import Path
from kilonerf.viewer.scene_loading import SceneLoader
loader = SceneLoader()
loader.load(Path(sys.argv[1]))
from kilonerf.viewer.app import ViewerApp
from kilonerf.viewer.settings import ViewerSettings
app = ViewerApp(ViewerSettings(), (1280, 800), Path("."), loader)
while app.view.shown is None:
    app.step()
print(time.time())
app.close()
"""


def seconds_to_first_picture(scene: Path) -> float:
    """Seconds from before the interpreter starts until the first picture is in the window."""
    start = time.time()
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(scene)], capture_output=True, text=True, check=True)
    return float(done.stdout) - start


if __name__ == "__main__":
    scene = Path(sys.argv[1]) if len(sys.argv) > 1 else CHAIR
    runs = [seconds_to_first_picture(scene) for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 5)]
    spread = f"median of {len(runs)}; {min(runs):.2f} to {max(runs):.2f}"
    print(f"first picture after {statistics.median(runs):.2f} s ({spread})")
