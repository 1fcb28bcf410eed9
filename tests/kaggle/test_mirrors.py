from __future__ import annotations

import re
from pathlib import PurePosixPath

from p2plib.data.catalog import CATALOG
from p2plib.kaggle.mirrors import MIRRORS


def test_mirrors_are_of_catalog_data_sets_that_need_one():
    assert MIRRORS.keys() <= CATALOG.keys()
    assert "toy" not in MIRRORS


def test_slugs_and_folders_are_well_formed_and_each_place_is_named_once():
    places = [mirror for mirrors in MIRRORS.values() for mirror in mirrors]
    assert len(set(places)) == len(places)
    for mirror in places:
        assert re.fullmatch("[a-z0-9-]+/[a-z0-9-]{5,}", mirror.slug)
        assert not PurePosixPath(mirror.folder).is_absolute()
