"""The command line: `python -m p2plib ...`. Every command calls the function that notebooks call."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg
from tyro.extras import subcommand_cli_from_dict

import p2plib
from p2plib.config import TrainConfig
from p2plib.data import Task
from p2plib.errors import ConfigError, KaggleError, P2PError

if TYPE_CHECKING:
    from p2plib.evaluation.distances import Extractor
    from p2plib.kaggle.kernel import Kernel

Data = Annotated[str | None, arg(help="Catalog name or folder; default: what the checkpoint was trained on.")]
CheckpointPath = Annotated[Positional[Path], arg(metavar="CHECKPOINT", help="A .keras file, or a run folder.")]
Config = Annotated[TrainConfig, arg(name="")]
Folder = Annotated[Path, arg(help="The folder of the built kernel.")]
Metadata = Annotated[Path, arg(help="What the kernel is called, and where it runs: your kernel-metadata.json.")]
Accelerator = Annotated[Literal["t4x2", "tpu", "cpu"] | None, arg(help="Instead of the one in the metadata.")]
KernelId = Annotated[Positional[str | None], arg(metavar="OWNER/SLUG", help="Default: the kernel built last.")]
ExtractorName = Annotated[
    Literal["none", "inception"],
    arg(help="What draws the features for KID and FID: Keras' InceptionV3 (downloaded once)."),
]
Noise = Annotated[int | None, arg(help="Seed that turns the paper's test-time dropout on; off by default.")]


def data_list() -> None:
    """List the data sets of the catalog."""
    from p2plib.data.catalog import CATALOG
    from p2plib.data.download import dataset_dir

    for entry in CATALOG.values():
        here = "embedded" if entry.url is None else "downloaded" if dataset_dir(entry.name).exists() else "not here yet"
        splits = ", ".join(f"{count} {split}" for split, count in entry.splits.items())
        height, width = entry.size
        print(f"{entry.name}: {entry.title} ({here})")
        sides = f"A {entry.names[0]} | B {entry.names[1]}, {width}x{height} each, usually {entry.direction}"
        print(f"    {'photos, for --task colorize or sketch' if entry.photos else sides}; {splits}")
        print(f"    {entry.terms}")


def data_get(name: Annotated[Positional[str], arg(metavar="NAME")], /, force: bool = False) -> None:
    """Download a data set of the catalog into the user's cache.

    Args:
        name: Name of the data set.
        force: Download it again though it is there.
    """
    from p2plib.data import download

    print(download.get(name, force=force))


def data_check(
    data: Annotated[Positional[str], arg(metavar="PATH-or-NAME")],
    /,
    task: Task = "pairs",
    sheet: Path = Path("pairs.png"),
) -> int:
    """Open every pair and report, by file name, what is wrong or odd; the exit status is 1 if pairs are broken.

    Args:
        data: A folder of pairs or, see --task, of photos; or a name of the catalog.
        task: What it is for. colorize and sketch make their pairs of photos.
        sheet: Where to write an image of some pairs.
    """
    from p2plib.data import check
    from p2plib.data.image import save_image

    report = check.check(data, task, progress=True)
    print(report.table())
    save_image(sheet, check.sheet(data, task=task))
    print(f"a sheet of pairs: {sheet}")
    return 1 if report.broken else 0


def data_combine(
    a: Annotated[Positional[Path], arg(metavar="A")],
    b: Annotated[Positional[Path], arg(metavar="B")],
    out: Annotated[Positional[Path], arg(metavar="OUT")],
    /,
    resize: int | None = None,
) -> None:
    """Join two folders of images into one of pairs, side by side: A left, B right, partners by their names.

    Args:
        resize: Make all images squares of this many pixels; otherwise partners must have the same size.
    """
    from p2plib.data import combine

    print(combine.combine(a, b, out, resize, progress=sys.stderr.isatty()))


def data_split(
    data: Annotated[Positional[Path], arg(metavar="FOLDER")],
    /,
    out: Path | None = None,
    val: float = 0.1,
    test: float = 0.0,
    seed: int = 0,
) -> None:
    """Copy a folder of pairs into train, val and test.

    Args:
        out: The folder to write; default: FOLDER-split, beside it.
        val: Share of the pairs that are kept for validation.
        test: Share of the pairs that are kept for a final test.
        seed: Another seed chooses other pairs.
    """
    from p2plib.data import combine

    out = out or data.resolve().with_name(f"{data.resolve().name}-split")
    print(combine.split(data, out, val, test, seed, progress=sys.stderr.isatty()))


def evaluate(
    checkpoint: CheckpointPath,
    /,
    data: Data = None,
    split: Literal["train", "val", "test"] = "val",
    limit: int = 0,
    noise: Noise = None,
    extractor: ExtractorName = "none",
    fid: bool = False,
    csv: Path | None = None,
    json: Path | None = None,
) -> None:
    """Score a checkpoint on a split: every image, the means, and the distance between the two sets.

    L1, PSNR, SSIM and MS-SSIM; the sliced Wasserstein distance (times 1000); accuracy and mean IoU where the targets
    are labels; KID, and FID from 2,048 images on, where an extractor is named.

    Args:
        split: Which split.
        limit: At most so many pairs, evenly spaced over the split (0: all).
        fid: Compute FID on fewer images too.
        csv: Where to write one line an image; default: evaluation-SPLIT.csv beside the checkpoint.
        json: Where to write means, sets, protocol and images; default: evaluation-SPLIT.json beside the checkpoint.
    """
    from p2plib.inference.checkpoint import find

    model = p2plib.load(checkpoint)
    result = p2plib.evaluate(model, data, split, limit, noise, _extractor(extractor), fid=fid or None)
    beside = find(checkpoint).parent / f"evaluation-{split}"
    csv, json = csv or beside.with_suffix(".csv"), json or beside.with_suffix(".json")
    result.write_csv(csv)
    result.write_json(json)
    print(result.table())
    _print_protocol(result.protocol)
    print(f"saved: {csv}, {json}")


def fcn_score(
    checkpoint: CheckpointPath,
    /,
    data: Data = None,
    split: Literal["train", "val", "test"] = "val",
    limit: int = 0,
    segmenter: Path | None = None,
    epochs: int | None = None,
) -> None:
    """Score photos generated from labels: does a network that labels real photos find the classes again?

    Args:
        split: Which split.
        limit: At most so many pairs, evenly spaced over the split (0: all).
        segmenter: That network; it is trained if the file is not there. Default: segmenter.keras beside the checkpoint.
        epochs: How long to train it (20 unless given).
    """
    from p2plib.evaluation.fcn_score import fcn_score, prepare
    from p2plib.inference.checkpoint import find

    model = p2plib.load(checkpoint)
    network = prepare(segmenter or find(checkpoint).with_name("segmenter.keras"), model.info.config, epochs)
    result = fcn_score(model, network, data, split, limit)
    print(result.table())
    _print_protocol(result.protocol)


def compare(
    checkpoints: Annotated[Positional[tuple[Path, ...]], arg(metavar="CHECKPOINT")],
    /,
    data: Data = None,
    split: Literal["train", "val", "test"] = "val",
    limit: int = 0,
    noise: Noise = None,
    extractor: ExtractorName = "none",
    count: int = 6,
    out: Path = Path("comparison"),
) -> None:
    """Judge several checkpoints on the same images: one table with 95 % confidence intervals, one image sheet.

    Args:
        checkpoints: .keras files, run folders or export folders; differences are to the first one.
        split: Which split.
        limit: At most so many pairs, evenly spaced over the split (0: all).
        count: Number of pairs on the sheet, evenly spaced.
        out: Folder for comparison.json and sheet.png.
    """
    from p2plib.evaluation.compare import compare, load_all
    from p2plib.show import figures

    if not checkpoints:
        raise ConfigError("There is nothing to compare; name checkpoints.")
    models = load_all(checkpoints)
    result = compare(models, data, split, limit, noise, _extractor(extractor))
    result.write_json(out / "comparison.json")
    figures.save(figures.image_grid(result.columns(count)), out / "sheet.png")
    print(result.table())
    print(f"saved: {out / 'comparison.json'}, {out / 'sheet.png'}")


def _extractor(name: ExtractorName) -> Extractor | None:
    from p2plib.evaluation import distances

    return distances.inception_v3() if name == "inception" else None


def _print_protocol(protocol: dict[str, Any]) -> None:
    print(", ".join(f"{name} {value}" for name, value in protocol.items()))


def translate(
    checkpoint: CheckpointPath,
    inputs: Annotated[Positional[tuple[Path, ...]], arg(metavar="INPUT")],
    /,
    out: Path,
    noise: Noise = None,
    fit: bool = False,
    compare: bool = False,
    force: bool = False,
) -> int:
    """Translate images of any size; the exit status is 1 if some cannot be read.

    Images larger than the model are translated in overlapping tiles, smaller ones are resized there and back. What a
    call before this one has finished is skipped.

    Args:
        inputs: Image files, or folders, which are searched to any depth; each image is taken whole.
        out: Folder for the results, PNG files of the same names.
        fit: Resize larger images, too: right for those that show what a whole training image shows.
        compare: Write source and generated image side by side.
        force: Skip nothing.
    """
    model = p2plib.load(checkpoint)
    result = p2plib.translate_files(model, inputs, out, noise, fit, compare, force, progress=sys.stderr.isatty())
    for path in result.written:
        print(path)
    for reason in result.failed.values():
        print(f"failed: {reason}", file=sys.stderr)
    counts = f"{len(result.written)} written, {len(result.skipped)} skipped (done before), {len(result.failed)} failed"
    print(counts, file=sys.stderr)
    return 1 if result.failed else 0


def video(
    checkpoint: CheckpointPath,
    source: Annotated[Positional[Path], arg(metavar="INPUT")],
    target: Annotated[Positional[Path], arg(metavar="OUT")],
    /,
    steady: bool = False,
    fit: bool = False,
    noise: Noise = None,
) -> None:
    """Translate a video frame by frame; the sound is kept. Also tells how much the result flickers.

    Args:
        source: The video.
        target: The video to write: .mp4, .mkv or .mov.
        steady: Blend over time, which reduces flicker.
        fit: Resize frames larger than the model there and back, instead of translating them in tiles.
    """
    from p2plib.inference.video import translate_video

    made = translate_video(p2plib.load(checkpoint), source, target, noise, steady, fit, progress=sys.stderr.isatty())
    height, width = made.size
    without = f" ({made.flicker_unsteadied:.2f} without --steady)" if steady else ""
    print(f"{made.path}: {made.frames} frames, {width}x{height}, {made.rate:.4g} frames a second")
    print(f"flicker {made.flicker:.2f}{without}: change from frame to frame, as a multiple of the source's")


def export(
    checkpoint: CheckpointPath,
    /,
    format: Literal["savedmodel", "onnx", "litert", "openvino"],
    half: bool = False,
    out: Path | None = None,
) -> None:
    """Export the generator for other programs, and compare the result with Keras on 8 images.

    Args:
        format: What to export to; onnx was the fastest on a CPU.
        half: Store the weights in float16: half the size, nearly the same images.
        out: The folder to write; default: export/FORMAT in the run folder.
    """
    from p2plib.export.convert import export_model

    done = export_model(checkpoint, format, half, out)
    print(done)
    print(f"exported: {done.folder}")


def grid(
    checkpoint: CheckpointPath,
    /,
    data: Data = None,
    split: Literal["train", "val", "test"] = "val",
    count: int = 6,
    noise: Noise = None,
    out: Path = Path("grid.png"),
) -> None:
    """Draw a result grid: source | generated | expected.

    Args:
        split: Which split.
        count: Number of pairs, evenly spaced over the split.
        out: The image to write.
    """
    from p2plib.show import figures

    model = p2plib.load(checkpoint)
    result = p2plib.evaluate(model, data, split, count, noise)
    figures.save(figures.result_grid(result.sources, result.generated, result.targets, model.info.names), out)
    print(out)


def report(run: Annotated[Positional[Path], arg(metavar="RUN")], /) -> None:
    """Write the results of a run: result grid, learning curves, metrics, and results.html with sliders."""
    from p2plib.show.report import write_report

    print(f"results: {write_report(run)}")


def web(
    checkpoints: Annotated[Positional[tuple[Path, ...]], arg(metavar="CHECKPOINT")],
    /,
    host: str = "127.0.0.1",
    port: int = 5000,
    examples: Path | None = None,
) -> None:
    """Try models in a browser: draw or upload an image, and see what they make of it. Ctrl-C ends it.

    Args:
        checkpoints: .keras files or run folders; the first one is chosen at the start.
        host: Address to listen on; with the default, only this computer can reach it.
        port: Port to listen on.
        examples: Folder of images to try the models with; default: images of each model's own kind.
    """
    from p2plib.web import serve

    serve(checkpoints, host, port, examples)


def train(config: Config, resume: Path | None = None) -> None:
    """Train pix2pix on pairs or photos, then write the results. Ctrl-C ends politely.

    Args:
        resume: Go on with the run in this folder. Options given beside it override the run's own.
    """
    report(p2plib.train(config, resume=resume))


BUILT = Path("build/kaggle")


def kaggle_build(
    config: Config,
    metadata: Metadata = Path("kernel-metadata.json"),
    accelerator: Accelerator = None,
    out: Folder = BUILT,
) -> None:
    """Make one self-contained notebook for Kaggle, p2plib and the settings inside; nothing is sent."""
    from p2plib.kaggle import kernel

    _build(config, kernel.Kernel.read(metadata).with_data(config.data), accelerator, out)


def kaggle_check(out: Folder = BUILT) -> int:
    """Look for what would go wrong on Kaggle; the exit status is 1 if there is something."""
    from p2plib.kaggle import preflight

    problems = preflight.check(out)
    print("\n".join(problems) or f"{out} is ready: kaggle push sends it")
    return 1 if problems else 0


def kaggle_push(
    config: Config,
    metadata: Metadata = Path("kernel-metadata.json"),
    accelerator: Accelerator = None,
    out: Folder = BUILT,
) -> None:
    """Build, check and send a kernel; its session starts at once."""
    kaggle_build(config, metadata, accelerator, out)
    _check_and_send(out)


def kaggle_status(kernel: KernelId = None, /, follow: bool = False, out: Folder = BUILT) -> int:
    """Tell how the newest session of a kernel stands; the exit status is 1 if it failed.

    Args:
        follow: Show its log, until it ends.
    """
    from p2plib.kaggle import client

    name = kernel or _built(out).id
    if follow:
        status = client.follow(name)
    else:
        status = client.status(name)
        print(f"{name}: {status}")
    return 1 if status.ended and status.state != "COMPLETE" else 0


def kaggle_pull(
    kernel: KernelId = None,
    /,
    run: Path | None = None,
    only: Literal["best", "last", "all"] = "all",
    out: Folder = BUILT,
) -> None:
    """Bring the run of a kernel home, verified; a wrong or missing file never replaces a good one.

    Args:
        run: The run folder to bring it into; default: runs/SLUG.
        only: Which checkpoints; `all` also brings the training state, to go on from on another machine.
    """
    from p2plib.kaggle import client

    name = kernel or _built(out).id
    print(client.pull(name, run or Path("runs", name.partition("/")[2]), only))


def kaggle_resume(accelerator: Accelerator = None, out: Folder = BUILT) -> None:
    """Send the next part of a chain: it goes on where the kernel built last ended, with the same settings."""
    from p2plib.kaggle import kernel

    _build(TrainConfig.read(out / kernel.CONFIG), _built(out).next_part(), accelerator, out)
    _check_and_send(out)


def _build(config: TrainConfig, made: Kernel, accelerator: str | None, out: Path) -> None:
    from p2plib.kaggle import kernel

    if accelerator:
        made = dataclasses.replace(made, accelerator=accelerator)
    print(f"built: {kernel.build(config, made, out)}")


def _built(out: Path) -> Kernel:
    from p2plib.kaggle import kernel

    return kernel.Kernel.read(out / kernel.METADATA)


def _check_and_send(out: Path) -> None:
    from p2plib.kaggle import client, preflight

    if problems := preflight.check(out):
        raise KaggleError("\n".join([f"{out} was not pushed:", *problems]))
    print(f"pushed: {client.push(out)}")


KAGGLE_COMMANDS: dict[str, Callable[..., Any]] = {
    "build": functools.partial(kaggle_build, config=TrainConfig()),
    "check": kaggle_check,
    "push": functools.partial(kaggle_push, config=TrainConfig()),
    "status": kaggle_status,
    "pull": kaggle_pull,
    "resume": kaggle_resume,
}
DATA_COMMANDS: dict[str, Callable[..., Any]] = {
    "list": data_list,
    "get": data_get,
    "check": data_check,
    "combine": data_combine,
    "split": data_split,
}
COMMANDS: dict[str, Callable[..., Any]] = {
    "train": train,
    "evaluate": evaluate,
    "fcn-score": fcn_score,
    "compare": compare,
    "translate": translate,
    "video": video,
    "export": export,
    "grid": grid,
    "report": report,
    "web": web,
}


def data() -> None:
    """List, download, check, combine and split data sets."""


def kaggle() -> None:
    """Train on Kaggle's free GPU or TPU: push a kernel, bring its run home, go on."""


GROUPS = {"data": (data, DATA_COMMANDS), "kaggle": (kaggle, KAGGLE_COMMANDS)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Errors that a user can act on are printed without a traceback."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(argv) or 0
    except P2PError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _run(argv: list[str]) -> int | None:
    prog = "python -m p2plib"
    if argv[:1] and argv[0] in GROUPS:
        group, commands = GROUPS[argv[0]]
        return subcommand_cli_from_dict(commands, args=argv[1:], prog=f"{prog} {argv[0]}", description=group.__doc__)
    commands = {name: group for name, (group, _) in GROUPS.items()} | COMMANDS
    commands |= {"train": functools.partial(train, config=_defaults(argv))}
    return subcommand_cli_from_dict(commands, args=argv, prog=prog, description=p2plib.__doc__.partition("\n")[0])


def _defaults(argv: list[str]) -> TrainConfig:
    """What training options default to: the settings of the run that `--resume` names, if any."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--resume", type=Path)
    resume = parser.parse_known_args(argv)[0].resume
    return TrainConfig.read(resume / "config.json") if resume else TrainConfig()


if __name__ == "__main__":
    sys.exit(main())
