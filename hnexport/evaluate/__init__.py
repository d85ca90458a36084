"""What a bundle is worth on data: accuracy, calibration, diversity, uncertainty. Needs neither torch nor onnx.

scikit-learn is an optional dependency: `pip install "hnexport[evaluate]"`, or `"hnexport-runtime[evaluate]"`.
"""

from hnexport.evaluate.options import EvaluateOptions
from hnexport.evaluate.results import Evaluation
from hnexport.evaluate.run import evaluate
from hnexport.evaluate.stopping import StatedLoss
from hnexport.evaluate.targets import ReadOptions

__all__ = ["EvaluateOptions", "Evaluation", "ReadOptions", "StatedLoss", "evaluate"]
