"""The algorithms, one module each, in the order of their use."""

from .change import Change
from .evaluate import Evaluate
from .polygonize import Polygonize
from .predict import Predict
from .superpixels import Superpixels
from .train import Train

ALGORITHMS = (Train, Predict, Superpixels, Polygonize, Evaluate, Change)
