"""Six graph convolutions with the arithmetic of Spektral 1.3.1, defaults included.

Notation: an edge j -> i carries x_j to i; N(i) are the sources of the edges into i. Kernels have
the shapes of the Keras weights, so weights trained there load here by name
(`load_spektral_weights`). Each docstring gives the paper, the formula as the library executes it,
and the defaults that differ from the paper.

Every layer is called as ``layer(x, edge_index, edge_weight=None, edge_attr=None)`` with x (n, F),
edge_index (2, E) in any order (row 0 the source j, row 1 the target i) or an `Adjacency`,
edge_weight (E,) the values of the adjacency matrix, edge_attr (E, D). None of the layers builds an
array of (edges x channels) where the algebra allows it not to: sums over neighbours come before the
matrix products, or after them, whichever is narrower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gnnip.errors import CheckpointError, ConfigError, nearest
from gnnip.graphs import Adjacency
from gnnip.graphs.adjacency import sum_segments, sums_are_plain
from gnnip.models.blocks.activations import activation as activation_function

Edge = Tensor | None  #: values of the edges, (E,) or (E, D), where a layer uses them

#: Spektral's LeakyReLU slope: 0.2 in single precision, whatever the precision of the network
LEAKY_SLOPE = float(np.float32(0.2))
_NORM_FLOOR = 1e-12
_WIDE = 16  # from this width on, arrays over the edges outgrow the cache of a CPU


def glorot_uniform(*shape: int) -> nn.Parameter:
    """Return a trainable tensor of `shape` drawn as Keras draws it.

    The limit is sqrt(6 / (fan_in + fan_out)). For more than two axes Keras takes all but the last
    two as a receptive field that multiplies both fans, so the (in, heads, out) kernel of `GATConv`
    starts with a smaller spread than a matrix would.
    """
    field = int(np.prod(shape[:-2]))
    limit = (6.0 / (field * (shape[-2] + shape[-1]))) ** 0.5
    return nn.Parameter(torch.empty(shape).uniform_(-limit, limit))


class Dense(nn.Module):
    """y = act(x W + b) with a Keras kernel (in, out)."""

    def __init__(
        self, in_channels: int, channels: int, activation: str | None = None, bias: bool = True
    ) -> None:
        """Draw the kernel (Glorot), zero the bias."""
        super().__init__()
        self.kernel = glorot_uniform(in_channels, channels)
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None
        self.activation = activation_function(activation)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in) to (n, out)."""
        y = x @ self.kernel if self.bias is None else torch.addmm(self.bias, x, self.kernel)
        return self.activation(y)


