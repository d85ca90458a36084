"""From a bundle to an ensemble: check the files, choose provider and strategy, check the golden sample."""

import logging
import subprocess
import sys
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import onnxruntime

from hnexport.bundle.golden import Golden, within
from hnexport.bundle.manifest import Manifest
from hnexport.errors import BundleError, CacheError, ProviderError, RuntimeInputError
from hnexport.machine.memory import available_bytes
from hnexport.runtime.cache import CACHE_REMEDY, require_cache
from hnexport.runtime.cuda import CudaOptions
from hnexport.runtime.ensemble import Engine, LoadedEnsemble
from hnexport.runtime.files import BundleFiles
from hnexport.runtime.golden_check import check_golden
from hnexport.runtime.half import find_half
from hnexport.runtime.int8 import check_samples, int8_entry, read_samples, require_int8
from hnexport.runtime.offered import execution_provider
from hnexport.runtime.onnxruntime_engine import OnnxruntimeEngine
from hnexport.runtime.openvino_engine import OpenvinoEngine
from hnexport.runtime.options import Check, Checksums, EngineName, LoadOptions, Precision, Strategy
from hnexport.runtime.providers import check_provider_name, require_device
from hnexport.runtime.shares import own_share
from hnexport.runtime.tuned import find_tuned

__all__ = ["load"]

logger = logging.getLogger(__name__)

_MEMORY_SHARE = 0.5  # of what is available; the rest is for activations and for the application
_OWN_SHARE = 0.25  # of a member's weights, from which a plain network of them is clearly faster
_MEMBER_OVERHEAD = 1.1  # a session and its graph, beside the weights
_CONDITIONS = 16  # kept at once where nobody says how many
_UNKNOWN_MEMORY_BYTES = 2**31  # where the system does not say


