"""The real engine in a simulated world: virtual time, faulty ports, processes that die; see docs/simulation.md."""