class BatchNorm(nn.Module):
    """Keras batch normalisation over nodes: momentum 0.99, epsilon 1e-3, biased moving variance."""

    MOMENTUM = 0.99
    EPSILON = 1e-3

    moving_mean: Tensor
    moving_variance: Tensor

    def __init__(self, channels: int) -> None:
        """Start from zero mean and unit variance."""
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.register_buffer("moving_mean", torch.zeros(channels))
        self.register_buffer("moving_variance", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(n, F) to (n, F); statistics of the batch in training, moving ones otherwise."""
        if not self.training:
            scale = self.gamma * torch.rsqrt(self.moving_variance + self.EPSILON)
            return x * scale + (self.beta - self.moving_mean * scale)
        # momentum 1 hands over the statistics of this batch, with an unbiased variance
        mean, variance = torch.zeros_like(self.moving_mean), torch.zeros_like(self.moving_mean)
        y = nn.functional.batch_norm(
            x, mean, variance, self.gamma, self.beta, True, momentum=1.0, eps=self.EPSILON
        )
        biased = variance * ((x.shape[0] - 1) / x.shape[0])
        self.moving_mean.lerp_(mean, 1.0 - self.MOMENTUM)
        self.moving_variance.lerp_(biased, 1.0 - self.MOMENTUM)
        return y


class GraphLayer(nn.Module):
    """Base: sorts the edges once."""

    uses_edge_attr = False

    def __init__(self, activation: str | None = None) -> None:
        """Keep the activation; a subclass draws its weights after this."""
        super().__init__()
        self.activation = activation_function(activation)

    def propagate(self, x: Tensor, graph: Adjacency, edge_weight: Edge, edge_attr: Edge) -> Tensor:
        """Apply the layer to sorted edges."""
        raise NotImplementedError

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor | Adjacency,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        """Return (n, F'); see the module's docstring for the arguments."""
        if edge_attr is None and self.uses_edge_attr:
            raise ConfigError(f"{type(self).__name__} needs edge features (edge_attr).")
        if isinstance(edge_index, Adjacency):
            graph = edge_index
        else:
            graph, order = Adjacency.from_edge_index(edge_index, x.shape[0])
            edge_weight = None if edge_weight is None else edge_weight[order]
            edge_attr = None if edge_attr is None else edge_attr[order]
        return self.propagate(x, graph, edge_weight, edge_attr)


class CrystalConv(GraphLayer):
    """x_i + sum_j sigmoid(z Wf + bf) * g(z Ws + bs), z = [x_i, x_j, e_ij].

    Xie & Grossman, Phys. Rev. Lett. 120, 145301 (2018). Spektral's g is `activation`, linear by
    default where the paper has softplus. The width is that of the input.
    """

    uses_edge_attr = True

    def __init__(
        self, in_channels: int, activation: str | None = None, edge_channels: int = 1
    ) -> None:
        """Draw both dense maps; `activation` is g."""
        super().__init__(activation)
        self.dense_f = Dense(2 * in_channels + edge_channels, in_channels)
        self.dense_s = Dense(2 * in_channels + edge_channels, in_channels)

    def propagate(self, x: Tensor, graph: Adjacency, edge_weight: Edge, edge_attr: Edge) -> Tensor:
        """Map at the nodes, add at the edges."""
        width = x.shape[1]
        assert edge_attr is not None
        kernel = torch.cat([self.dense_f.kernel, self.dense_s.kernel], dim=1)
        bias = torch.cat([_bias(self.dense_f), _bias(self.dense_s)])
        own = torch.addmm(bias, x, kernel[:width])
        neighbour = x @ kernel[width : 2 * width]
        inputs = (own, neighbour, edge_attr, kernel[2 * width :])
        if x.device.type == "cpu" and width >= _WIDE and not sums_are_plain():
            return x + _GatedSum.apply(*inputs, graph, self.activation)
        return x + _gated_sum(*inputs, graph, self.activation)


class GATConv(GraphLayer):
    """act(concat_h sum_j alpha_ij^h x_j W^h + b), j over N(i) and i itself.

    alpha = softmax_j LeakyReLU_0.2(a_self . x_i W + a_neigh . x_j W). Velickovic et al., ICLR 2018.
    Edge weights are ignored; self loops in the edges are dropped and one is added to every node. In
    training a dropout of `dropout_rate` (0.5 by default) acts on alpha.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        attn_heads: int = 1,
        concat_heads: bool = True,
        activation: str | None = None,
        dropout_rate: float = 0.5,
    ) -> None:
        """Draw the kernel (in, heads, out), both attention kernels (out, heads, 1); zero bias."""
        super().__init__(activation)
        self.channels, self.attn_heads = channels, attn_heads
        self.concat_heads, self.dropout_rate = concat_heads, dropout_rate
        self.kernel = glorot_uniform(in_channels, attn_heads, channels)
        self.attn_kernel_self = glorot_uniform(channels, attn_heads, 1)
        self.attn_kernel_neigh = glorot_uniform(channels, attn_heads, 1)
        self.bias = nn.Parameter(torch.zeros(channels * attn_heads if concat_heads else channels))

    def propagate(self, x: Tensor, graph: Adjacency, edge_weight: Edge, edge_attr: Edge) -> Tensor:
        """Attend in the narrower of the two spaces, input or output."""
        narrow_input = x.shape[1] <= self.channels
        own = torch.einsum("iho,oh->ih", self.kernel, self.attn_kernel_self[..., 0])
        other = torch.einsum("iho,oh->ih", self.kernel, self.attn_kernel_neigh[..., 0])
        logits = x @ torch.cat([own, other], dim=1)
        # the graphs of structures have none, and their images of an atom are true neighbours
        loops = None if graph.symmetric else graph.source == graph.target
        outputs = []
        for head in range(self.attn_heads):
            a, b = logits[:, head].contiguous(), logits[:, self.attn_heads + head].contiguous()
            edge_logits = _leaky(graph.from_target(a) + graph.from_source(b))
            if loops is not None:
                edge_logits = edge_logits.masked_fill(loops, -torch.inf)
            alpha, self_alpha = graph.softmax(edge_logits, _leaky(a + b))
            assert self_alpha is not None
            if self.training and self.dropout_rate > 0:
                alpha = nn.functional.dropout(alpha, self.dropout_rate)
                self_alpha = nn.functional.dropout(self_alpha, self.dropout_rate)
            kernel = self.kernel[:, head]
            h = x if narrow_input else x @ kernel
            h = graph.sum_neighbours(h, alpha) + self_alpha[:, None] * h
            outputs.append(h @ kernel if narrow_input else h)
        if len(outputs) == 1:
            output = outputs[0]
        elif self.concat_heads:
            output = torch.cat(outputs, dim=1)
        else:
            output = torch.stack(outputs).mean(0)
        return self.activation(output + self.bias)


class GCSConv(GraphLayer):
    """act(sum_j A_ij x_j W1 + x_i W2 + b): a graph convolution with a trainable skip connection.

    A are the values of the adjacency matrix (ones when absent); Spektral's own preprocessing makes
    them D^-1/2 A D^-1/2 without self loops: `normalise_adjacency`.
    """

    def __init__(self, in_channels: int, channels: int, activation: str | None = None) -> None:
        """Draw both kernels; zero bias."""
        super().__init__(activation)
        self.channels = channels
        self.kernel_1 = glorot_uniform(in_channels, channels)
        self.kernel_2 = glorot_uniform(in_channels, channels)
        self.bias = nn.Parameter(torch.zeros(channels))

    def propagate(self, x: Tensor, graph: Adjacency, edge_weight: Edge, edge_attr: Edge) -> Tensor:
        """Sum in the narrower of the two spaces."""
        output = torch.addmm(self.bias, x, self.kernel_2)
        if x.shape[1] <= self.channels:
            output = torch.addmm(output, graph.sum_neighbours(x, edge_weight), self.kernel_1)
        else:
            output = output + graph.sum_neighbours(x @ self.kernel_1, edge_weight)
        return self.activation(output)


class ECCConv(GraphLayer):
    """act(x_i W + sum_j x_j Theta(e_ij) + b), Theta(e) a network whose output is an (F, F') matrix.

    Simonovsky & Komodakis, CVPR 2017. `kernel_network` lists the hidden widths (relu); its output
    layer is linear and always has a bias. As Theta is linear in the last hidden layer h, the sum
    becomes sum_k (sum_j h_k x_j) Theta_k: one weighted sum per hidden unit and a single matrix
    product.
    """

    uses_edge_attr = True

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel_network: Sequence[int] | None = None,
        root: bool = True,
        activation: str | None = None,
        edge_channels: int = 1,
    ) -> None:
        """Draw the filter network and the root kernel; zero bias."""
        super().__init__(activation)
        self.channels, self.root = channels, root
        self.kernel_network = tuple(kernel_network or ())
        widths = (edge_channels, *self.kernel_network)
        for k, width in enumerate(widths[1:]):
            setattr(self, f"FGN_{k}", Dense(widths[k], width, "relu"))
        self.FGN_out = Dense(widths[-1], in_channels * channels)
        if root:
            self.root_kernel = glorot_uniform(in_channels, channels)
        self.bias = nn.Parameter(torch.zeros(channels))

    def propagate(self, x: Tensor, graph: Adjacency, edge_weight: Edge, edge_attr: Edge) -> Tensor:
        """Sum over neighbours first, then one matrix product."""
        assert edge_attr is not None
        hidden = edge_attr
        for k in range(len(self.kernel_network)):
            hidden = getattr(self, f"FGN_{k}")(hidden)
        sums = [graph.sum_neighbours(x, h.contiguous()) for h in hidden.unbind(1)]
        sums.append(graph.sum_neighbours(x))
        theta = torch.cat([self.FGN_out.kernel, _bias(self.FGN_out)[None]])
        kernel = theta.reshape(-1, self.channels)
        if self.root:
            sums.append(x)
            kernel = torch.cat([kernel, self.root_kernel])
        return self.activation(torch.addmm(self.bias, torch.cat(sums, dim=1), kernel))


