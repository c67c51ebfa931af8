"""Samples from whatever people have: files, folders of images, arrays, batches, functions of their own."""
