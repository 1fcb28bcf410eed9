"""`kaggle`: train on Kaggle's free GPU or TPU."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from tyro.conf import Positional, arg

from p2plib.cli.texts import Config
from p2plib.config import TrainConfig
from p2plib.errors import KaggleError
from p2plib.kaggle.accelerators import ACCELERATORS

if TYPE_CHECKING:
    from p2plib.kaggle.kernel import Kernel

Folder = Annotated[Path, arg(help="The folder of the built kernel.")]
Metadata = Annotated[Path, arg(help="Your kernel-metadata.json: name, accelerator and sources of the kernel.")]
# Names live only in the table: the command line lists them, type checkers see plain strings.
if TYPE_CHECKING:
    AcceleratorName: TypeAlias = str
else:
    AcceleratorName = Literal[tuple(ACCELERATORS)]
Accelerator = Annotated[
    AcceleratorName | None,
    arg(help="Overrides the one in the metadata. L4, A100 and H100 need an account that has them."),
]
KernelId = Annotated[Positional[str | None], arg(metavar="OWNER/SLUG", help="Default: the kernel built last.")]

# Functions import what they call, so that `--help` is fast, without NumPy and Pillow.

BUILT = Path("build/kaggle")


def build(
    config: Config,
    metadata: Metadata = Path("kernel-metadata.json"),
    accelerator: Accelerator = None,
    out: Folder = BUILT,
) -> None:
    """Build a self-contained notebook for Kaggle with p2plib and the settings inside; nothing is sent."""
    from p2plib.kaggle import kernel

    _build(config, kernel.Kernel.read(metadata).with_data(config.data), accelerator, out)


def check(out: Folder = BUILT) -> int:
    """Check a built kernel for problems; the exit status is 1 if there are any."""
    from p2plib.kaggle import preflight

    problems = preflight.check(out)
    print("\n".join(problems) or f"{out} is ready: kaggle push sends it")
    return 1 if problems else 0


def push(
    config: Config,
    metadata: Metadata = Path("kernel-metadata.json"),
    accelerator: Accelerator = None,
    out: Folder = BUILT,
    dataset: str | None = None,
    license: str = "other",
    original: bool = False,
    dry_run: bool = False,
) -> None:
    """Build, check and push a kernel; its session starts at once. A folder of your own travels as a private data set.

    Args:
        dataset: Name of the data set for a folder of your own; default: "p2plib " and the folder's name.
        license: Kaggle's name of its license, such as CC-BY-4.0; default: other.
        original: Send the files as they are, not at the size of training.
        dry_run: Say what would leave this computer, and send nothing.
    """
    from p2plib.kaggle import kernel, own_data, owner

    made = owner.filled(kernel.Kernel.read(metadata))
    own = own_data.plan(config, made, out, dataset)
    there, made = own.attached(config, made) if own else (config, made.with_data(config.data))
    _build(there, made, accelerator, out)
    problems = _problems(out)
    if own and (dry_run or not problems):
        print(own.pack(config, original))
    if problems:
        raise KaggleError(problems)
    if dry_run:
        print("nothing was sent: this was a dry run")
        return
    if own:
        own.send(license, out)
    else:
        (out / own_data.RECORD).unlink(missing_ok=True)  # of a former kernel
    _send(out)


def status(kernel: KernelId = None, /, follow: bool = False, samples: bool = False, out: Folder = BUILT) -> int:
    """Show the status of a kernel's newest session; the exit status is 1 if it failed.

    Args:
        follow: Show its log with a progress bar until it ends, then pull the run into runs/SLUG and name the report.
        samples: With --follow, show the newest sample grid at each checkpoint, if Kaggle gives it before the end: as
            runs/SLUG-newest.png.
    """
    from p2plib.kaggle import client, watch

    if samples and not follow:
        raise KaggleError("--samples is about a session that is followed; add --follow.")
    name = kernel or _built(out).id
    if follow:
        status = watch.watch(name, _run(name), samples)
    else:
        status = client.status(name)
        print(f"{name}: {status}")
    return 1 if status.ended and status.state != "COMPLETE" else 0


def pull(
    kernel: KernelId = None,
    /,
    run: Path | None = None,
    only: Literal["best", "last", "all"] = "all",
    out: Folder = BUILT,
) -> None:
    """Download and verify the run of a kernel; a damaged or missing file never replaces a good one.

    Args:
        run: The run folder to download to; default: runs/SLUG.
        only: Which checkpoints; `all` includes the training state, for resuming on another machine.
    """
    from p2plib.kaggle import client

    name = kernel or _built(out).id
    print(client.pull(name, run or _run(name), only))


def resume(accelerator: Accelerator = None, out: Folder = BUILT, sessions: int | None = None) -> int:
    """Push the next part of a chain, which resumes the kernel built last with the same settings.

    Args:
        sessions: Go on by itself: follow each part to its end and push the next, until the training is complete or so
            many parts were pushed; the exit status is 1 if it is not complete then.
    """
    from p2plib.kaggle import chain

    if sessions is None:
        _push_next(accelerator, out)
        return 0
    if sessions < 1:
        raise KaggleError(f"sessions is {sessions}; it must be 1 or more.")
    return 0 if chain.go_on(lambda: _built(out).id, lambda: _push_next(accelerator, out), sessions) else 1


def _push_next(accelerator: str | None, out: Path) -> None:
    """Push the next part; `out` holds it once Kaggle has taken it, and the former part until then."""
    from p2plib.kaggle import kernel, own_data

    config, made = TrainConfig.read(out / kernel.CONFIG), _built(out).next_part()
    own_data.check_same(config, out)
    with TemporaryDirectory(prefix=f".{out.resolve().name}.", dir=out.resolve().parent) as place:
        new = Path(place)
        try:
            _build(config, made, accelerator, new, out)
            if problems := _problems(new):
                raise KaggleError(problems)
            _send(new)
        except KaggleError as error:
            raise KaggleError(str(error).replace(str(new), str(out))) from error
        for path in new.iterdir():
            os.replace(path, out / path.name)


def _run(kernel_id: str) -> Path:
    return Path("runs", kernel_id.partition("/")[2])


def _build(config: TrainConfig, made: Kernel, accelerator: str | None, out: Path, shown: Path | None = None) -> None:
    from p2plib.kaggle import kernel

    if accelerator:
        made = dataclasses.replace(made, accelerator=accelerator)
    folder = kernel.build(config, made, out)
    if (size := TrainConfig.read(folder / kernel.CONFIG).batch_size) != config.batch_size:
        print(f"batch_size is {size}, not {config.batch_size}, to divide by the devices of {made.accelerator}")
    print(f"built: {shown or folder}")


def _built(out: Path) -> Kernel:
    from p2plib.kaggle import kernel

    return kernel.Kernel.read(out / kernel.METADATA)


def _problems(out: Path) -> str:
    """Why a built kernel cannot be pushed; empty if it can."""
    from p2plib.kaggle import preflight

    problems = preflight.check(out)
    return "\n".join([f"{out} was not pushed:", *problems]) if problems else ""


def _send(out: Path) -> None:
    from p2plib.kaggle import client

    print(f"pushed: {client.push(out)}")


def with_defaults(config: TrainConfig) -> dict[str, Callable[..., Any]]:
    """The commands that take training options, with these defaults."""
    return {"build": functools.partial(build, config=config), "push": functools.partial(push, config=config)}


COMMANDS: dict[str, Callable[..., Any]] = {
    "build": build,
    "check": check,
    "push": push,
    "status": status,
    "pull": pull,
    "resume": resume,
}
