"""The six layers in their plainest form: torch-geometric message passing, one message per edge.

The weights are read from the fast layers, so that both compute the same function.
"""

import torch
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import add_self_loops, remove_self_loops, scatter

from gnnip.models.spektral import LEAKY_SLOPE


def segment_softmax(logits, index, n):
    top = scatter(logits.detach(), index, 0, n, "max")
    powers = torch.exp(logits - top[index])
    return powers / (scatter(powers, index, 0, n, "sum") + 1e-9)[index]


class Plain(MessagePassing):
    def __init__(self, layer):
        super().__init__(aggr="add")
        self.layer = layer


class PlainCrystal(Plain):
    def forward(self, x, edge_index, edge_weight, edge_attr):
        return x + self.propagate(edge_index, x=x, e=edge_attr)

    def message(self, x_i, x_j, e):
        z = torch.cat([x_i, x_j, e], dim=1)
        f, s = self.layer.dense_f, self.layer.dense_s
        core = self.layer.activation(z @ s.kernel + s.bias)
        return torch.sigmoid(z @ f.kernel + f.bias) * core


class PlainGAT(Plain):
    def forward(self, x, edge_index, edge_weight, edge_attr):
        layer = self.layer
        edge_index, _ = add_self_loops(remove_self_loops(edge_index)[0], num_nodes=len(x))
        h = torch.einsum("ni,iho->nho", x, layer.kernel)
        own = (h * layer.attn_kernel_self[..., 0].T).sum(-1)
        other = (h * layer.attn_kernel_neigh[..., 0].T).sum(-1)
        j, i = edge_index
        logits = torch.nn.functional.leaky_relu(own[i] + other[j], LEAKY_SLOPE)
        alpha = segment_softmax(logits, i, len(x))
        out = self.propagate(edge_index, h=h.flatten(1), alpha=alpha)
        out = out.view(len(x), layer.attn_heads, layer.channels)
        out = out.flatten(1) if layer.concat_heads else out.mean(1)
        return layer.activation(out + layer.bias)

    def message(self, h_j, alpha):
        heads = h_j.view(len(h_j), self.layer.attn_heads, self.layer.channels)
        return (alpha[:, :, None] * heads).flatten(1)


class PlainGCS(Plain):
    def forward(self, x, edge_index, edge_weight, edge_attr):
        layer = self.layer
        out = self.propagate(edge_index, x=x @ layer.kernel_1, w=edge_weight)
        return layer.activation(out + x @ layer.kernel_2 + layer.bias)

    def message(self, x_j, w):
        return x_j if w is None else w[:, None] * x_j


class PlainECC(Plain):
    def forward(self, x, edge_index, edge_weight, edge_attr):
        layer = self.layer
        theta = edge_attr
        for k in range(len(layer.kernel_network)):
            theta = getattr(layer, f"FGN_{k}")(theta)
        theta = layer.FGN_out(theta).view(-1, x.shape[1], layer.channels)
        out = self.propagate(edge_index, x=x, theta=theta, size=(len(x), len(x)))
        return layer.activation(out + x @ layer.root_kernel + layer.bias)

    def message(self, x_j, theta):
        return torch.einsum("ef,efg->eg", x_j, theta)

    def aggregate(self, inputs, index, dim_size=None):
        return scatter(inputs, index, 0, dim_size, "sum")


class PlainAGNN(Plain):
    def forward(self, x, edge_index, edge_weight, edge_attr):
        unit = x / x.square().sum(1, keepdim=True).clamp(min=1e-12).sqrt()
        j, i = edge_index
        cosine = (unit[i] * unit[j]).sum(1)
        alpha = segment_softmax(self.layer.beta * cosine, i, len(x))
        return self.layer.activation(self.propagate(edge_index, x=x, alpha=alpha))

    def message(self, x_j, alpha):
        return alpha[:, None] * x_j


class PlainGeneral(Plain):
    def forward(self, x, edge_index, edge_weight, edge_attr):
        return self.propagate(edge_index, x=x, statistics=x)

    def message(self, x_j, statistics):
        layer = self.layer
        norm = layer.batch_norm

        def transform(x):
            return x @ layer.kernel + layer.bias

        if layer.training:
            nodes = transform(statistics)
            mean, variance = nodes.mean(0), nodes.var(0, correction=0)
        else:
            mean, variance = norm.moving_mean, norm.moving_variance
        h = (transform(x_j) - mean) / torch.sqrt(variance + 1e-3) * norm.gamma + norm.beta
        return torch.where(h > 0, h, layer.prelu_alpha * h)


PLAIN = {
    "CrystalConv": PlainCrystal,
    "GATConv": PlainGAT,
    "GCSConv": PlainGCS,
    "ECCConv": PlainECC,
    "AGNNConv": PlainAGNN,
    "GeneralConv": PlainGeneral,
}
