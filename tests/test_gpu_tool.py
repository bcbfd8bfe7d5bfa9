from __future__ import annotations

import pytest
import torch

from tools import gpu


def test_the_deviation_is_relative_to_the_largest_value() -> None:
    reference = torch.tensor([1.0, -4.0])
    assert gpu.deviation(reference + torch.tensor([0.0, 0.4]), reference) == pytest.approx(0.1)
    assert gpu.deviation((reference, 3), (reference, 3)) == 0.0


def test_each_precision_has_its_limit() -> None:
    assert gpu.Row("m", torch.float32, 9e-4, 1, 1).holds
    assert not gpu.Row("m", torch.float32, 2e-3, 1, 1).holds
    assert not gpu.Row("m", torch.float64, 1e-8, 1, 1).holds


def test_without_cuda_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main() == 0
    assert "no CUDA device" in capsys.readouterr().out


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_every_method_is_the_same_on_cuda() -> None:
    assert [row for row in gpu.methods() if not row.holds] == []
