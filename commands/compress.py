"""``kilonerf-compress``: a scene becomes a file of a megabyte or so, that every program opens as any scene."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from kilonerf.kernels import RenderOptions, create_renderer
from kilonerf.kernels.measure.evaluation import evaluate, mean_result
from kilonerf.kernels.measure.poses import evenly_chosen
from kilonerf.model_io import DatasetError, KiloNeRFScene, OutputError, UsageError, load_kilonerf_scene
from kilonerf.model_io.datasets import Dataset, View, load_dataset
from kilonerf.model_io.files.atomic import AtomicFile
from kilonerf.model_io.knf.quantized import NUM_WEIGHTS
from kilonerf.model_io.scene.origin import relative_to, scene_origin
from kilonerf.trainer.compression.compression import Compressed, Compression
from kilonerf.trainer.compression.pictures import own_views
from kilonerf.trainer.compression.settings import CompressionSettings
from kilonerf.trainer.data.photos import Photos
from kilonerf.trainer.loop.distributed import World
from kilonerf.trainer.pipeline.observers import Observers, ProgressObserver
from kilonerf.trainer.pipeline.store import lock_folder, make_folder

from .command_line import parse_bytes, print_notes, run_command
from .training_run import interruption, training_device

PROGRAM = "kilonerf-compress"
_COARSE, _COARSE_SHARE, _LEAST_COARSE = 30_000, 0.04, 4_000  # bytes, and a share of the file


@dataclass
class CompressCommand:
    """Compress a KiloNeRF scene: weights of few bits, entropy coded, fine-tuned through their rounding.

    The file opens as any scene does. A run that was interrupted or killed goes on when the same command is given again.
    """

    # The scene, a .knf file.
    scene: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SCENE")]
    # The scene to write, a .knf file.
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="SMALL")]
    # How large it may be, as 1MB, 500kB or 0.5MiB.
    size: str | None = None
    # In place of a size: bits of a weight in the mean.
    bits: float | None = None
    # About how much of the file a coarse level of detail takes, which is seen while the rest is loaded; 0: none. Left
    # out: 30kB, or 4 % of the file if that is less.
    coarse_size: str | None = None
    # The photos that the scene was made from, as for kilonerf-train: it is fine-tuned and measured by them. Left out:
    # by the scene's own pictures.
    photos: Annotated[Path | None, tyro.conf.arg(metavar="DATASET")] = None
    # Make photos smaller by this factor first. Left out: as the scene's training did.
    downscale: int | None = None
    # Views of the data set's test split (of the training one if it has no other), or of the scene's own pictures, that
    # both files are measured by; 0: none.
    views: int = 5
    # Where the run leaves what it needs to go on; beside the output if left out. It is removed in the end.
    folder: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    # auto: the first GPU, if there is one.
    device: str = "auto"
    settings: Annotated[CompressionSettings, tyro.conf.arg(name="")] = field(default_factory=CompressionSettings)


def main() -> None:
    """Entry point of ``kilonerf-compress``."""
    run_command(PROGRAM, CompressCommand, run)


def run(command: CompressCommand) -> None:
    """Compress, write, and say what it cost.

    Raises:
        KiloNeRFError: bad input, or a file that cannot be written.
        KeyboardInterrupt: it was interrupted; the same command goes on.
    """
    size = _checked_size(command)
    command.settings.check()
    device = training_device(command.device, World())
    scene = load_kilonerf_scene(command.scene)
    if not scene.num_networks:
        raise UsageError(f"{command.scene}: expected a scene with networks, got none")
    coarse_size = _coarse_size(command, scene, size)
    _check_output(command.output)
    folder = command.folder or command.output.with_suffix(".compressing")
    make_folder(folder)
    lock = lock_folder(folder)
    with interruption() as interrupted:
        observer = Observers([ProgressObserver()])
        try:
            train, test, downscale = _views(command, scene, folder)
            photos = Photos(train, downscale=downscale)
            compression = Compression(
                scene,
                photos,
                command.settings,
                size=size,
                bits=None if size is not None else command.bits,
                coarse_size=coarse_size,
                folder=folder,
                source=_source(command, scene, downscale),
                observer=observer,
                device=device,
                interrupted=interrupted,
            )
            compressed = compression.run()
        finally:
            observer.close()
            lock.release()
    with AtomicFile(command.output) as temporary:
        temporary.write_bytes(compressed.data)
    print(_said(command, scene, compressed, test, downscale))
    shutil.rmtree(folder, ignore_errors=True)


def _checked_size(command: CompressCommand) -> int | None:
    if (command.size is None) == (command.bits is None):
        got = "neither" if command.size is None else "both"
        raise UsageError(f"--size, --bits: expected one of them, got {got}")
    if command.bits is not None and not 0.02 <= command.bits <= 10:
        raise UsageError(f"--bits: expected 0.02 to 10, got {command.bits}")
    if command.downscale is not None and command.downscale < 1:
        raise UsageError(f"--downscale: expected 1 or more, got {command.downscale}")
    if command.views < 0:
        raise UsageError(f"--views: expected 0 or more, got {command.views}")
    return None if command.size is None else parse_bytes(command.size)


def _coarse_size(command: CompressCommand, scene: KiloNeRFScene, whole: int | None) -> int:
    """Bytes of the coarse level of detail; ``whole``: those of the file, where a size is given."""
    if command.coarse_size is not None:
        size = parse_bytes(command.coarse_size, "--coarse-size")
        if 0 < size < _LEAST_COARSE:
            raise UsageError(f"--coarse-size: expected 0, or {_LEAST_COARSE} bytes or more, got {command.coarse_size}")
        if whole is not None and size > whole / 2:
            raise UsageError(f"--coarse-size: expected at most half of {command.size}, got {command.coarse_size}")
        return size
    if whole is None:
        whole = round((command.bits or 0) * NUM_WEIGHTS * scene.num_networks / 8)
    size = min(_COARSE, round(_COARSE_SHARE * whole))
    return size if size >= _LEAST_COARSE else 0


def _check_output(output: Path) -> None:
    """What is written in the end can be; an hour later would be too late to say so."""
    if output.suffix != ".knf":
        raise UsageError(f"{output}: expected a name that ends in .knf")
    if not output.parent.is_dir():
        raise OutputError(f"{output}: expected an existing folder, got none named {output.parent}")
    AtomicFile(output).discard()


def _views(command: CompressCommand, scene: KiloNeRFScene, folder: Path) -> tuple[list[View], list[View], int]:
    """Views to learn from, views to measure by, and by how much their photos are made smaller."""
    if command.photos is None:
        views = own_views(scene, create_renderer(scene), folder / "pictures", command.settings.pictures)
        return views, evenly_chosen(views, command.views) if command.views else [], 1
    dataset = load_dataset(command.photos, "train", photos=True)
    print_notes(PROGRAM, dataset)
    test: Sequence[View] = []
    if command.views:
        test = evenly_chosen(_measured(command.photos, dataset).views, command.views)
    origin = scene_origin(scene)
    train, test = (
        [replace(view, camera=relative_to(origin, view.camera)) for view in views] for views in (dataset.views, test)
    )
    said = scene.provenance.get("downscale")
    return train, test, command.downscale or (said if isinstance(said, int) and said >= 1 else 1)


def _measured(path: Path, dataset: Dataset) -> Dataset:
    """The test split of a data set, or its training views where it has no other ones."""
    try:
        return load_dataset(path, "test", photos=True)
    except DatasetError:
        return dataset


def _source(command: CompressCommand, scene: KiloNeRFScene, downscale: int) -> dict[str, Any]:
    return {
        "scene": f"{command.scene.name}, {command.scene.stat().st_size} bytes, {scene.num_networks} networks",
        "photos": None if command.photos is None else command.photos.name,
        "downscale": downscale,
    }


def _said(
    command: CompressCommand, scene: KiloNeRFScene, compressed: Compressed, test: list[View], downscale: int
) -> str:
    before, after = command.scene.stat().st_size, command.output.stat().st_size
    minutes = sum(compressed.seconds.values()) / 60
    text = (
        f"{command.output}: {after / 1e6:.3f} MB instead of {before / 1e6:.3f} ({before / after:.1f} times smaller), "
        f"{compressed.bits:.2f} bits a weight, {minutes:.1f} minutes"
    )
    if test:
        of_input, of_output = (_psnr(one, test, downscale) for one in (scene, load_kilonerf_scene(command.output)))
        if command.photos is None:
            return f"{text}; {of_output:.2f} dB against the scene's own pictures in {len(test)} views"
        return f"{text}; {of_output:.2f} dB instead of {of_input:.2f} in {len(test)} photos"
    return text


def _psnr(scene: KiloNeRFScene, views: list[View], downscale: int) -> float:
    renderer = create_renderer(scene)
    return mean_result(list(evaluate(renderer, views, RenderOptions.as_trained(scene), downscale=downscale))).psnr


if __name__ == "__main__":
    main()
