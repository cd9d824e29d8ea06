//! A development cluster in one process: API servers and simulated DPUs.
