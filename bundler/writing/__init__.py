"""From what was collected to the bytes of a bundle: order, frames, threads, parts, reuse."""
