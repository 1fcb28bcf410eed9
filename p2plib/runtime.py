"""Chooses backend, devices, precision and compilation once, before Keras is imported.

`detect` inspects the machine, `decide` applies the rules (a pure function, testable without the hardware), and `start`
applies the result. The rules are based on measurements:

- TPU: JAX, bfloat16. TensorFlow cannot use Kaggle's TPUs; JAX can.
- GPU: XLA; bfloat16 from compute capability 8.0 (Ampere) on, else float16 from 7.0 (Volta, T4) on, else float32.
- CPU: TensorFlow without XLA (a step took 1.3 s, and 4.9 s with XLA); bfloat16 only with hardware support (avx512_bf16
  or amx_bf16: 0.32 s per image instead of 0.68 s).
- Several devices: `MirroredStrategy` on TensorFlow, `keras.distribution.DataParallel` on JAX.

An explicit choice (a `TrainConfig` field, or $KERAS_BACKEND) always wins.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2plib import hosts, quiet
from p2plib.errors import ConfigError

if TYPE_CHECKING:
    from p2plib.config import TrainConfig


BACKENDS = ("tensorflow", "jax")
"""The backends of Keras that p2plib runs on."""
_KERAS = {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}
_KERAS |= {"max_epochs": None, "max_steps_per_epoch": None}
"""The settings of Keras that results depend on, as p2plib needs them."""

_GOOGLE = "0x1ae0"
_TPUS = {"0x0027", "0x0056", "0x005e", "0x0062", "0x0063", "0x006f", "0x0076"}  # what else Google makes is no TPU


@dataclass(frozen=True)
class Gpu:
    """A GPU: its name and CUDA compute capability."""

    name: str
    capability: float


@dataclass(frozen=True)
class Machine:
    """The properties of a machine that `decide` needs."""

    cpu_flags: frozenset[str] = frozenset()
    """Relevant processor features: avx512_bf16, amx_bf16."""
    gpus: tuple[Gpu, ...] = ()
    tpu_cores: int = 0
    backends: frozenset[str] = frozenset({"tensorflow"})
    """Installed backends: tensorflow, jax."""
    gpu_backends: frozenset[str] = frozenset()
    """Installed backends whose build can use a GPU."""


@dataclass(frozen=True)
class Plan:
    """Backend, devices, precision and compilation of a training."""

    backend: str
    device: str
    """cpu, gpu or tpu"""
    devices: int
    precision: str
    xla: bool

    @property
    def strategy(self) -> str:
        """single, mirrored (TensorFlow) or data_parallel (JAX)."""
        if self.devices == 1:
            return "single"
        return "mirrored" if self.backend == "tensorflow" else "data_parallel"

    def __str__(self) -> str:
        count = f"{self.devices} x " if self.devices > 1 else ""
        return f"{self.backend} on {count}{self.device.upper()}, {self.precision}, XLA {'on' if self.xla else 'off'}"


def detect() -> Machine:
    """Inspect this machine without importing a backend."""
    backends = frozenset(name for name in BACKENDS if find_spec(name))
    gpu_backends = set()
    if "tensorflow" in backends and not _installed("tensorflow-cpu", "tensorflow_cpu"):
        gpu_backends.add("tensorflow")
    if "jax" in backends and any(find_spec(f"jax_cuda{version}_plugin") for version in (12, 13)):
        gpu_backends.add("jax")
    return Machine(_cpu_flags(), _gpus(), _tpu_cores(), backends, frozenset(gpu_backends))


def decide(machine: Machine, backend: str | None = None, precision: str = "auto", xla: str = "auto") -> Plan:
    """Apply the rules at the top of this file.

    Args:
        machine: from `detect`.
        backend: an explicit choice; None applies the rules.
        precision: a Keras dtype policy, or "auto".
        xla: "on", "off" or "auto".

    Raises:
        ConfigError: no backend is installed, or the chosen one is not, or is another than TensorFlow and JAX.
    """
    if backend not in (None, *BACKENDS):
        raise ConfigError(
            f"p2plib runs on the Keras backends {' and '.join(BACKENDS)}, not on {backend!r}; set KERAS_BACKEND to one "
            "of them, or unset it, and start again."
        )
    any_backend = _pick(machine.backends, backend)
    if not any_backend:
        name = backend or "tensorflow"
        raise ConfigError(f"The Keras backend {name!r} is not installed; run: pip install 'p2plib[{name}]'")
    gpu_backend = _pick(machine.gpu_backends, backend)
    if machine.tpu_cores and "jax" in machine.backends and backend in (None, "jax"):
        device, chosen, found = "tpu", "jax", machine.tpu_cores
    elif machine.gpus and gpu_backend:
        device, chosen, found = "gpu", gpu_backend, len(machine.gpus)
    else:
        device, chosen, found = "cpu", any_backend, 1
    return Plan(
        backend=chosen,
        device=device,
        devices=found,
        precision=_precision(machine, device, chosen) if precision == "auto" else precision,
        xla=chosen == "jax" or (device != "cpu" if xla == "auto" else xla == "on"),  # JAX always compiles
    )


def start(config: TrainConfig | None = None) -> Plan:
    """Decide for this machine, apply the plan, and print it in one line. Call this before importing Keras.

    Args:
        config: only `backend`, `precision`, `xla`, `deterministic` and `distributed` matter; None applies the rules.

    Raises:
        ConfigError: the chosen backend is not installed, Keras already runs on another one, or see `hosts.join`.
    """
    asked: str | None = None if config is None or config.backend == "auto" else config.backend
    if "keras" in sys.modules:
        running = sys.modules["keras"].backend.backend()
        if asked not in (None, running):
            raise ConfigError(
                f"Keras already runs on {running}, and a process can use only one; restart with KERAS_BACKEND={asked}."
            )
        asked = running
    asked = asked or os.environ.get("KERAS_BACKEND") or None
    choices = ("auto", "auto") if config is None else (config.precision, config.xla)
    machine = detect()
    plan = decide(machine, asked, *choices)
    os.environ["KERAS_BACKEND"] = plan.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors still arrive as exceptions
    if config is not None and config.deterministic:
        _repeat_exactly(plan)
    _set_keras()
    if config is not None and config.distributed:
        hosts.join()
    seen = _visible_devices(plan)
    if plan.device != "cpu" and not seen:  # there is a driver, but this build of the backend cannot use it
        _say(f"{plan.backend} does not see the {plan.device.upper()} of this machine: is the right build installed?")
        plan = decide(replace(machine, gpus=(), tpu_cores=0), plan.backend, *choices)
        seen = 1
    plan = replace(plan, devices=max(seen, 1))
    if str(plan) not in _said:
        _say(str(plan))
    return plan


@contextlib.contextmanager
def distributed(plan: Plan) -> Iterator[contextlib.AbstractContextManager[Any]]:
    """Train on all devices of `plan` in this context; yields the scope for building and compiling the model."""
    if plan.strategy == "mirrored":
        import tensorflow as tf

        devices = tf.config.list_logical_devices(plan.device.upper())
        yield tf.distribute.MirroredStrategy([device.name for device in devices]).scope()
    elif plan.strategy == "data_parallel":
        import keras

        with _keras_distribution(keras.distribution.DataParallel(auto_shard_dataset=False)):
            yield contextlib.nullcontext()
    else:
        yield contextlib.nullcontext()


@contextlib.contextmanager
def one_device() -> Iterator[None]:
    """Disable Keras' distribution, if Keras is imported, in this block, for what one device does."""
    with _keras_distribution(None) if "keras" in sys.modules else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def _keras_distribution(value: Any) -> Iterator[None]:
    import keras

    before = keras.distribution.distribution()
    keras.distribution.set_distribution(value)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Use the Keras dtype policy `name`, for example "mixed_bfloat16", for layers built in this block."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def describe() -> dict[str, Any]:
    """Versions and hardware for the records of a run: plain values, without paths, user names or addresses."""
    packages = ("p2plib", "keras", "tensorflow", "tensorflow-cpu", "jax", "numpy", "pillow")
    versions = {name: importlib.metadata.version(name) for name in packages if _installed(name)}
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "gpus": [gpu.name for gpu in _gpus()],
        "tpu_cores": _tpu_cores(),
        "versions": versions,
    }


