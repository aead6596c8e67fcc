"""Paths and ranks in a graph."""

import networkx as nx

graph = nx.Graph()
graph.add_weighted_edges_from([("a", "b", 4), ("a", "c", 1), ("c", "b", 2), ("b", "d", 1)])
print(nx.shortest_path(graph, "a", "d", weight="weight"), nx.shortest_path_length(graph, "a", "d", weight="weight"))
print(nx.is_connected(graph), sorted(nx.degree_centrality(graph).items())[1], nx.minimum_spanning_tree(graph).size())

# Prints:
# ['a', 'c', 'b', 'd'] 4
# True ('b', 1.0) 3
