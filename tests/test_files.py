from __future__ import annotations

import pytest

from p2plib.files import remove_leftovers, replacing, write_text


def test_new_content_appears_whole(tmp_path):
    target = tmp_path / "deep" / "log.csv"
    write_text(target, "ä\n")
    assert target.read_text(encoding="utf-8") == "ä\n"
    assert [path.name for path in target.parent.iterdir()] == ["log.csv"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_keeps_the_old_content_and_leaves_nothing(tmp_path, error):
    target = tmp_path / "log.csv"
    write_text(target, "old")
    with pytest.raises(error), replacing(target) as temporary:
        temporary.write_text("half")
        assert target.read_text() == "old"
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_file_has_the_suffix_that_writers_look_at(tmp_path):
    with replacing(tmp_path / "model.weights.keras") as temporary:
        assert temporary.suffix == ".keras"
        assert temporary.parent == tmp_path
        temporary.touch()


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path):
    killed, kept = replacing(tmp_path / "deep" / "state.npz").__enter__(), tmp_path / "deep" / "my.part.npz"
    killed.touch()
    kept.touch()
    (tmp_path / "deep" / ".onnx.x1y2.part" / "new").mkdir(parents=True)  # of an export
    (tmp_path / "deep" / ".onnx.x1y2.part" / "new" / "model.onnx").touch()
    remove_leftovers(tmp_path)
    assert list((tmp_path / "deep").iterdir()) == [kept]
