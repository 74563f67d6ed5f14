"""The tensors of original KiloNeRF checkpoints, brought to this program's layout: [N, in, out], grid order.

Grid order is x-major: network ``ix * ry * rz + iy * rz + iz`` belongs to cell (ix, iy, iz).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckpointError
from ..files.json_values import is_array, is_object
from ..scene.architecture import LAYER_SHAPES, tensor_shapes
from .restricted_pickle import Module, Node

Layers = dict[str, NDArray[np.float32]]
_PARALLEL = "module."  # torch.nn.DataParallel puts it before every name


@dataclass(frozen=True)
class OriginalNetworks:
    """The networks of a checkpoint.

    Attributes:
        kind: "fine-tuned" or "distilled".
        layers: as ``Scene.layers``, float32, one network per cell of the whole grid.
        domains: float64 [N, 2, 3], lower and upper corner of each network's cell, where the file says them.
        global_step: steps of fine-tuning, where the file says them.
    """

    kind: str
    layers: Layers
    domains: NDArray[np.float64] | None = None
    global_step: int | None = None

    @property
    def num_networks(self) -> int:
        """N."""
        return self.layers["pts_linears.0.bias"].shape[0]


def read_networks(checkpoint: object) -> OriginalNetworks:
    """The networks of what ``read_torch_file`` gave.

    Raises:
        CheckpointError: it is no fine-tuned or distilled checkpoint, or of a variant that is not supported.
    """
    if is_object(checkpoint) and "root_nodes" in checkpoint:
        return _distilled(checkpoint["root_nodes"])
    if is_object(checkpoint) and isinstance(checkpoint.get("model_state_dict"), Mapping):
        step = checkpoint.get("global_step")
        layers = _layers(checkpoint["model_state_dict"])
        return OriginalNetworks("fine-tuned", layers, global_step=step if isinstance(step, int) else None)
    got = f"keys {sorted(map(str, checkpoint))[:8]}" if is_object(checkpoint) else type(checkpoint).__name__
    raise CheckpointError(f"expected 'model_state_dict' (fine-tuned) or 'root_nodes' (distilled), got {got}")


def _refuse(variant: str) -> NoReturn:
    raise CheckpointError(f"expected the architecture of the paper, got {variant}, which is not supported")


def _layers(state: Mapping[str, Any]) -> Layers:
    """The 12 tensors of a MultiNetwork, [N, IN, OUT] or [N, OUT, IN], as [N, in, out]."""
    if state and all(str(name).startswith(_PARALLEL) for name in state):
        state = {str(name).removeprefix(_PARALLEL): tensor for name, tensor in state.items()}
    if any(str(name).startswith("views_linears") for name in state):
        raise CheckpointError(
            "expected a fine-tuned or distilled checkpoint, got a teacher (one large NeRF), "
            "which has no tiny networks to import"
        )
    if "feature_linear.weight" in state and "alpha_linear.weight" not in state:
        _refuse("view-independent colour (use_view_independent_color)")
    expected = tensor_shapes(0)
    if set(state) != set(expected):
        missing, extra = sorted(set(expected) - set(state)), sorted(map(str, set(state) - set(expected)))
        raise CheckpointError(f"expected the 12 tensors of a MultiNetwork, got missing {missing}, unknown {extra}")
    arrays = {name: _array(name, state[name]) for name in expected}
    first = arrays["pts_linears.0.weight"]
    inputs, outputs = LAYER_SHAPES["pts_linears.0"]
    if first.ndim != 3 or first.shape[1:] not in ((inputs, outputs), (outputs, inputs)):
        _refuse(f"'pts_linears.0.weight' of shape {list(first.shape)} where [N, {inputs}, {outputs}] is known")
    transposed = first.shape[1:] == (outputs, inputs)  # torch's order: distilled files, implementation 'bmm'
    shapes = tensor_shapes(first.shape[0])
    return {name: _conform(name, array, shapes[name], transposed) for name, array in arrays.items()}


def _array(name: str, tensor: Any) -> NDArray[np.float32]:
    if not hasattr(tensor, "detach"):
        raise CheckpointError(f"{name}: expected a tensor, got {type(tensor).__name__}")
    tensor = tensor.detach()
    if str(tensor.dtype) == "torch.bfloat16":  # NumPy has none; every one is a float32
        tensor = tensor.float()
    array = tensor.numpy()
    if array.dtype not in (np.float32, np.float64, np.float16):
        raise CheckpointError(f"{name}: expected floating-point numbers, got {array.dtype}")
    return array.astype(np.float32, copy=False)


def _conform(name: str, array: NDArray[np.float32], shape: tuple[int, ...], transposed: bool) -> NDArray[np.float32]:
    """One tensor as ``shape``. A layer shared by all networks (hard parameter sharing) is repeated for each."""
    if array.ndim == len(shape) - 1 and name.startswith(("direction_layer", "rgb_linear")):
        # An nn.Linear: [OUT, IN] and [OUT], whatever the other layers' order.
        array = np.broadcast_to(array.T if array.ndim == 2 else array, (shape[0], *array.T.shape))
    elif transposed and array.ndim == 3:
        array = array.transpose(0, 2, 1)
    if array.shape != shape:
        _refuse(f"{name!r} of shape {list(array.shape)} where {list(shape)} is known")
    return array


def _distilled(root_nodes: object) -> OriginalNetworks:
    if not is_array(root_nodes) or not root_nodes:
        raise CheckpointError("root_nodes: expected a list of nodes, got none")
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in tensor_shapes(1)}
    domains = np.empty((len(root_nodes), 2, 3))
    for number, node in enumerate(root_nodes):
        try:
            layers, domains[number] = _leaf(node)
        except CheckpointError as error:
            raise CheckpointError(f"root_nodes[{number}]: {error}") from error
        for name, array in layers.items():
            parts[name].append(array)
    return OriginalNetworks("distilled", {name: np.concatenate(arrays) for name, arrays in parts.items()}, domains)


def _leaf(node: object) -> tuple[Layers, NDArray[np.float64]]:
    if not isinstance(node, Node):
        raise CheckpointError(f"expected a Node, got {type(node).__name__}")
    stored = node.__dict__
    if "leq_child" in stored:
        _refuse("a node that was split (an adaptive tree)")
    network = stored.get("network")
    if not isinstance(network, Module):
        raise CheckpointError("expected a node with its network, got one without (an unfinished distillation)")
    domain = np.asarray([_corner(stored.get(key), key) for key in ("domain_min", "domain_max")])
    settings = network.__dict__
    if settings.get("nonlinearity", "relu") != "relu":
        _refuse(f"nonlinearity {settings['nonlinearity']!r:.40}")
    layers = _layers(_state_dict(network))
    if layers["pts_linears.0.bias"].shape[0] != 1:
        raise CheckpointError(f"expected one network, got {layers['pts_linears.0.bias'].shape[0]}")
    return layers, domain


def _corner(corner: object, key: str) -> list[float]:
    if not is_array(corner) or len(corner) != 3 or not all(isinstance(value, float) for value in corner):
        raise CheckpointError(f"{key}: expected three numbers, got {corner!r:.80}")
    return corner


def _state_dict(module: Module, prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Tensors by dotted name, as ``nn.Module.state_dict`` names them."""
    if depth > 4:
        raise CheckpointError("network: expected at most 4 levels of modules, got more")
    stored = module.__dict__
    parameters: Mapping[str, Any] = stored.get("_parameters") or {}
    modules: Mapping[str, Any] = stored.get("_modules") or {}
    found = {f"{prefix}{name}": tensor for name, tensor in parameters.items()}
    for name, child in modules.items():
        if isinstance(child, Module):
            found |= _state_dict(child, f"{prefix}{name}.", depth + 1)
    return found
