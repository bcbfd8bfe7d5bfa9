"""The doctor for a network of one's own: what it finds, in plain words."""

import pytest
import torch
from torch import nn

from nets import FlatNet, PoolingNet, seeded
from xai_lessons.command import cli
from xai_lessons.command.network_doctor import diagnose, load_network

FILE = """
import torch
from torch import nn
from helper_beside import WIDTH

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, WIDTH, 3), nn.Linear(WIDTH, 3)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).mean(dim=(2, 3)))

ready = Net()

def make():
    return Net()

def gray():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

def fails():
    return 1 / 0

number = 3
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "helper_beside.py").write_text("WIDTH = 4\n")
    (tmp_path / "mine.py").write_text(FILE)
    return tmp_path / "mine.py"


def found(module, **options):
    findings, model = diagnose(module, **options)
    return {f.subject: f for f in findings}, model


@pytest.mark.parametrize("name", ["Net", "ready", "make"])
def test_a_network_is_fetched_from_a_file_as_class_object_or_function(file, name):
    assert type(load_network(f"{file}:{name}")).__name__ == "Net"


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("mine.py", "write file.py:name"),
        ("nothing.py:Net", "with a file that is there"),
        ("{file}:Nett", "has no 'Nett': it has .*Net.*make"),
        ("{file}:fails", "fails with ZeroDivisionError: division by zero"),
    ],
)
def test_what_cannot_be_fetched_is_one_sentence(file, place, says):
    with pytest.raises(ValueError, match=says):
        load_network(place.format(file=file))


def test_a_file_that_does_not_run_says_why(tmp_path):
    (tmp_path / "bad.py").write_text("import no_such_module_at_all")
    with pytest.raises(ValueError, match="fails with ModuleNotFoundError: No module named"):
        load_network(f"{tmp_path / 'bad.py'}:Net")


def test_a_good_network_and_its_relus():
    findings, model = found(seeded(PoolingNet, dtype=torch.float32), input_size=16)
    assert findings["channels"].found == "3"
    assert findings["input size"].found == "16 x 16 only"
    assert findings["output"].found == "5 scores a picture"
    assert findings["layers"].found == "last"
    assert findings["ReLUs"].found.startswith("2 modules (1 in place, 1 used several times), 1 functional")
    for name in ("cam.cam", "cam.grad_cam", "saliency.gradient", "saliency.guided_backprop", "saliency.lrp"):
        assert findings[name].found == "applies", findings[name]
    assert not any(f.advice for f in findings.values())
    assert model.input_size == 16


def test_a_fully_connected_head_has_no_cam_and_one_size():
    findings, model = found(seeded(FlatNet, size=32, dtype=torch.float32))
    assert findings["input size"].found == "32 x 32 only"
    assert findings["cam.cam"].found == "does not apply"
    assert "grad_cam" in findings["cam.cam"].advice
    assert findings["cam.grad_cam"].found == "applies"
    assert model.fixed_size


def after(*more):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3), *more)


def test_probabilities_and_an_activation_without_a_rule():
    findings, model = found(after(nn.Softmax(1)), input_size=16)
    assert "returns probabilities" in findings["output"].found
    assert model.probabilities
    assert findings["saliency.guided_backprop"].found == "does not apply"
    assert "silu" in findings["saliency.guided_backprop"].advice
    assert findings["saliency.lrp"].found == "does not apply"
    assert findings["saliency.gradient"].found == "applies"


def test_of_several_sizes_the_right_one_is_asked_for():
    findings, model = found(after())
    assert findings["input size"].found.startswith("224 x 224; takes also 96")
    assert "--input-size" in findings["input size"].advice
    assert model.input_size == 224


@pytest.mark.parametrize(
    ("module", "subject", "says"),
    [
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(9, 3)), "channels", "RGB"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(5, 3)), "input size", "cannot be multiplied"),
        (nn.Sequential(nn.Flatten(), nn.Linear(768, 3)), "channels", "occlusion"),
        (nn.Sequential(nn.Flatten(), nn.Linear(768, 3)), "wrap", "no layer that keeps a map"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(3)), "network", "run it once"),
        (lambda x: x, "network", "take any function"),
        (3, "network", "any function"),
    ],
)
def test_what_cannot_be_wrapped_is_explained(module, subject, says):
    size = 16 if subject == "wrap" else None
    findings, model = found(module, input_size=size)
    assert model is None
    assert says in findings[subject].advice


def test_broken_weights_are_named():
    net = after()
    with torch.no_grad():
        net[0].weight[0] = float("nan")
    findings, model = found(net, input_size=16)
    assert "0.weight holds NaN" in findings["network"].advice
    assert model is None


def test_it_leaves_the_network_as_it_was():
    net = seeded(PoolingNet, dtype=torch.float32).train()
    found(net, input_size=16)
    assert net.training
    assert net.norm.training
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert not any(m._forward_hooks for m in net.modules())


def test_from_the_command_line(file, capsys):
    assert cli.main(["doctor", "--network", f"{file}:make", "--input-size", "24"]) == 0
    said = capsys.readouterr().out
    assert "models.wrap(network, input_size=24) takes it" in said
    assert "0 modules (0 in place, 0 used several times), 1 functional" in said
    assert cli.main(["doctor", "--network", f"{file}:gray", "--input-size", "24"]) == 1
    assert "refuses it as it is" in capsys.readouterr().out
    assert cli.main(["doctor", "--network", f"{file}:number"]) == 1
    assert cli.main(["doctor", "--network", "nothing"]) == 2
    assert "write file.py:name" in capsys.readouterr().err
