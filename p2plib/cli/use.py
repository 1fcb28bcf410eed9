"""Commands that use a model: `translate`, `video`, `export`, `publish`, `web`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

import p2plib
from p2plib.cli.texts import CheckpointPath, Noise, explained_by
from p2plib.errors import ConfigError
from p2plib.files import check_writable, some

NAMED = 5
"""Names of files that a note gives before it says "..."."""

# Functions import what they call, so that `--help` is fast, without NumPy and Pillow.


@explained_by("p2plib.inference.folders:translate_files")
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

    Images are brought to the scale of the training images: up to the largest of these as a whole, larger ones in
    overlapping tiles.
    Existing results of an earlier call are skipped.

    Args:
        fit: Resize images of any size as a whole; for those that show the same scene as a whole training image.
    """
    check_writable(out, folder=True)
    model = p2plib.load(checkpoint)
    result = p2plib.translate_files(model, inputs, out, noise, fit, compare, force, progress=sys.stderr.isatty())
    for path in result.written:
        print(path)
    if result.several:
        named = some([f"{path} ({count})" for path, count in result.several.items()], NAMED)
        note = f"{len(result.several)} file(s) hold several images, the first of each is used: {named}"
        print(note, file=sys.stderr)
    for reason in result.failed.values():
        print(f"failed: {reason}", file=sys.stderr)
    counts = f"{len(result.written)} written, {len(result.skipped)} skipped (done before), {len(result.failed)} failed"
    print(counts, file=sys.stderr)
    return 1 if result.failed else 0


@explained_by("p2plib.inference.video:translate_video")
def video(
    checkpoint: CheckpointPath,
    source: Annotated[Positional[Path], arg(metavar="INPUT")],
    target: Annotated[Positional[Path], arg(metavar="OUT")],
    /,
    steady: bool = False,
    fit: bool = False,
    noise: Noise = None,
) -> None:
    """Translate a video frame by frame, keep the sound, and measure flicker.

    Args:
        fit: Resize frames of any size as a whole, instead of using tiles.
    """
    from p2plib.inference.video import translate_video

    check_writable(target)
    made = translate_video(p2plib.load(checkpoint), source, target, noise, steady, fit, progress=sys.stderr.isatty())
    height, width = made.size
    without = f" ({made.flicker_unsteadied:.2f} without --steady)" if steady else ""
    for note in made.notes:
        print(f"{source}: {note}")
    print(f"{made.path}: {made.frames} frames, {width}x{height}, {made.rate:.4g} frames per second")
    print(f"flicker {made.flicker:.2f}{without}: change from frame to frame, as a multiple of the source's")


@explained_by("p2plib.export.convert:export_model")
def export(
    checkpoint: CheckpointPath,
    /,
    format: Literal["savedmodel", "onnx", "litert", "openvino"],
    half: bool = False,
    out: Path | None = None,
) -> None:
    """Export the generator for other programs, and compare its output with Keras on 8 images."""
    from p2plib.export.convert import export_model

    done = export_model(checkpoint, format, half, out)
    print(done)
    print(f"exported: {done.folder}")


@explained_by("p2plib.export.publish:publish")
def publish(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    /,
    to: str,
    license: str | None = None,
    file: str | None = None,
    public: bool = False,
    dry_run: bool = False,
) -> None:
    """Publish a model with its card, metrics and exports on the Hugging Face Hub or Kaggle; private unless --public.

    What leaves is listed with sizes before anything is sent. The same command again makes a new version.
    """
    from p2plib.export import publish as module

    address = module.publish(run, to, license, file, public, dry_run)
    print("nothing was sent (--dry-run)" if address is None else f'published: {address}; use: p2plib.load("{to}")')


@explained_by("p2plib.web.serve:serve")
def web(
    checkpoints: Annotated[Positional[tuple[Path, ...]], arg(metavar="CHECKPOINT")],
    /,
    host: str = "127.0.0.1",
    port: int = 5000,
    examples: Path | None = None,
    max_megabytes: float = 25,
    max_megapixels: float = 50,
) -> None:
    """Try models in a browser: draw or upload an image and translate it. Ctrl-C stops the server.

    Args:
        checkpoints: .keras files or run folders; the first one is selected at startup. Default: the small models that
            come with p2plib.
        max_megabytes: Largest image file that is accepted.
        max_megapixels: Largest image that is accepted, in millions of pixels.
    """
    from p2plib.inference.checkpoint import shipped
    from p2plib.web import serve  # needs Flask, an extra
    from p2plib.web.limits import Limits

    if min(max_megabytes, max_megapixels) <= 0:
        raise ConfigError("--max-megabytes and --max-megapixels must be positive; leave them out for the usual limits.")
    limits = Limits(upload_bytes=round(max_megabytes * 1e6), pixels=round(max_megapixels * 1e6))
    serve(checkpoints or tuple(map(Path, shipped())), host, port, examples, limits)


COMMANDS: dict[str, Callable[..., Any]] = {
    "translate": translate,
    "video": video,
    "export": export,
    "publish": publish,
    "web": web,
}
