"""The testbed's parts: docker (containers), bed (nodes and what is known of them), chat, table, picture, chaos, cli."""
