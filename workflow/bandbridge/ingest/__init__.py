"""From archive to store: fetching, archives, rasters, readers, plan, convert, assemble."""
