"""The catalog says of each method what it gives: maps of that shape, with values below zero or without."""

import pytest

from methods import METHODS as SMALL
from nets import PoolingNet, pictures, seeded
from xai_lessons.methods import catalog


def test_every_entry_is_found_under_the_name_of_its_function():
    for name, method in catalog.METHODS.items():
        assert name == method.function.__name__
        assert getattr(catalog, method.code.split(".")[0]).__dict__[name] is method.function
        assert method.label
        assert method.meaning


MAPS = [name for name, method in catalog.METHODS.items() if method.returns != "other" and name in SMALL]


@pytest.mark.parametrize("name", MAPS)
def test_a_map_has_the_shape_and_the_sign_that_the_catalog_says(name):
    method = catalog.METHODS[name]
    maps = SMALL[name](seeded(PoolingNet), pictures(), [0, 1, 2])
    assert maps.shape == {"heatmap": (3, 16, 16), "attribution": (3, 3, 16, 16)}[method.returns]
    assert bool((maps < 0).any()) == method.signed
