//! Types, names, labels and conditions of the DPF API groups.
