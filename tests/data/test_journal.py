"""A check of many pairs goes on where it was interrupted."""

import numpy as np
import pytest
from test_check import noise, save

from p2plib.data import check as checker
from p2plib.data import journal
from p2plib.data.check import check
from p2plib.data.pack import pack


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Twelve pairs: two broken, two equal, one solid; so few count as many here."""
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(journal, "MANY", 5)
    for i in range(12):
        save(tmp_path / "data" / ("val" if i > 8 else "train") / f"{i}.png", noise(0 if i == 10 else i, 32, 64))
    save(tmp_path / "data/train/5.png", np.zeros((32, 64, 3), np.uint8))
    for i in (3, 11):
        save(tmp_path / "data" / ("val" if i > 8 else "train") / f"{i}.png", noise(i, 32, 63))
    return tmp_path / "data"


@pytest.fixture
def looked(monkeypatch) -> list[str]:
    """The names of the pairs that are looked at; the check is interrupted at the eighth, once."""
    names: list[str] = []
    inspect = checker._inspect

    def look(pair, kinds):
        names.append(pair.name)
        if len(names) == 8:
            raise KeyboardInterrupt
        return inspect(pair, kinds)

    monkeypatch.setattr(checker, "_inspect", look)
    monkeypatch.setattr(checker.os, "cpu_count", lambda: 1)
    return names


def test_what_was_seen_is_not_looked_at_again(root, looked, capsys, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        check(root)
    assert len(looked) >= 8
    first = set(looked[:7])
    looked[:] = [""] * 8
    save(root / "train/1.png", noise(77, 64, 128))  # changed since
    report = check(root)
    assert "going on with an interrupted check, which has seen" in capsys.readouterr().err
    again = set(looked[8:])
    assert "train/1.png" in again and not again & (first - {"train/1.png"})
    assert not list((tmp_path / "cache/checks").iterdir())
    assert report == check(root)  # as if it had never been interrupted
    assert [problem.name for problem in report.broken] == ["train/3.png", "val/11.png"]
    assert {problem.kind for problem in report.problems} == {"odd width", "near-constant", "in two splits"}


def test_a_pack_is_checked_on_by_its_content(root, looked, tmp_path):
    for name in ("train/3.png", "val/11.png"):
        (root / name).unlink()
    pack(str(root), tmp_path / "pack")
    with pytest.raises(KeyboardInterrupt):
        check(tmp_path / "pack")
    first = set(looked[:7])
    looked[:] = [""] * 8
    check(tmp_path / "pack")
    assert first and not first & set(looked[8:])


def test_without_a_cache_nothing_is_kept(root, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("P2PLIB_CACHE", str(tmp_path / "file"))
    assert len(check(root).broken) == 2


def test_a_line_that_was_cut_off_is_passed_over(root, looked, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        check(root)
    [kept] = (tmp_path / "cache/checks").iterdir()
    lines = kept.read_text().splitlines()
    kept.write_text("\n".join([*lines[:-1], lines[-1][:40]]))
    assert len(check(root).broken) == 2


def test_damage_in_a_pack_of_many_is_reported(root, tmp_path):
    for name in ("train/3.png", "val/11.png"):
        (root / name).unlink()
    pack(str(root), tmp_path / "pack")
    content = bytearray((tmp_path / "pack/train-00000.tar").read_bytes())
    content[3000] ^= 1
    (tmp_path / "pack/train-00000.tar").write_bytes(content)
    assert [problem.name for problem in check(tmp_path / "pack").broken] == ["train/0.png"]