def _pick(backends: frozenset[str], asked: str | None = None) -> str | None:
    """The requested backend if it is in `backends`, else TensorFlow, else JAX."""
    return next((name for name in ([asked] if asked else BACKENDS) if name in backends), None)


def _precision(machine: Machine, device: str, backend: str) -> str:
    if device == "tpu":
        return "mixed_bfloat16"
    if device == "gpu":
        weakest = min(gpu.capability for gpu in machine.gpus)
        return "mixed_bfloat16" if weakest >= 8 else "mixed_float16" if weakest >= 7 else "float32"
    fast = backend == "tensorflow" and machine.cpu_flags & {"avx512_bf16", "amx_bf16"}
    return "mixed_bfloat16" if fast else "float32"


def _visible_devices(plan: Plan) -> int:
    """Import the backend and count the planned kind of devices that it sees."""
    if plan.backend == "jax":
        import jax

        return sum({"cuda": "gpu", "rocm": "gpu"}.get(d.platform, d.platform) == plan.device for d in jax.devices())
    import tensorflow as tf

    return len(tf.config.list_logical_devices(plan.device.upper()))


def _set_keras() -> None:
    """Undo what ~/.keras/keras.json or the environment set otherwise, and say so."""
    keras = quiet.load_keras()
    found = {name: getattr(keras.config, name)() for name in _KERAS if hasattr(keras.config, name)}
    ignored = [name for name, value in found.items() if value != _KERAS[name]]
    for name in ignored:
        getattr(keras.config, f"set_{name}")(_KERAS[name])
    if "floatx" in ignored:
        keras.config.set_dtype_policy("float32")
    if ignored:
        _say(f"settings of Keras on this machine that p2plib does not use: {', '.join(ignored)}")


