"""The rules, for machines that are not here; and what `start` does on the one that is."""

from __future__ import annotations

import json
import os

import pytest
from fresh import run_and_list

from p2plib import runtime
from p2plib.config import TrainConfig
from p2plib.errors import ConfigError
from p2plib.runtime import BACKENDS, Gpu, Machine, decide, describe, detect

BOTH = frozenset({"tensorflow", "jax"})
TF = frozenset({"tensorflow"})
PLAIN_CPU = Machine(backends=BOTH)
FAST_CPU = Machine(frozenset({"avx512_bf16"}), backends=BOTH)
T4_X2 = Machine(gpus=(Gpu("Tesla T4", 7.5),) * 2, backends=BOTH, gpu_backends=BOTH)
A100 = Machine(gpus=(Gpu("NVIDIA A100-SXM4-40GB", 8.0),), backends=TF, gpu_backends=TF)
K80 = Machine(gpus=(Gpu("Tesla K80", 3.7),), backends=TF, gpu_backends=TF)
TPU_V5E8 = Machine(tpu_cores=8, backends=BOTH)
GPU_BUT_CPU_BUILD = Machine(gpus=(Gpu("NVIDIA A100", 8.0),), backends=TF)
GPU_FOR_JAX_ONLY = Machine(gpus=(Gpu("NVIDIA H200", 9.0),), backends=BOTH, gpu_backends=frozenset({"jax"}))


@pytest.mark.parametrize(
    ("machine", "plan"),
    [
        (PLAIN_CPU, "tensorflow on CPU, float32, XLA off"),
        (FAST_CPU, "tensorflow on CPU, mixed_bfloat16, XLA off"),
        (T4_X2, "tensorflow on 2 x GPU, mixed_float16, XLA on"),
        (A100, "tensorflow on GPU, mixed_bfloat16, XLA on"),
        (K80, "tensorflow on GPU, float32, XLA on"),
        (TPU_V5E8, "jax on 8 x TPU, mixed_bfloat16, XLA on"),
        (GPU_BUT_CPU_BUILD, "tensorflow on CPU, float32, XLA off"),
        (GPU_FOR_JAX_ONLY, "jax on GPU, mixed_bfloat16, XLA on"),
        (Machine(backends=frozenset({"jax"})), "jax on CPU, float32, XLA on"),
    ],
)
def test_rules(machine, plan):
    assert str(decide(machine)) == plan


@pytest.mark.parametrize(
    ("vendor", "device", "found"),
    [("0x1ae0", "0x0063", True), ("0x1ae0", "0x0042", False), ("0x10de", "0x0063", False), ("", "", False)],
    ids=["TPU v5e", "Google's network card", "another maker", "unreadable"],
)
def test_a_tpu_is_found_on_the_bus(tmp_path, vendor, device, found):
    (tmp_path / "0000:00:04.0").mkdir()
    for name, text in {"vendor": vendor, "device": device}.items():
        if text:
            (tmp_path / "0000:00:04.0" / name).write_text(f"{text}\n")
    assert runtime._tpu_chips(tmp_path) is found
    assert not runtime._tpu_chips(tmp_path / "missing")


def test_the_ids_of_tpus_are_those_that_jax_knows():
    known = pytest.importorskip("jax._src.hardware_utils")
    assert known._GOOGLE_PCI_VENDOR_ID == runtime._GOOGLE
    assert set(known._TPU_PCI_DEVICE_IDS) <= runtime._TPUS


