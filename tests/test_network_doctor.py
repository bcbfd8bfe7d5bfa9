"""The doctor for a network of one's own: what it finds, in plain words."""

import pytest
import torch
from torch import nn

from nets import FlatNet, PoolingNet, seeded
from xai_lessons.command import cli
from xai_lessons.command.network_doctor import diagnose, load_network
from xai_lessons.methods import saliency

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
        ("nothing.py:Net", "with the path of an existing file"),
        ("{file}:Nett", "has no 'Nett': it has .*Net.*make"),
        ("{file}:fails", "fails with ZeroDivisionError: division by zero"),
    ],
)
def test_what_cannot_be_fetched_is_one_sentence(file, place, says):
    with pytest.raises(ValueError, match=says):
        load_network(place.format(file=file))


def test_a_file_that_is_no_python_is_one_sentence(tmp_path):
    (tmp_path / "net.pth").write_bytes(b"weights")
    with pytest.raises(ValueError, match=r"net\.pth is not a Python file: write file\.py:name"):
        load_network(f"{tmp_path / 'net.pth'}:net")


def test_a_detector_from_the_command_line(tmp_path, capsys):
    lines = ("from xai_lessons import models", 'net = models.load("menagerie-detector", device="cpu")')
    (tmp_path / "boxes.py").write_text("\n".join(lines))
    assert cli.main(["doctor", "--network", f"{tmp_path / 'boxes.py'}:net"]) == 0
    assert "models.wrap_detector(network, classes, input_size=96) accepts it" in capsys.readouterr().out


def test_a_file_that_does_not_run_says_why(tmp_path):
    (tmp_path / "bad.py").write_text("import no_such_module_at_all")
    with pytest.raises(ValueError, match="fails with ModuleNotFoundError: No module named"):
        load_network(f"{tmp_path / 'bad.py'}:Net")


def test_a_good_network_and_its_relus():
    findings, model = found(seeded(PoolingNet, dtype=torch.float32), input_size=16)
    assert findings["channels"].found == "3"
    assert findings["input size"].found.startswith("16 x 16; it also takes 224, 96")
    assert findings["output"].found == "5 scores per image"
    assert findings["layers"].found == "last"
    assert findings["ReLUs"].found.startswith("2 modules (1 in place, 1 used several times), 1 functional")
    for name in ("cam.cam", "cam.grad_cam", "saliency.gradient", "saliency.guided_backprop", "saliency.deconvnet"):
        assert findings[name].found == "applies", findings[name]
    assert findings["saliency.lrp"].found == findings["saliency.deep_lift"].found == "applies"
    assert not any(f.advice for f in findings.values())
    assert model.input_size == 16


def test_a_fully_connected_head_has_no_cam_and_few_sizes():
    findings, model = found(seeded(FlatNet, size=32, dtype=torch.float32))
    assert findings["input size"].found == "32 x 32; it also takes 31, 33"
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
    assert findings["input size"].found.startswith("224 x 224; it also takes 96")
    assert "--input-size" in findings["input size"].advice
    assert model.input_size == 224


def test_a_network_for_one_size_and_one_that_refuses_the_given_size():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 30 * 30, 3))
    findings, _ = found(network)
    assert findings["input size"].found.startswith("32 x 32; it takes none of 28, 31, 33, 48")
    findings, model = found(network, input_size=40)
    assert model is None
    assert findings["input size"].found == "takes no images of 40 x 40, but of 32"
    assert "cannot be multiplied" in findings["input size"].advice


def test_every_spelling_of_a_relu_is_counted():
    class Spelled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.six, self.head = nn.Conv2d(3, 4, 3), nn.ReLU6(inplace=True), nn.Linear(4, 3)

        def forward(self, x):
            x = self.six(self.conv(x)).clamp(min=0)
            return self.head(torch.maximum(nn.functional.relu6(x), x.new_zeros(())).mean(dim=(2, 3)).relu_())

    findings, _ = found(Spelled(), input_size=16)
    assert findings["ReLUs"].found == "1 modules (1 in place, 0 used several times), 4 functional"
    assert findings["saliency.guided_backprop"].found == "applies"


def test_it_says_what_the_methods_say():
    """A ReLU that a method refuses is refused here in the same words."""

    def between(operation):
        class Between(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

            def forward(self, x):
                return self.head(operation(self.conv(x)).mean(dim=(2, 3)))

        return Between()

    x = torch.rand((1, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    operations = [torch.relu, torch.sigmoid, lambda x: torch.where(x > 0, x, 0), lambda x: x.clamp(max=0), torch.abs]
    for operation in operations:
        findings, model = found(between(operation), input_size=16)
        for method in (saliency.guided_backprop, saliency.deconvnet, saliency.lrp, saliency.deep_lift):
            finding = findings[f"saliency.{method.__name__}"]
            try:
                method(model, x, 0)
                said = ""
            except ValueError as error:
                said = str(error)
            assert finding.advice == said
            assert finding.found == ("does not apply" if said else "applies")
            assert (operation is torch.relu) == (not said)


@pytest.mark.parametrize(
    ("module", "subject", "says"),
    [
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(9, 3)), "channels", "RGB"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(5, 3)), "input size", "cannot be multiplied"),
        (nn.Sequential(nn.Flatten(), nn.Linear(768, 3)), "channels", "occlusion"),
        (nn.Sequential(nn.Flatten(), nn.Linear(768, 3)), "wrap", "no layer with a spatial map"),
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
    assert "models.wrap(network, input_size=24) accepts it" in said
    assert "0 modules (0 in place, 0 used several times), 1 functional" in said
    assert cli.main(["doctor", "--network", f"{file}:gray", "--input-size", "24"]) == 1
    assert "refuses it as it is" in capsys.readouterr().out
    assert cli.main(["doctor", "--network", f"{file}:number"]) == 1
    assert cli.main(["doctor", "--network", "nothing"]) == 2
    assert "write file.py:name" in capsys.readouterr().err