def load(
    bundle: str | PathLike[str] | Mapping[str, bytes],
    *,
    provider: str = "auto",
    engine: str = EngineName.ONNXRUNTIME,
    strategy: str = Strategy.AUTO,
    resident_members: int | None = None,
    threads: int | None = None,
    precision: str = Precision.FLOAT32,
    checksums: str = Checksums.REMEMBERED,
    check: str = Check.SAMPLE,
    tune: bool = False,
    cuda: CudaOptions | None = None,
    digest: str | None = None,
) -> LoadedEnsemble:
    """Load a bundle and prove that it computes what it computed when it was built.

    Args:
        bundle: the directory that `hnexport build` wrote. Its weights file is mapped into memory: replace a bundle by
            renaming, never by writing into its files. Members that are made after that are refused, since their files
            are gone: load it again. Or its files in memory, a mapping from their names to bytes: the
            manifest, golden samples and ONNX files that the strategy reads. Nothing is written to a disk then; OpenVINO
            and `tune` need a folder.
        provider: "auto" takes CUDA where it starts and passes the golden sample, otherwise the CPU; a provider that is
            named is taken or refused, never replaced: "cpu", "cuda", "tensorrt", "directml", "coreml", "migraphx",
            "webgpu", "openvino", "qnn", "tensorrt-rtx", and whatever else onnxruntime has here, built in or from a
            plugin (docs/runtimes/providers.md).
        engine: "onnxruntime", or "openvino" (on the CPU; an optional dependency). OpenVINO, and WebGPU
            among the providers, make numbers of a NaN in an input: check inputs before the call where that matters. Ids
            that do not exist are refused, whatever computes.
        strategy: "materialised" keeps members as plain networks, "folded" keeps their weights beside the graphs that
            `hnexport tune` made for this machine, "generated" computes a member's weights in every call; "auto"
            materialises where that is faster and all members fit into half of the available memory, otherwise it takes
            tuned graphs where there are any. With a hypernetwork of a vector it generates: see
            `LoadedEnsemble.materialise`.
        resident_members: the weights of at most so many members are kept, those of the least recently used are dropped;
            None keeps as many as fit. With a hypernetwork of a vector each condition of a member counts, and 16 are
            kept at most.
        threads: compute threads of one call, in each session as it is given. None takes what this process may use: the
            physical cores of its affinity mask, bounded by its control groups' quota, and fewer where many resident
            members would otherwise have more than 64 threads together and more than two for each core. See
            `share_threads` for one pool of threads for all members.
        precision: "float32"; on CUDA "tf32", up to a percent off, or "float16", up to two, over a graph that
            `hnexport tune --precision float16` made; "bfloat16", up to a few percent off, and "float16" with OpenVINO,
            where the processor computes in them; "int8" on the CPU, materialised, over graphs that `hnexport tune
            --precision int8` made. The golden sample is held to the tolerance of the precision; in int8 a sample of the
            calibration is, to what it was then.
        checksums: "remembered" reads a large file once and remembers that it was whole, "always" reads it at every
            load, "never" compares sizes only.
        check: how much of the golden sample to compute: "sample" (one sample of one member), "all" or "none".
        tune: make the tuned graphs (with "float16", that graph) first if this machine has none, in a process of its own
            (some seconds; needs all of hnexport's dependencies, not only those of its runtime).
        cuda: how CUDA computes, see `CudaOptions`. Where "auto" comes to the CPU, this, "tf32" and "float16" do not
            apply (the ensemble's `precision` says which one does); with another provider they are refused.
        digest: refuse any other bundle than the one with this digest, `sha256:…` as `hnexport build` prints it. Nothing
            of another bundle is read but the bytes of its manifest. Not with checksums="never": the digest stands for
            the files only if they are compared with the manifest.

    Raises:
        BundleError: the bundle is missing, damaged or has no ONNX files, or its predictions are not those of its
            golden sample.
        ProviderError: a provider or engine that was asked for cannot be had; the message says what is missing.
        CacheError: "folded" or "float16" was asked for, and there is no cache, or it cannot be written. Everything else
            works without a cache, with a line in the log.
        RuntimeInputError: an option has a value that it cannot have, or the cache holds no graph of the bundle in int8
            or in float16.
    """
    options = LoadOptions(
        provider=provider,
        engine=engine,  # type: ignore[arg-type]  # LoadOptions turns the names into its enumerations
        strategy=strategy,  # type: ignore[arg-type]
        resident_members=resident_members,
        threads=threads,
        precision=precision,  # type: ignore[arg-type]
        checksums=checksums,  # type: ignore[arg-type]
        check=check,  # type: ignore[arg-type]
        tune=tune,
        cuda=cuda,
    )
    check_provider_name(options.provider)
    if digest is not None and options.checksums is Checksums.NEVER:
        raise RuntimeInputError("digest needs the checksums, since it stands for them: leave checksums='never' out")
    files = BundleFiles(bundle, options.checksums, digest)
    golden = files.golden() if options.check is not Check.NONE else None
    if files.contents is not None and (options.tune or options.engine is EngineName.OPENVINO):
        raise RuntimeInputError("a bundle in memory is for onnxruntime, and not tuned: write it to a folder first")
    if options.engine is EngineName.OPENVINO:
        if options.provider not in ("auto", "cpu"):
            raise ProviderError(f"engine 'openvino' runs on the CPU here, not on {options.provider!r}: leave it out")
        return _load_on("cpu", files, golden, options)
    if options.provider != "auto":
        return _load_on(options.provider, files, golden, options)
    if execution_provider("cuda") in onnxruntime.get_available_providers():
        try:
            ensemble = _load_on("cuda", files, golden, options)
            if golden is None:
                ensemble.predict(files.trial(), member=0)  # a library may be missed first when it runs
            return ensemble
        except ProviderError as error:
            logger.info("running on the CPU: %s", error)
        except BundleError as error:  # damaged files are found again below
            logger.warning("running on the CPU, CUDA fails the golden sample: %s", error)
    return _load_on("cpu", files, golden, options)


def _load_on(provider: str, files: BundleFiles, golden: Golden | None, options: LoadOptions) -> LoadedEnsemble:
    options = options.on(provider)
    if provider != "cpu":  # before anything is made for it
        require_device(provider, (options.cuda or CudaOptions()).device)
    engine = _engine(provider, files, options)
    if options.tune:
        _tune_first(files, options)
    strategy, limit = _plan(engine, files, options)
    engine.sessions = 1 + (limit if strategy is Strategy.MATERIALISED else 1)  # the hypernetwork's, and these
    files.verify(engine.files[strategy])
    ensemble = LoadedEnsemble(files.manifest, engine, strategy, limit)
    if golden is not None and options.precision is Precision.INT8:
        samples = read_samples(int8_entry(files.manifest).folder)
        check_samples(samples, ensemble.outputs, lambda: str(files.folder))
    elif golden is not None:
        signature = files.manifest.signature
        golden = within(golden, signature, options.precision)
        check_golden(golden, signature, ensemble.outputs, options.check, options.precision, files.folder)
    return ensemble


