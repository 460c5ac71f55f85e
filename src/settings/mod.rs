//! Raw settings → validated settings, every problem collected. The only reader of environment and files.
