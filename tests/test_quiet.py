from __future__ import annotations

import os
import subprocess
import sys

import pytest


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return result.stderr


def test_a_terminal_shows_none_of_tensorflow_s_chatter():
    assert run("from p2plib import quiet; quiet.load('tensorflow')") == ""


def test_errors_and_other_lines_pass(tmp_path):
    lines = ["I0000 00:00:1 port.cc:1] on", "W0000 00:00:1 a.cc:1] slow", "E0000 00:00:1 b.cc:1] broken", "plain"]
    (tmp_path / "noisy.py").write_text(f"import os\nos.write(2, {chr(10).join(lines)!r}.encode())\n")
    said = run(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from p2plib import quiet; quiet.load('noisy')")
    assert said.split("\n") == lines[2:]


def test_an_error_of_the_import_is_raised():
    code = "from p2plib import quiet\ntry:\n    quiet.load('no_such_module')\nexcept ImportError:\n    print('raised')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "raised\n"


@pytest.mark.parametrize("settings", ["[]", '{"floatx": "int8"}', '{"image_data_format": "nchw"}'])
def test_settings_that_keras_does_not_start_with_are_named(tmp_path, settings):
    (tmp_path / "keras.json").write_text(settings)
    code = (
        "from p2plib import quiet\ntry:\n    quiet.load_keras()\nexcept quiet.ConfigError as error:\n    print(error)"
    )
    environment = os.environ | {"KERAS_HOME": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.startswith(f"{tmp_path / 'keras.json'}: Keras cannot start with it (")
    assert result.stdout.endswith("; mend or remove this file.\n")


def test_many_models_in_one_process_bring_no_advice_on_tracing():
    pytest.importorskip("tensorflow")
    code = """
import os
os.environ["KERAS_BACKEND"] = "tensorflow"
from p2plib import quiet
quiet.load_keras()
import tensorflow as tf
tf.get_logger().warning("5 out of the last %d calls to %s triggered tf.function retracing.", 9, "f")
tf.get_logger().warning("another warning")
"""
    assert [line for line in run(code).splitlines() if "WARNING" in line] == ["WARNING:tensorflow:another warning"]
