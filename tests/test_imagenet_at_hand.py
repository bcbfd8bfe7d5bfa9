"""Which ImageNet networks load without a download."""

import torch

from xai_lessons import imagenet


def test_those_in_the_cache_are_at_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert imagenet.at_hand() == ()
    (tmp_path / "checkpoints").mkdir()
    for file in ("resnet18-f37072fd.pth", "squeezenet1_0-b66bff10.pth", "other.pth"):
        (tmp_path / "checkpoints" / file).touch()
    assert imagenet.at_hand() == ("squeezenet1_0", "resnet18")
