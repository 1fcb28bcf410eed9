"""Training and use on JAX where TensorFlow is not installed."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("jax")

CODE = """
import sys
from importlib.machinery import PathFinder

find_spec = PathFinder.find_spec
PathFinder.find_spec = classmethod(
    lambda cls, name, *more: None if name.partition(".")[0] in ("tensorflow", "tensorboard") else find_spec(name, *more)
)

import p2plib

settings = {"image_size": 32, "base_filters": 2, "receptive_field": 16, "epochs": 1, "batch_size": 5, "terms": {}}
run = p2plib.train(p2plib.TrainConfig(data=sys.argv[1], run_dir=sys.argv[2], **settings))
model = p2plib.load(run)
print("ssim", p2plib.evaluate(model).mean["ssim"])
p2plib.translate_files(model, [sys.argv[1] + "/val/10.png"], sys.argv[2] + "/out")
assert not any(name.partition(".")[0] == "tensorflow" for name in sys.modules)
"""


@pytest.mark.once
def test_jax_needs_no_tensorflow(tiny_pairs, tmp_path):
    command = [sys.executable, "-c", CODE, str(tiny_pairs), str(tmp_path / "run")]
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "runtime: jax on" in done.stdout and "ssim 0." in done.stdout
    assert (tmp_path / "run" / "out" / "10.png").is_file()