def _repeat_exactly(plan: Plan) -> None:
    """Enable the backend's deterministic operations; JAX reads the flag when it starts."""
    if plan.backend == "jax":
        flags = os.environ.get("XLA_FLAGS", "")
        if "xla_gpu_deterministic_ops" not in flags:
            os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
        return
    quiet.load("tensorflow").config.experimental.enable_op_determinism()


def _installed(*distributions: str) -> bool:
    def there(name: str) -> bool:
        try:
            return bool(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            return False

    return any(map(there, distributions))


def _cpu_flags() -> frozenset[str]:
    """Of the features that matter, those of this processor that oneDNN, TensorFlow's library, may use.

    A variable can limit oneDNN to what older processors know. It is then slow at bfloat16, or fails at it.
    """
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    if limit.startswith(("SSE", "AVX2")) or limit in ("AVX", "AVX512_CORE", "AVX512_CORE_VNNI"):
        return frozenset()
    return frozenset({"avx512_bf16", "amx_bf16"} & set(_cpuinfo("flags").split()))


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _gpus() -> tuple[Gpu, ...]:
    query = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        output = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [line.rsplit(",", 1) for line in output.splitlines() if "," in line]
    return tuple(Gpu(name.strip(), float(capability)) for name, capability in rows)


def _tpu_cores() -> int:
    """At least 1 if a TPU is attached; JAX knows the exact number once it runs."""
    marked = os.environ.get("ISTPUVM") == "1" or "TPU_PROCESS_ADDRESSES" in os.environ  # on Kaggle
    return int((marked or _tpu_chips()) and find_spec("jax") is not None)


def _tpu_chips(devices: Path = Path("/sys/bus/pci/devices")) -> bool:
    """Whether a TPU is on this machine's bus, where JAX looks for it: in Colab no variable says so."""
    with contextlib.suppress(OSError):
        ids = [[(path / name).read_text().strip() for name in ("vendor", "device")] for path in devices.glob("*")]
        return any(vendor == _GOOGLE and device in _TPUS for vendor, device in ids)
    return False


_said: set[str] = set()


def _say(line: str) -> None:
    _said.add(line)
    print(f"runtime: {line}", flush=True)  # noqa: T201
