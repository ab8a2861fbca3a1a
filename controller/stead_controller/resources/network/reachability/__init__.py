"""Whether traffic gets from one place of the network to another, and what decides. Pure: plain facts in, a verdict out.

facts.py    what is known of VPCs, subnets, route tables, ACLs, groups, interfaces and gateways
packet.py   a packet on its way
rules.py    what groups and ACLs let through of it
verdict.py  hops, reasons, and the verdict they make
walk.py     one direction: from interface to interface, through routes and gateways
explain.py  both directions
"""
