"""Load batches with worker processes over several epochs, and share tensors between processes."""

import torch
import torch.multiprocessing as mp
from torch.utils.data import DataLoader, Dataset, TensorDataset


class Squares(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, i):
        return torch.full((3, 32, 32), float(i)), i * i


def double(queue, back, seen):
    back.put(queue.get() * 2)
    seen.wait()


def fill(tensor):
    tensor.fill_(7)


if __name__ == "__main__":
    for epoch in range(2):
        loader = DataLoader(Squares(), batch_size=16, shuffle=True, num_workers=2)
        print(epoch, sum(int(labels.sum()) for _, labels in loader), len(loader))
    batches = list(DataLoader(TensorDataset(torch.arange(10)), batch_size=4, num_workers=2, persistent_workers=True))
    print([batch[0].tolist() for batch in batches])
    queue, back, seen = mp.Queue(), mp.Queue(), mp.Event()
    worker = mp.Process(target=double, args=(queue, back, seen))
    worker.start()
    queue.put(torch.ones(2, 2))
    print(back.get().sum().item())
    seen.set()
    worker.join()
    shared = torch.zeros(3).share_memory_()
    worker = mp.Process(target=fill, args=(shared,))
    worker.start()
    worker.join()
    print(shared.tolist())

# Prints:
# 0 85344 4
# 1 85344 4
# [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
# 8.0
# [7.0, 7.0, 7.0]
