"""The files a user sees: pointers, configuration, scanning, taking up and materialising them."""
