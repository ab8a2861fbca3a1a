"""The data plane's links, addresses, routes and neighbours: everything that rtnetlink and sysctl hold."""
