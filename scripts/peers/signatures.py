"""Signatures and log-signatures, forward and backward, by the libraries of the registry."""

import numpy as np
import pysiglib
import pysiglib.torch_api as pysiglib_torch
import torch

try:
    import iisignature
except ImportError:
    iisignature = None


class Signature(torch.autograd.Function):
    """iisignature's two functions as one of PyTorch's."""

    @staticmethod
    def forward(ctx, path, depth):
        ctx.save_for_backward(path)
        ctx.depth = depth
        return torch.from_numpy(iisignature.sig(path.numpy(), depth).astype(np.float32))

    @staticmethod
    def backward(ctx, grad):
        (path,) = ctx.saved_tensors
        out = iisignature.sigbackprop(grad.contiguous().numpy(), path.numpy(), ctx.depth)
        return torch.from_numpy(out.astype(np.float32)), None


def peers(channels, depth, log, threads):
    """Name and function [batch, length, channels] -> [batch, terms] of every library that has
    it; terms in the order of `holosig signature`."""
    if not log:
        yield "pySigLib", lambda x: pysiglib_torch.sig(x, depth, n_jobs=threads)
        if iisignature:
            yield "iisignature", lambda x: Signature.apply(x, depth)
        return
    # iisignature's log-signatures are coefficients of brackets, not of words, and its
    # preparation of these sizes takes minutes.
    pysiglib.prepare_log_sig(channels, depth, 1)
    yield "pySigLib", lambda x: pysiglib_torch.log_sig(x, depth, method=1, n_jobs=threads)


def worker(function, batch, length, channels):
    """Forward and backward of random paths."""
    path = (0.3 * torch.randn(batch, length, channels)).requires_grad_()
    weights = torch.ones_like(function(path))

    def work():
        path.grad = None
        function(path).backward(weights)

    return work
