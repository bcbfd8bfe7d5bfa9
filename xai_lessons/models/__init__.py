"""Networks that take images in [0, 1]: wrap one, load one, save one."""

from xai_lessons.models import anatomy as anatomy
from xai_lessons.models.classifier import IMAGENET_MEAN, IMAGENET_STD, Classifier, wrap
from xai_lessons.models.detector import Detections, Detector, wrap_detector
from xai_lessons.models.image_model import ImageModel
from xai_lessons.models.registry import available, choose_device, load
from xai_lessons.models.store import save
