"""One error root, and a subclass for each stage of the data flow.

Every message says what went wrong and where, what was expected, what was found, and what to do about it.
"""

__all__ = [
    "BenchError",
    "BundleError",
    "CacheError",
    "CaptureError",
    "CheckpointError",
    "DeployError",
    "DifferentError",
    "ExportError",
    "FactoryError",
    "HnexportError",
    "IncompleteError",
    "NotRunError",
    "OnnxruntimeMissingError",
    "ParityError",
    "ProviderError",
    "RuntimeInputError",
    "SpecError",
    "TuneError",
    "TuneFailedError",
]


class HnexportError(Exception):
    """Root of every error that hnexport raises for a reason a user can act on."""


class SpecError(HnexportError, ValueError):
    """A specification that cannot be built: an unknown name, a size out of range, fields that contradict each other."""


class CheckpointError(HnexportError):
    """A checkpoint that cannot be read, or that does not hold the tensors its specification needs."""


class CaptureError(HnexportError):
    """`torch.export` could not capture an ensemble, or captured something else."""


class ExportError(HnexportError):
    """A captured ensemble could not be written in one of the file formats."""


class FactoryError(HnexportError):
    """A user's own function that `--from` names: it cannot be found or called, or raised; the message says where."""


class BundleError(HnexportError):
    """A bundle directory that is missing, damaged or of another schema version."""


class CacheError(HnexportError):
    """The user's cache cannot be had: there is no home folder, or what was to be kept cannot be written there."""


class DifferentError(HnexportError):
    """Something was measured, and is other than it has to be: a command ends with 1, and nothing was published.

    Whatever raises one derives its class from this one too; every other error leaves the question open.
    """


class ParityError(HnexportError):
    """Parity could not be measured. (A parity that was measured and failed is a result, not an error.)"""


class NotRunError(ParityError):
    """A program of somebody unknown that was not run, or could not be run in confinement: the question stays open."""


class ProviderError(HnexportError):
    """An execution provider or engine that was asked for by name and cannot be had on this machine."""


class RuntimeInputError(HnexportError, ValueError):
    """An input, a member or an option that a loaded ensemble cannot take."""


class DeployError(HnexportError):
    """A bundle that cannot be put where it was asked for: its network does not fit there, or something is missing."""


class TuneError(HnexportError):
    """An ensemble that cannot be tuned for this machine: nothing to fold, or kernels in an unknown order."""


class TuneFailedError(TuneError, DifferentError):
    """What was made for this machine, or in fewer bits, was measured, and its outputs are not what was asked for."""


class BenchError(HnexportError):
    """A benchmark that could not be run."""


class IncompleteError(HnexportError, ImportError):
    """What was asked for needs all of hnexport, or an extra of it, and that is not installed."""


class OnnxruntimeMissingError(ProviderError, ImportError):
    """onnxruntime is not installed, or what is installed cannot be imported."""