def _tune_first(files: BundleFiles, options: LoadOptions) -> None:
    """Make what `hnexport tune` makes, if this machine has none; where there is no cache, only what needs it fails."""
    half = options.precision is Precision.FLOAT16
    try:
        if options.provider == "cpu" and find_tuned(files.manifest) is None:
            require_cache()
            _tune(files.folder)
        if half and find_half(files.manifest) is None:
            require_cache()
            _tune(files.folder, "--precision", "float16")
    except CacheError as error:
        if half or options.strategy is Strategy.FOLDED:
            raise
        logger.warning("%s is not tuned: %s", files.manifest.name, error)


def _tune(bundle: Path, *arguments: str) -> None:
    """Run `hnexport tune` in a process of its own: it needs libraries that this one shall not load.

    Raises:
        CacheError: what it made could not be kept.
        BundleError: it failed otherwise; with its message.
    """
    command = [sys.executable, "-m", "hnexport", "tune", str(bundle), "--json", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, encoding="utf-8", errors="replace")
    if CACHE_REMEDY in done.stderr:
        raise CacheError(done.stderr.strip().removeprefix("Error: "))
    if done.returncode != 0:
        raise BundleError(f"{bundle} could not be tuned: {done.stderr.strip() or 'hnexport tune gave no reason'}")


def _engine(provider: str, files: BundleFiles, options: LoadOptions) -> Engine:
    if options.engine is EngineName.OPENVINO:
        maker = _onnxruntime("cpu", files, options) if options.precision is Precision.INT8 else None
        return OpenvinoEngine(
            files.folder, files.manifest, options.threads, options.precision, opening=files.opening, int8=maker
        )
    return _onnxruntime(provider, files, options)


def _onnxruntime(provider: str, files: BundleFiles, options: LoadOptions) -> OnnxruntimeEngine:
    return OnnxruntimeEngine(
        files.folder,
        files.manifest,
        provider,
        options.threads,
        precision=options.precision,
        cuda=options.cuda,
        trial=files.trial,
        contents=files.contents,
        opening=files.opening,
        int8=require_int8(files.manifest, files.folder) if options.precision is Precision.INT8 else None,
    )


def _plan(engine: Engine, files: BundleFiles, options: LoadOptions) -> tuple[Strategy, int]:
    """The strategy, and how many members may be resident.

    `auto` never thrashes: if not every member fits and nobody said how many to keep, weights are generated.
    """
    manifest = files.manifest
    members = manifest.members
    if options.strategy is Strategy.GENERATED:
        if options.resident_members is not None:
            raise RuntimeInputError("resident_members is for strategy='materialised': generated members are not kept")
        return Strategy.GENERATED, 0
    many = bool(manifest.conditions)  # as many networks as there are conditions: nobody knows which are asked again
    if options.strategy is Strategy.AUTO and options.resident_members is None and (many or not _pays(manifest, engine)):
        return Strategy.GENERATED, 0
    chosen = Strategy.FOLDED if options.strategy is Strategy.FOLDED else Strategy.MATERIALISED
    if options.resident_members is not None:
        return chosen, options.resident_members if many else min(options.resident_members, members)
    files.verify(engine.files[Strategy.MATERIALISED])
    fitting = _members_that_fit(engine)
    if options.strategy is Strategy.AUTO and fitting < members:
        if _can_fold(engine, manifest):
            return Strategy.FOLDED, max(1, fitting)
        logger.info(
            "weights are generated in every call: only %d of %d members fit into memory; with resident_members=%d the "
            "ones used last would be kept as plain networks",
            fitting,
            members,
            max(1, fitting),
        )
        return Strategy.GENERATED, 0
    return chosen, max(1, min(fitting, _CONDITIONS if many else members))


def _can_fold(engine: Engine, manifest: Manifest) -> bool:
    """Whether this machine has tuned graphs of the bundle, and they load."""
    if engine.name != EngineName.ONNXRUNTIME:
        return False
    try:
        if find_tuned(manifest) is None:
            return False
        engine.fold(0)
    except (BundleError, CacheError) as error:
        logger.warning("the tuned graphs are not used: %s", error)
        return False
    return True


def _pays(manifest: Manifest, engine: Engine) -> bool:
    """Whether a plain network is faster: on the CPU, if enough of its weights is not the same for all members anyway.

    Where it is the same, the graph that generates the rest has it as constants too.
    """
    return engine.provider == "cpu" and own_share(manifest) >= _OWN_SHARE


def _members_that_fit(engine: Engine) -> int:
    available = available_bytes()
    budget = _MEMORY_SHARE * (_UNKNOWN_MEMORY_BYTES if available is None else available)
    return int(budget / (_MEMBER_OVERHEAD * engine.member_bytes))
