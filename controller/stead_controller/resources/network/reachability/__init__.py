"""Whether traffic gets from one place of the network to another, and what decides. Pure: plain facts in, a verdict out.

facts.py    the facts about VPCs, subnets, route tables, ACLs, groups, interfaces and gateways
packet.py   a packet
rules.py    which part of it groups and ACLs let through
verdict.py  hops, reasons, and the verdict
walk.py     one direction: from interface to interface, through routes and gateways
explain.py  both directions
"""