@pytest.mark.parametrize(
    ("machine", "choice", "plan"),
    [
        (FAST_CPU, {"backend": "jax"}, "jax on CPU, float32, XLA on"),
        (FAST_CPU, {"backend": "jax", "xla": "off"}, "jax on CPU, float32, XLA on"),
        (FAST_CPU, {"precision": "float32", "xla": "on"}, "tensorflow on CPU, float32, XLA on"),
        (TPU_V5E8, {"backend": "tensorflow"}, "tensorflow on CPU, float32, XLA off"),
        (T4_X2, {"backend": "jax", "precision": "mixed_bfloat16"}, "jax on 2 x GPU, mixed_bfloat16, XLA on"),
        (A100, {"xla": "off"}, "tensorflow on GPU, mixed_bfloat16, XLA off"),
        (GPU_FOR_JAX_ONLY, {"backend": "tensorflow"}, "tensorflow on CPU, float32, XLA off"),
    ],
)
def test_an_explicit_choice_wins(machine, choice, plan):
    assert str(decide(machine, **choice)) == plan


def test_strategies():
    assert decide(PLAIN_CPU).strategy == "single"
    assert decide(T4_X2).strategy == "mirrored"
    assert decide(TPU_V5E8).strategy == "data_parallel"


def test_a_backend_that_is_missing_is_named():
    with pytest.raises(ConfigError, match=r"jax.*pip install 'p2plib\[jax\]'"):
        decide(A100, "jax")
    with pytest.raises(ConfigError, match=r"pip install 'p2plib\[tensorflow\]'"):
        decide(Machine(backends=frozenset()))


def test_detect_finds_what_the_tests_run_on():
    assert detect().backends >= {os.environ.get("KERAS_BACKEND", "tensorflow")}
    assert describe()["versions"]["keras"]


@pytest.mark.parametrize(
    ("limit", "found"),
    [
        ("", {"avx512_bf16", "amx_bf16"}),
        ("AVX512_CORE_AMX", {"avx512_bf16", "amx_bf16"}),
        ("AVX512_CORE", set()),
        ("avx2", set()),
    ],
)
def test_onednn_may_be_told_to_leave_out_what_the_processor_can(monkeypatch, limit, found):
    monkeypatch.setattr("p2plib.runtime._cpuinfo", lambda key: "fpu avx2 avx512f avx512_bf16 amx_bf16")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert detect().cpu_flags == found


def test_importing_is_quick_and_light():
    code = (
        "import time; start = time.perf_counter(); import p2plib; p2plib.TrainConfig; "
        "assert time.perf_counter() - start < 5, 'absurdly slow'"
    )
    assert run_and_list(code, "keras", "tensorflow", "jax", "matplotlib", "tyro", "requests") == ("", [])


@pytest.mark.keras
def test_start_keeps_to_the_backend_that_runs(capfd):
    import keras

    from p2plib import runtime

    running = keras.backend.backend()
    assert runtime.start().backend == running
    other = ({"tensorflow", "jax"} - {running}).pop()
    with pytest.raises(ConfigError, match=f"KERAS_BACKEND={other}"):
        runtime.start(TrainConfig(backend=other))


@pytest.mark.parametrize("backend", ["torch", "numpy", "openvino", "tensorflw", "TensorFlow"])
def test_another_backend_is_refused_with_what_there_is(backend):
    with pytest.raises(ConfigError, match=rf"backends tensorflow and jax, not on '{backend}'; set KERAS_BACKEND"):
        decide(PLAIN_CPU, backend)


@pytest.mark.keras
def test_an_empty_variable_asks_for_no_backend(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "")
    assert runtime.start().backend in BACKENDS


def test_settings_of_keras_on_this_machine_change_nothing(tmp_path, monkeypatch):
    settings = {"floatx": "float16", "epsilon": 0.1, "backend": "torch", "image_data_format": "channels_first"}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_MAX_EPOCHS", "1")
    code = "from p2plib import runtime; runtime.start(); import keras\n"
    code += "print(keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format())\n"
    code += "print(keras.config.dtype_policy().name, keras.config.backend())"
    printed = run_and_list(code)[0].splitlines()
    assert printed[-2:] == ["float32 1e-07 channels_last", f"float32 {os.environ.get('KERAS_BACKEND', 'tensorflow')}"]
    assert any("does not use: floatx, epsilon, image_data_format" in line for line in printed)
