"""Stored networks: whole or refused, never half-loaded."""

import json
import os
import threading
from pathlib import Path

import pytest
import torch

from xai_lessons import models
from xai_lessons.core import files
from xai_lessons.models import architectures, store

SMALL = {"architecture": "ResNet", "arguments": {"classes": 3, "widths": [4, 4], "blocks": [1], "pools": [False]}}


@pytest.fixture
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        network = architectures.build(SMALL["architecture"], **SMALL["arguments"]).eval()
    return models.wrap(network, "abc", (0.5,) * 3, (0.25,) * 3, 32)


@pytest.fixture
def path(network, tmp_path):
    return store.save(network, tmp_path / "mine", SMALL)


def test_what_is_stored_comes_back_in_half_precision(network, path):
    again, card = store.load(path), store.card(str(path))
    for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a.half().float() if a.is_floating_point() else a, b)
    assert card["name"] == "mine"
    assert sorted(p.name for p in path.parent.iterdir()) == ["mine.json", "mine.safetensors"]


def test_values_that_half_precision_cannot_hold_are_kept_whole(network, tmp_path):
    network.network.stem[1].running_var.fill_(1e6)
    again = store.load(store.save(network, tmp_path / "wide", SMALL))
    assert torch.equal(again.network.stem[1].running_var, network.network.stem[1].running_var)


@pytest.mark.parametrize("ending", ["", ".json", ".safetensors"])
def test_it_is_found_with_and_without_an_ending(path, ending):
    assert store.find(f"{path}{ending}") == path
    assert store.card(f"{path}{ending}")["architecture"] == "ResNet"


@pytest.mark.parametrize("name", ["", ".", "/", "no-such-network", "../nothing"])
def test_what_is_not_there_is_not_found(name):
    assert store.find(name) is None
    with pytest.raises(ValueError, match="no stored network"):
        store.card(name)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "append"])
def test_a_damaged_weights_file_is_refused(path, damage):
    file = path.with_name("mine.safetensors")
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    file.write_bytes({"cut": content[:-9], "flip": content, "empty": b"", "append": content + b"x"}[damage])
    with pytest.raises(ValueError, match="mine.safetensors is damaged.*hash"):
        store.load(path)
    with pytest.raises(ValueError, match="is damaged"):
        models.load(str(path))


def test_missing_weights_are_named(path):
    path.with_name("mine.safetensors").unlink()
    with pytest.raises(ValueError, match="weights of 'mine' are missing"):
        store.load(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{ not json", "mine.json is damaged"),
        ("", "mine.json is damaged"),
        ("[]", "does not say architecture, arguments, classes, mean, std, input_size, sha256"),
        ('{"architecture": "ResNet"}', "does not say arguments, classes, mean, std, input_size, sha256"),
    ],
)
def test_a_damaged_card_is_refused(path, content, says):
    path.with_name("mine.json").write_text(content)
    with pytest.raises(ValueError, match=says):
        store.load(path)


def change_card(path, **facts):
    file = path.with_name("mine.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"arguments": SMALL["arguments"] | {"classes": 4}}, "do not fit the network on its card"),
        ({"arguments": {"colors": 3}}, "do not fit.*colors"),
        ({"architecture": "Transformer"}, "no architecture 'Transformer'"),
    ],
)
def test_a_card_of_another_network_is_refused(path, facts, says):
    change_card(path, **facts)
    with pytest.raises(ValueError, match=says):
        store.load(path)


def test_a_card_must_say_how_the_network_is_built(network, tmp_path):
    with pytest.raises(ValueError, match="must contain 'architecture' and 'arguments'"):
        store.save(network, tmp_path / "x", {})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "a"
    file.write_bytes(b"old")

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        files.write_whole(file, b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"old")]


def test_a_link_in_the_place_of_the_unfinished_file_is_not_followed(tmp_path):
    other = tmp_path / "somebody's"
    other.write_bytes(b"theirs")
    (tmp_path / f"a.{os.getpid()}.{threading.get_ident()}.part").symlink_to(other)
    files.write_whole(tmp_path / "a", b"new")
    assert sorted((p.name, p.read_bytes()) for p in tmp_path.iterdir()) == [("a", b"new"), ("somebody's", b"theirs")]


@pytest.mark.parametrize("name", store.built_in())
def test_the_built_in_networks_are_whole_small_and_carded(name):
    network, card = store.load(store.WEIGHTS / name), store.card(name)
    assert card["name"] == name
    for key in ("summary", "classes", "data", "recipe", "test", "faults", "history"):
        assert card[key], key
    limit = 2e6 if name.startswith("cifar10") else 1e6
    assert (store.WEIGHTS / f"{name}.safetensors").stat().st_size <= limit
    assert all(torch.isfinite(v).all() for v in network.state_dict().values())