class AGNNConv(GraphLayer):
    """act(sum_j softmax_j(beta cos(x_i, x_j)) x_j), one trainable number beta.

    Thekumparampil et al., arXiv 1803.03735. Spektral's documentation includes i in the sum, its
    code does not, nor does this. The width is that of the input; an isolated node gets 0.
    """

    def __init__(self, trainable: bool = True, activation: str | None = None) -> None:
        """Set beta to 1."""
        super().__init__(activation)
        self.beta = nn.Parameter(torch.ones(1), requires_grad=trainable)

    def propagate(self, x: Tensor, graph: Adjacency, edge_weight: Edge, edge_attr: Edge) -> Tensor:
        """Cosines of the edges, softmax, weighted sum."""
        unit = x * torch.rsqrt(x.square().sum(1, keepdim=True).clamp(min=_NORM_FLOOR))
        alpha, _ = graph.softmax(self.beta * graph.dot(unit, unit))
        return self.activation(graph.sum_neighbours(x, alpha))


class GeneralConv(GraphLayer):
    """sum_j PReLU(Dropout(BN(x_j W + b))).

    You, Ying & Leskovec, NeurIPS 2020. The PReLU has one slope per channel, 0 at the start; its
    place is inside the sum. Batch normalisation takes its statistics over the nodes.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int = 256,
        batch_norm: bool = True,
        dropout: float = 0.0,
        activation: str | None = "prelu",
    ) -> None:
        """Draw the kernel; zero bias and slopes."""
        super().__init__(None if activation == "prelu" else activation)
        self.dropout = dropout
        self.use_prelu, self.use_batch_norm = activation == "prelu", batch_norm
        self.kernel = glorot_uniform(in_channels, channels)
        self.bias = nn.Parameter(torch.zeros(channels))
        if batch_norm:
            self.batch_norm = BatchNorm(channels)
        if self.use_prelu:
            self.prelu_alpha = nn.Parameter(torch.zeros(channels))

    def propagate(self, x: Tensor, graph: Adjacency, edge_weight: Edge, edge_attr: Edge) -> Tensor:
        """Transform the nodes, then sum."""
        h = torch.addmm(self.bias, x, self.kernel)
        if self.use_batch_norm:
            h = self.batch_norm(h)
        h = nn.functional.dropout(h, self.dropout, self.training)
        if self.use_prelu:
            # written out: torch.prelu is several times slower backwards
            h = torch.relu(h) - self.prelu_alpha * torch.relu(-h)
        return graph.sum_neighbours(self.activation(h))


def _gated_sum(
    own: Tensor,
    neighbour: Tensor,
    edge_attr: Tensor,
    kernel: Tensor,
    graph: Adjacency,
    activation: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return sum_j sigmoid(z[:F]) * g(z[F:]), z = own_i + neighbour_j + e_ij kernel: (n, F)."""
    z = graph.from_target(own) + graph.from_source(neighbour)
    gate, core = torch.addmm(z, edge_attr, kernel).chunk(2, dim=1)
    return graph.sum_messages(torch.sigmoid(gate) * activation(core))


