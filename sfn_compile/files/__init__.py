"""Files: Programs, build folders, samples, arrays that stay on disk."""
