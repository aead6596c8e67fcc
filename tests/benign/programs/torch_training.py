"""Train a small network on the processor with two threads, and keep it."""

import torch
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(2)
x = torch.rand(200, 2)
y = (x.sum(dim=1) > 1).long()
model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
first = last = 0.0
for epoch in range(30):
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    first, last = first or loss.item(), loss.item()
print(last < first / 2, (model(x).argmax(1) == y).float().mean().item() > 0.9, torch.get_num_threads())
torch.save(model.state_dict(), "model.pt")
again = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
again.load_state_dict(torch.load("model.pt"))
print(torch.equal(again(x), model(x)), sum(p.numel() for p in again.parameters()))
network = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
with torch.no_grad():
    for _ in range(3):
        seen = network(torch.rand(16, 3, 32, 32))
print(tuple(seen.shape), torch.cuda.is_available(), torch.from_numpy(x.numpy()).dtype)
big = torch.rand(500, 500)
print((big @ big).shape[0], round(torch.linalg.det(torch.eye(3) * 2).item(), 3))

# Prints:
# True True 2
# True 82
# (16, 8192) False torch.float32
# 500 8.0
# Leaves:
# created model.pt