class _GatedSum(torch.autograd.Function):
    """`_gated_sum` in pieces that stay in a CPU's cache, nothing of (E, F) kept for the way back.

    The pieces are runs of receiving nodes with about PIECE numbers on their edges.
    """

    PIECE = 1 << 18

    @staticmethod
    def pieces(graph: Adjacency, width: int) -> Iterator[tuple[slice, slice]]:
        edges = max(_GatedSum.PIECE // width, 1)
        marks = torch.arange(0, graph.n_edges + edges, edges)
        nodes = torch.searchsorted(graph.offsets, marks).clamp(max=graph.n_nodes).tolist()
        nodes[0] = 0
        bounds = graph.offsets[nodes].tolist()
        for k in range(len(nodes) - 1):
            if bounds[k + 1] > bounds[k]:
                yield slice(nodes[k], nodes[k + 1]), slice(bounds[k], bounds[k + 1])

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        own, neighbour, edge_attr, kernel, graph, activation = inputs
        ctx.save_for_backward(own, neighbour, edge_attr, kernel)
        ctx.rest = (graph, activation)
        width = own.shape[1] // 2
        result = own.new_zeros((own.shape[0], width))
        for nodes, edges in _GatedSum.pieces(graph, 2 * width):
            z = own.index_select(0, graph.target[edges])
            z += neighbour.index_select(0, graph.source[edges])
            z.addmm_(edge_attr[edges], kernel)
            y = torch.sigmoid(z[:, :width]) * activation(z[:, width:])
            begins = graph.offsets[nodes.start : nodes.stop + 1] - edges.start
            result[nodes] = sum_segments(y, graph.target[edges] - nodes.start, begins)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        inputs, (graph, activation) = ctx.saved_tensors, ctx.rest
        needed = ctx.needs_input_grad[:4]
        if torch.is_grad_enabled():  # a derivative of this derivative will be asked for
            # fresh views: own may itself depend on edge_attr, and these are partial derivatives
            inputs = tuple(t.view_as(t) for t in inputs)
            own, neighbour, edge_attr, kernel = inputs
            output = _gated_sum(own, neighbour, edge_attr, kernel, graph, activation)
            wanted = [t for t, need in zip(inputs, needed, strict=True) if need]
            found = iter(torch.autograd.grad(output, wanted, grad, create_graph=True))
            return (*(next(found) if need else None for need in needed), None, None)
        own, neighbour, edge_attr, kernel = inputs
        width = own.shape[1] // 2
        d_own, d_neighbour = torch.zeros_like(own), torch.zeros_like(neighbour)
        d_edge, d_kernel = torch.zeros_like(edge_attr), torch.zeros_like(kernel)
        for nodes, edges in _GatedSum.pieces(graph, 2 * width):
            target, source = graph.target[edges], graph.source[edges]
            z = own.index_select(0, target)
            z += neighbour.index_select(0, source)
            z.addmm_(edge_attr[edges], kernel)
            with torch.enable_grad():
                gate = z[:, :width].requires_grad_(True)
                core = z[:, width:].requires_grad_(True)
                y = torch.sigmoid(gate) * activation(core)
                parts = torch.autograd.grad(y, (gate, core), grad.index_select(0, target))
            d_z = torch.cat(parts, dim=1)
            begins = graph.offsets[nodes.start : nodes.stop + 1] - edges.start
            d_own[nodes] = sum_segments(d_z, target - nodes.start, begins)
            d_neighbour.index_add_(0, source, d_z)
            if needed[2]:
                torch.mm(d_z, kernel.t(), out=d_edge[edges])
            d_kernel.addmm_(edge_attr[edges].t(), d_z)
        found = iter((d_own, d_neighbour, d_edge, d_kernel))
        kept = [value if need else None for value, need in zip(found, needed, strict=True)]
        return (*kept, None, None)


def normalise_adjacency(graph: Adjacency, dtype: torch.dtype) -> Tensor:
    """Return the values of D^-1/2 A D^-1/2 on the edges, (E,), as Spektral prepares `GCSConv`.

    A holds ones and no self loops are added; the rows and columns of a node without edges are 0.
    """
    # a node without edges is in no edge, so its infinite root is never read
    root = graph.degree.to(dtype).rsqrt()
    return root.index_select(0, graph.target) * root.index_select(0, graph.source)


def load_spektral_weights(layer: GraphLayer, weights: Mapping[str, object]) -> None:
    """Copy weights of the Spektral layer into `layer`.

    Parameters
    ----------
    layer : any layer of this module, made with the same arguments.
    weights : arrays in their Keras shapes under the attribute paths of the Keras layer:

        ========== =====================================================================
        CrystalConv dense_f.kernel, dense_f.bias, dense_s.kernel, dense_s.bias
        GATConv     kernel, attn_kernel_self, attn_kernel_neigh (or ..._neighs), bias
        GCSConv     kernel_1, kernel_2, bias
        ECCConv     root_kernel, bias, FGN_out.kernel, FGN_out.bias, FGN_0.kernel, FGN_0.bias...
        AGNNConv    beta
        GeneralConv kernel, bias, batch_norm.gamma, .beta, .moving_mean, .moving_variance,
        prelu.alpha ========== =====================================================================

    Raises
    ------
    CheckpointError : a missing or unknown name, or a shape that does not fit the layer's arguments.
    """
    renamed = {"attn_kernel_neighs": "attn_kernel_neigh", "prelu.alpha": "prelu_alpha"}
    arrays = {
        renamed.get(name, name): torch.as_tensor(np.asarray(value))
        for name, value in weights.items()
    }
    own = dict(layer.named_parameters()) | dict(layer.named_buffers())
    kind = type(layer).__name__
    for name in arrays:
        if name not in own:
            raise CheckpointError(f"{kind} has no weight '{name}'{nearest(name, own)}")
    for name, target in own.items():
        if name not in arrays:
            raise CheckpointError(f"The weight '{name}' of {kind} is missing.")
        shape = tuple(arrays[name].shape)
        if shape != tuple(target.shape):
            raise CheckpointError(
                f"The weight '{name}' of {kind} has shape {shape}, {tuple(target.shape)} is "
                "expected; make the layer with the arguments it was trained with."
            )
    first = next(iter(arrays.values()))
    layer.to(first.dtype)
    own = dict(layer.named_parameters()) | dict(layer.named_buffers())
    with torch.no_grad():
        for name, target in own.items():
            target.copy_(arrays[name])


def _leaky(x: Tensor) -> Tensor:
    return nn.functional.leaky_relu(x, LEAKY_SLOPE)


def _bias(dense: Dense) -> Tensor:
    assert dense.bias is not None
    return dense.bias
