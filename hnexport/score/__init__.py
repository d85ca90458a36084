"""Score a large set of samples: streamed, in parts that a crash leaves whole, on one machine or on many with Ray.

    from hnexport.score import score

    done = score("bundle/", "photos/", "predictions.parquet")

The rows are cut into parts of fixed rows, each part into batches of fixed rows, so that a part holds the same bits
whoever computes it, and whenever. A finished part is renamed into a folder beside the predictions; the same call goes
on with those that are missing, and the last one puts the file together. It imports neither torch nor onnx.
"""

from hnexport.score.on_ray import RayWorkers
from hnexport.score.options import ScoreOptions
from hnexport.score.plan import Plan
from hnexport.score.run import Scored, score

__all__ = ["Plan", "RayWorkers", "ScoreOptions", "Scored", "score"]
