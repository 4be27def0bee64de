"""F4: folders of files, read whole and watched. Both programs read with it."""
