"""Training of a small network on scikit-learn's handwritten digits, with DistributedDataParallel.

    torchrun --standalone --nproc-per-node 2 train.py
    torchrun --standalone --nproc-per-node 2 train.py --fully-sharded   # FSDP, on GPUs

Every rank trains on its share of the images; rank 0 reports each epoch and saves a checkpoint (not with FSDP). A run
that is started again with the same --out goes on from there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

TRAINED = 1500
"""Images to train on; the other 297 test the network."""


def main() -> None:
    """Train for the epochs of the command line and fail when the network has not learned."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--epochs", type=int, default=20)
    options.add_argument("--out", type=Path, default=Path("digits.pt"), help="The checkpoint.")
    options.add_argument("--fully-sharded", action="store_true", help="FSDP instead of DDP; it needs GPUs.")
    chosen = options.parse_args()

    cuda = torch.cuda.is_available()
    if chosen.fully_sharded and not cuda:
        options.error("--fully-sharded needs GPUs: gloo has no reduce-scatter")
    dist.init_process_group("nccl" if cuda else "gloo")
    rank = dist.get_rank()
    device = torch.device("cuda", rank % torch.cuda.device_count()) if cuda else torch.device("cpu")
    torch.manual_seed(0)

    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels))
    training = TensorDataset(*data[:TRAINED])
    sampler = DistributedSampler(training)
    batches = DataLoader(training, batch_size=50, sampler=sampler)

    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).to(device)
    first = 0
    if chosen.out.exists():
        saved = torch.load(chosen.out, map_location=device, weights_only=True)
        network.load_state_dict(saved["weights"])
        first = saved["epoch"] + 1
    model = FullyShardedDataParallel(network) if chosen.fully_sharded else DistributedDataParallel(network)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    step = first * len(batches)
    for epoch in range(first, chosen.epochs):
        sampler.set_epoch(epoch)
        for inputs, targets in batches:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs.to(device)), targets.to(device))
            loss.backward()
            optimizer.step()
            step += 1
        if rank == 0:
            print(f"devservers: step={step} epoch={epoch} loss={loss.item():.4f}", flush=True)
            if not chosen.fully_sharded:
                save(chosen.out, network, epoch)

    with torch.no_grad():
        inputs, targets = data[TRAINED:]
        right = (model(inputs.to(device)).argmax(1).cpu() == targets).float().mean().item()
    if rank == 0:
        ranks = dist.get_world_size()
        print(f"{right:.1%} of {len(targets)} test images are right, after {step} steps on {ranks} ranks")
    dist.destroy_process_group()
    if right < 0.85:
        raise SystemExit(f"rank {rank}: the network has not learned: {right:.1%} right")


def save(path: Path, network: nn.Module, epoch: int) -> None:
    """Replace the checkpoint as a whole: whoever stops in between leaves the one before."""
    partial = path.with_suffix(".partial")
    torch.save({"weights": network.state_dict(), "epoch": epoch}, partial)
    partial.replace(path)


if __name__ == "__main__":
    main()
